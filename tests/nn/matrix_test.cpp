// Matrices and vectors: descriptors, memory, refusals.

#include "kovar/MPS/Core/Matrix.hpp"

#include <limits>

#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

using Type = MPS::DataType;
constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();

TEST(MatrixDescriptor, HoldsShapeAndStrides) {
  const auto d = MPS::MatrixDescriptor::matrixDescriptor(3, 5, 2, 32, 128, Type::Float32);
  EXPECT_EQ(d->rows(), 3u);
  EXPECT_EQ(d->columns(), 5u);
  EXPECT_EQ(d->matrices(), 2u);
  EXPECT_EQ(d->rowBytes(), 32u);
  EXPECT_EQ(d->matrixBytes(), 128u);
  EXPECT_EQ(d->dataType(), Type::Float32);
  const auto one = MPS::MatrixDescriptor::matrixDescriptor(3, 5, 32, Type::Float16);
  EXPECT_EQ(one->matrices(), 1u);
  EXPECT_EQ(one->matrixBytes(), 96u);
  EXPECT_EQ(MPS::MatrixDescriptor::matrixDescriptorWithDimensions(3, 5, 32, Type::Float32)->rows(), 3u);
  one->setRows(2);
  one->setColumns(4);
  one->setRowBytes(64);
  one->setDataType(Type::Float32);
  EXPECT_EQ(one->rows() * one->columns() * one->rowBytes(), 2u * 4 * 64);
  EXPECT_EQ(one->dataType(), Type::Float32);
  for (std::size_t columns = 1; columns < 20; ++columns) {
    EXPECT_EQ(MPS::MatrixDescriptor::rowBytes(columns, Type::Float32), (columns * 4 + 15) / 16 * 16);
    EXPECT_EQ(MPS::MatrixDescriptor::rowBytesFromColumns(columns, Type::Float16), (columns * 2 + 15) / 16 * 16);
    EXPECT_EQ(MPS::VectorDescriptor::vectorBytes(columns, Type::Float32), (columns * 4 + 15) / 16 * 16);
  }
}

TEST(MatrixDescriptor, SizesOfTypes) {
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Float32), 4u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Float16), 2u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::UInt8), 1u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Int64), 8u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::ComplexFloat32), 8u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Bool), 1u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Unorm1), 0u);
  EXPECT_EQ(MPS::sizeofMPSDataType(Type::Invalid), 0u);
}

TEST(Matrix, LiesInABufferOrHasItsOwn) {
  const auto buffer = cpuDevice()->newBuffer(300);
  const auto d = MPS::MatrixDescriptor::matrixDescriptor(3, 5, 2, 32, 128, Type::Float32);
  const MPS::Matrix m(buffer, 16, d);
  EXPECT_EQ(m.data(), buffer);
  EXPECT_EQ(m.offset(), 16u);
  EXPECT_EQ(m.device(), cpuDevice());
  EXPECT_EQ(m.rows() * m.columns() * m.matrices(), 30u);
  EXPECT_EQ(m.rowBytes(), 32u);
  EXPECT_EQ(m.matrixBytes(), 128u);
  EXPECT_EQ(m.dataType(), Type::Float32);
  MPS::Matrix own(cpuDevice(), d);
  EXPECT_EQ(own.offset(), 0u);
  EXPECT_EQ(own.data()->length(), 256u);
  EXPECT_EQ(own.resourceSize(), 256u);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(static_cast<const float*>(own.data()->contents())[i], 0.f);
  const auto grown = MPS::MatrixDescriptor::matrixDescriptor(1, 4, 16, Type::Float32);
  grown->setRows(8);
  EXPECT_EQ(grown->matrixBytes(), 128u);
  EXPECT_EQ(MPS::Matrix(cpuDevice(), grown).data()->length(), 128u);
  // The last row needs no padding behind it.
  EXPECT_NO_THROW(MPS::Matrix(cpuDevice()->newBuffer(128 + 2 * 32 + 20), d));
  const auto queue = cpuQueue()->commandBuffer();
  own.synchronize(queue);
  expectError([&] { own.synchronize(nullptr); }, {"Matrix.synchronize: commandBuffer is null"});
}

TEST(Vector, LiesInABufferOrHasItsOwn) {
  const auto d = MPS::VectorDescriptor::vectorDescriptor(5, 3, 24, Type::Float32);
  EXPECT_EQ(d->length(), 5u);
  EXPECT_EQ(d->vectors(), 3u);
  EXPECT_EQ(d->vectorBytes(), 24u);
  EXPECT_EQ(MPS::VectorDescriptor::vectorDescriptor(5, Type::Float16)->vectorBytes(), 10u);
  const auto buffer = cpuDevice()->newBuffer(8 + 2 * 24 + 20);
  const MPS::Vector v(buffer, 8, d);
  EXPECT_EQ(v.data(), buffer);
  EXPECT_EQ(v.length() * v.vectors() * v.vectorBytes(), 5u * 3 * 24);
  EXPECT_EQ(v.offset(), 8u);
  EXPECT_EQ(v.dataType(), Type::Float32);
  EXPECT_EQ(v.device(), cpuDevice());
  MPS::Vector own(cpuDevice(), d);
  EXPECT_EQ(own.resourceSize(), 72u);
  own.synchronize(cpuQueue()->commandBuffer());
  d->setLength(4);
  d->setDataType(Type::UInt32);
  EXPECT_EQ(d->length(), 4u);
  EXPECT_EQ(v.length(), 5u) << "a vector keeps what the descriptor held";
  expectError([&] { own.synchronize(nullptr); }, {"Vector.synchronize: commandBuffer is null"});
}

TEST(Matrix, ErrorsTellWhatIsWrong) {
  using M = MPS::MatrixDescriptor;
  expectError([] { M::matrixDescriptor(0, 4, 16, Type::Float32); }, {"MatrixDescriptor: 0 rows, 4 columns"});
  expectError([] { M::matrixDescriptor(1, 4, 16, Type::Unorm1); }, {"the data type a whole number of bytes"});
  expectError([] { M::matrixDescriptor(1, 4, 15, Type::Float32); }, {"rowBytes is 15 for 4 columns of 4 bytes"});
  expectError([] { M::matrixDescriptor(1, 4, 18, Type::Float32); }, {"rowBytes is 18"});
  expectError([] { M::matrixDescriptor(2, 4, 2, 16, 16, Type::Float32); }, {"matrixBytes is 16", "at least 32"});
  expectError([] { M::matrixDescriptor(1, (kMost >> 2) + 1, 16, Type::Float32); }, {"rowBytes is 16"});
  expectError([] { M::matrixDescriptor((kMost >> 4) + 1, 4, 2, 16, 16, Type::Float32); }, {"matrixBytes is 16"});
  using V = MPS::VectorDescriptor;
  expectError([] { V::vectorDescriptor(0, Type::Float32); }, {"VectorDescriptor: length 0"});
  expectError([] { V::vectorDescriptor(4, 2, 15, Type::Float32); }, {"vectorBytes is 15 for 4 elements"});
  expectError([] { V::vectorDescriptor((kMost >> 2) + 1, 1, 16, Type::Float32); }, {"vectorBytes is 16"});

  const auto d = M::matrixDescriptor(2, 4, 16, Type::Float32);
  const auto v = V::vectorDescriptor(4, 2, 16, Type::Float32);
  const auto buffer = cpuDevice()->newBuffer(31);
  expectError([&] { MPS::Matrix(buffer, d); }, {"Matrix: the buffer has 31 bytes, the shape needs 32"});
  expectError([&] { MPS::Vector(buffer, v); }, {"Vector: the buffer has 31 bytes, the shape needs 32"});
  expectError([&] { MPS::Matrix(buffer, kMost - 3, d); }, {"Matrix: the buffer has 31 bytes"});
  expectError([&] { MPS::Vector(buffer, kMost - 3, v); }, {"Vector: the buffer has 31 bytes"});
  expectError([&] { MPS::Matrix(Ref<MTL::Buffer>(), d); }, {"Matrix: buffer is null"});
  expectError([&] { MPS::Matrix(buffer, nullptr); }, {"Matrix: descriptor is null"});
  expectError([&] { MPS::Vector(Ref<MTL::Buffer>(), v); }, {"Vector: buffer is null"});
  expectError([&] { MPS::Vector(cpuDevice(), nullptr); }, {"Vector: device or descriptor is null"});
  expectError([&] { MPS::Matrix(Ref<MTL::Device>(), d); }, {"Matrix: device or descriptor is null"});
  // Setters may leave a descriptor that no matrix can have.
  d->setRowBytes(6);
  expectError([&] { MPS::Matrix(buffer, d); }, {"rowBytes is 6"});
  d->setRowBytes(16);
  d->setRows(kMost);
  expectError([&] { MPS::Matrix(buffer, d); }, {"Matrix: the buffer has 31 bytes"});
  d->setRows(0);
  expectError([&] { MPS::Matrix(buffer, d); }, {"0 rows"});
  v->setLength(5);
  expectError([&] { MPS::Vector(buffer, v); }, {"vectorBytes is 16 for 5 elements"});
}

}  // namespace
}  // namespace kovar::test
