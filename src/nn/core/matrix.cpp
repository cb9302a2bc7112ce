#include "kovar/MPS/Core/Matrix.hpp"

#include <algorithm>
#include <utility>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "nn/core/access.hpp"
#include "nn/core/vector_access.hpp"

namespace kovar::MPS {
namespace {

constexpr std::size_t kRowAlign = 16;

std::size_t rounded(std::size_t count, DataType type) {
  return (count * sizeofMPSDataType(type) + kRowAlign - 1) / kRowAlign * kRowAlign;
}

[[noreturn]] void tooShort(const char* what, std::size_t have, std::size_t need) {
  base::raise(std::string(what) + ": the buffer has " + std::to_string(have) + " bytes, the shape needs " +
              std::to_string(need));
}

/// Refuses what no matrix can have; setters may leave such descriptors behind.
void check(const MatrixDescriptor& d) {
  const std::size_t element = sizeofMPSDataType(d.dataType());
  if (d.rows() == 0 || d.columns() == 0 || d.matrices() == 0 || element == 0)
    base::raise("MatrixDescriptor: " + std::to_string(d.rows()) + " rows, " + std::to_string(d.columns()) +
                " columns, " + std::to_string(d.matrices()) +
                " matrices; each must be at least 1, the data type a whole number of bytes");
  if (d.rowBytes() < base::boundedProduct(d.columns(), element) || d.rowBytes() % element != 0)
    base::raise("MatrixDescriptor: rowBytes is " + std::to_string(d.rowBytes()) + " for " +
                std::to_string(d.columns()) + " columns of " + std::to_string(element) +
                " bytes; it must be at least a row and a multiple of the element");
  const std::size_t least = base::boundedProduct(d.rows(), d.rowBytes());
  // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): rowBytes is at least a row, which is not empty
  if (d.matrices() > 1 && (d.matrixBytes() < least || d.matrixBytes() % d.rowBytes() != 0))
    base::raise("MatrixDescriptor: matrixBytes is " + std::to_string(d.matrixBytes()) +
                "; it must be a multiple of rowBytes, at least " + std::to_string(least));
}

void check(const VectorDescriptor& d) {
  const std::size_t element = sizeofMPSDataType(d.dataType());
  if (d.length() == 0 || d.vectors() == 0 || element == 0)
    base::raise("VectorDescriptor: length " + std::to_string(d.length()) + ", " + std::to_string(d.vectors()) +
                " vectors; each must be at least 1");
  if (d.vectorBytes() < base::boundedProduct(d.length(), element) || d.vectorBytes() % element != 0)
    base::raise("VectorDescriptor: vectorBytes is " + std::to_string(d.vectorBytes()) + " for " +
                std::to_string(d.length()) + " elements of " + std::to_string(element) +
                " bytes; it must be at least a vector and a multiple of the element");
}

/// One past the last byte of `outer` blocks of `inner` rows.
std::size_t endOf(std::size_t offset, std::size_t outer, std::size_t outerBytes, std::size_t inner,
                  std::size_t innerBytes, std::size_t rowLength) {
  return base::boundedSum(base::boundedSum(offset, base::boundedProduct(outer - 1, outerBytes)),
                          base::boundedSum(base::boundedProduct(inner - 1, innerBytes), rowLength));
}

Ref<MTL::Buffer> given(const char* what, const Ref<MTL::Buffer>& buffer, bool descriptor) {
  if (!buffer) base::raise(std::string(what) + ": buffer is null");
  if (!descriptor) base::raise(std::string(what) + ": descriptor is null");
  return buffer;
}

}  // namespace

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t rowBytes,
                                                         DataType dataType) {
  return matrixDescriptor(rows, columns, 1, rowBytes, 0, dataType);  // rows and rowBytes may still change
}

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptorWithDimensions(std::size_t dimensions, std::size_t columns,
                                                                       std::size_t rowBytes, DataType dataType) {
  return matrixDescriptor(dimensions, columns, rowBytes, dataType);
}

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t matrices,
                                                         std::size_t rowBytes, std::size_t matrixBytes,
                                                         DataType dataType) {
  auto d = std::make_shared<MatrixDescriptor>();
  d->rows_ = rows;
  d->columns_ = columns;
  d->matrices_ = matrices;
  d->rowBytes_ = rowBytes;
  d->matrixBytes_ = matrixBytes;
  d->dataType_ = dataType;
  check(*d);
  return d;
}

std::size_t MatrixDescriptor::rowBytes(std::size_t columns, DataType dataType) { return rounded(columns, dataType); }
std::size_t MatrixDescriptor::rowBytesFromColumns(std::size_t columns, DataType dataType) {
  return rounded(columns, dataType);
}

Ref<VectorDescriptor> VectorDescriptor::vectorDescriptor(std::size_t length, DataType dataType) {
  return vectorDescriptor(length, 1, length * sizeofMPSDataType(dataType), dataType);
}

Ref<VectorDescriptor> VectorDescriptor::vectorDescriptor(std::size_t length, std::size_t vectors,
                                                         std::size_t vectorBytes, DataType dataType) {
  auto d = std::make_shared<VectorDescriptor>();
  d->length_ = length;
  d->vectors_ = vectors;
  d->vectorBytes_ = vectorBytes;
  d->dataType_ = dataType;
  check(*d);
  return d;
}

std::size_t VectorDescriptor::vectorBytes(std::size_t length, DataType dataType) { return rounded(length, dataType); }

void Matrix::adopt(const MatrixDescriptor& d) {
  check(d);
  rows_ = d.rows();
  columns_ = d.columns();
  matrices_ = d.matrices();
  rowBytes_ = d.rowBytes();
  matrixBytes_ = d.matrixBytes();
  dataType_ = d.dataType();
}

Matrix::Matrix(const Ref<MTL::Buffer>& buffer, const Ref<MatrixDescriptor>& descriptor)
    : Matrix(buffer, 0, descriptor) {}

Matrix::Matrix(const Ref<MTL::Buffer>& buffer, std::size_t offset, const Ref<MatrixDescriptor>& descriptor)
    : buffer_(given("Matrix", buffer, descriptor != nullptr)), offset_(offset) {
  adopt(*descriptor);
  const std::size_t need =
      endOf(offset, matrices_, matrixBytes_, rows_, rowBytes_, columns_ * sizeofMPSDataType(dataType_));
  if (need > buffer->length()) tooShort("Matrix", buffer->length(), need);
}

Matrix::Matrix(const Ref<MTL::Device>& device, const Ref<MatrixDescriptor>& descriptor) {
  if (!device || !descriptor) base::raise("Matrix: device or descriptor is null");
  adopt(*descriptor);
  const std::size_t end = endOf(0, matrices_, matrixBytes_, rows_, rowBytes_, columns_ * sizeofMPSDataType(dataType_));
  buffer_ = device->newBuffer(std::max(end, base::boundedProduct(matrices_, matrixBytes_)));
}

Ref<MTL::Device> Matrix::device() const { return buffer_->device(); }
std::size_t Matrix::resourceSize() { return buffer_->length(); }
void Matrix::synchronize(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise("Matrix.synchronize: commandBuffer is null");
  rt::Access::state(commandBuffer)->keepAlive(rt::Access::storage(buffer_));
}

void Vector::adopt(const VectorDescriptor& d) {
  check(d);
  length_ = d.length();
  vectors_ = d.vectors();
  vectorBytes_ = d.vectorBytes();
  dataType_ = d.dataType();
}

Vector::Vector(const Ref<MTL::Buffer>& buffer, const Ref<VectorDescriptor>& descriptor)
    : Vector(buffer, 0, descriptor) {}

Vector::Vector(const Ref<MTL::Buffer>& buffer, std::size_t offset, const Ref<VectorDescriptor>& descriptor)
    : buffer_(given("Vector", buffer, descriptor != nullptr)), offset_(offset) {
  adopt(*descriptor);
  const std::size_t need = endOf(offset, vectors_, vectorBytes_, 1, 0, length_ * sizeofMPSDataType(dataType_));
  if (need > buffer->length()) tooShort("Vector", buffer->length(), need);
}

Vector::Vector(const Ref<MTL::Device>& device, const Ref<VectorDescriptor>& descriptor) {
  if (!device || !descriptor) base::raise("Vector: device or descriptor is null");
  adopt(*descriptor);
  buffer_ = device->newBuffer(base::boundedProduct(vectors_, vectorBytes_));
}

Ref<MTL::Device> Vector::device() const { return buffer_->device(); }
std::size_t Vector::resourceSize() { return buffer_->length(); }
void Vector::synchronize(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise("Vector.synchronize: commandBuffer is null");
  rt::Access::state(commandBuffer)->keepAlive(rt::Access::storage(buffer_));
}

// --- random numbers
// ---------------------------------------------------------------------------------------------------

using Distribution = MatrixRandomDistributionDescriptor;

Ref<Distribution> Distribution::defaultDistributionDescriptor() { return std::make_shared<Distribution>(); }

Ref<Distribution> Distribution::uniformDistributionDescriptor(float minimum, float maximum) {
  if (!(minimum <= maximum))
    base::raise("MatrixRandomDistributionDescriptor: minimum " + std::to_string(minimum) + " is above maximum " +
                std::to_string(maximum));
  auto d = defaultDistributionDescriptor();
  d->type_ = MatrixRandomDistribution::Uniform;
  d->minimum_ = minimum;
  d->maximum_ = maximum;
  return d;
}

Ref<Distribution> Distribution::normalDistributionDescriptor(float mean, float standardDeviation) {
  auto d = defaultDistributionDescriptor();
  d->type_ = MatrixRandomDistribution::Normal;
  d->mean_ = mean;
  d->standardDeviation_ = standardDeviation;
  return d;
}

Ref<Distribution> Distribution::normalDistributionDescriptor(float mean, float standardDeviation, float minimum,
                                                             float maximum) {
  auto d = normalDistributionDescriptor(mean, standardDeviation);
  d->minimum_ = d->lowest_ = minimum;
  d->maximum_ = d->highest_ = maximum;
  return d;
}

MatrixRandom::MatrixRandom(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed,
                           const Ref<Distribution>& distributionDescriptor)
    : Kernel(device), dataType_(destinationDataType), seed_(seed), distribution_(distributionDescriptor) {
  if (!distribution_) base::raise("MatrixRandom: distributionDescriptor is null");
  distribution_ = std::make_shared<Distribution>(*distribution_);  // later changes do not reach the kernel
  if (dataType_ != DataType::Float32) base::raise("MatrixRandom: destinationDataType must be Float32 here");
}

void MatrixRandom::fill(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MTL::Buffer>& buffer,
                        std::size_t byteOffset, std::size_t rows, std::size_t columns, std::size_t rowBytes,
                        DataType type) {
  if (!commandBuffer) base::raise(described() + ".encode: commandBuffer is null");
  if (type != dataType_) base::raise(described() + ".encode: the destination's data type is not the kernel's Float32");
  const bool normal = distributionType() == MatrixRandomDistribution::Normal;
  const bool plain = distributionType() == MatrixRandomDistribution::Default;
  prim::Random d;
  d.kind = normal ? prim::RandomKind::Normal : prim::RandomKind::Uniform;
  d.minimum = distribution_->lowest_;
  d.maximum = distribution_->highest_;
  prim::Scalars scalars;
  scalars.u = {seed_, sequence_};
  scalars.f[0] = normal ? distribution_->mean() : plain ? 0.f : distribution_->minimum();
  scalars.f[1] = normal ? distribution_->standardDeviation() : plain ? 1.f : distribution_->maximum();
  nn::Recorder list(commandBuffer);
  list.op(d, {nn::matrixTensor(buffer, byteOffset, rows, columns, rowBytes, type).write()}, scalars);
  ++sequence_;
}

void MatrixRandom::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& v) {
  if (!v) base::raise(described() + ".encode: destinationVector is null");
  fill(commandBuffer, v->data(), v->offset(), v->vectors(), v->length(), v->vectorBytes(), v->dataType());
}

void MatrixRandom::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& m) {
  if (!m) base::raise(described() + ".encode: destinationMatrix is null");
  if (batchStart_ >= m->matrices())
    base::raise(described() + ".encode: batchStart is " + std::to_string(batchStart_) + " of " +
                std::to_string(m->matrices()) + " matrices");
  const std::size_t count = std::min(batchSize_, m->matrices() - batchStart_);
  for (std::size_t i = 0; i < count; ++i)
    fill(commandBuffer, m->data(), m->offset() + (batchStart_ + i) * m->matrixBytes(), m->rows(), m->columns(),
         m->rowBytes(), m->dataType());
}

MatrixRandomPhilox::MatrixRandomPhilox(const Ref<MTL::Device>& device)
    : MatrixRandomPhilox(device, DataType::Float32, 0) {}
MatrixRandomPhilox::MatrixRandomPhilox(const Ref<MTL::Device>& device, DataType type, std::size_t seed,
                                       const Ref<Distribution>& d)
    : MatrixRandom(device, type, seed, d) {}
MatrixRandomPhilox::MatrixRandomPhilox(const Ref<MTL::Device>& device, DataType type, std::size_t seed)
    : MatrixRandom(device, type, seed, Distribution::defaultDistributionDescriptor()) {}

MatrixRandomMTGP32::MatrixRandomMTGP32(const Ref<MTL::Device>& device)
    : MatrixRandomMTGP32(device, DataType::Float32, 0) {}
MatrixRandomMTGP32::MatrixRandomMTGP32(const Ref<MTL::Device>& device, DataType type, std::size_t seed,
                                       const Ref<Distribution>& d)
    : MatrixRandom(device, type, seed, d) {}
MatrixRandomMTGP32::MatrixRandomMTGP32(const Ref<MTL::Device>& device, DataType type, std::size_t seed)
    : MatrixRandom(device, type, seed, Distribution::defaultDistributionDescriptor()) {}
void MatrixRandomMTGP32::synchronizeState(const Ref<MTL::CommandBuffer>&) {}

}  // namespace kovar::MPS

namespace kovar::nn {

prim::DType dtypeOf(MPS::DataType type, const char* who) {
  switch (type) {
    case MPS::DataType::Float32:
      return prim::DType::F32;
    case MPS::DataType::Float16:
      return prim::DType::F16;
    case MPS::DataType::UInt8:
      return prim::DType::U8;
    case MPS::DataType::UInt32:
      return prim::DType::U32;
    default:
      base::raise(std::string(who) + ": data type not supported; use Float32 or Float16");
  }
}

Tensor matrixTensor(const Ref<MTL::Buffer>& buffer, std::size_t byteOffset, std::size_t rows, std::size_t columns,
                    std::size_t rowBytes, MPS::DataType type) {
  const prim::DType dtype = dtypeOf(type, "Matrix");
  const std::size_t element = prim::sizeOf(dtype);
  if (byteOffset % element != 0)
    base::raise("Matrix: the offset " + std::to_string(byteOffset) + " is no multiple of the element's " +
                std::to_string(element) + " bytes");
  prim::View v;
  v.dtype = dtype;
  v.rank = 2;
  v.dims = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)};
  v.strides = {static_cast<std::int64_t>(rowBytes / element), 1};
  v.offset = static_cast<std::int64_t>(byteOffset / element);
  return {rt::Access::storage(buffer), v};
}

Tensor vectorTensor(const MPS::Vector& v, std::size_t length) {
  return matrixTensor(v.data(), v.offset(), 1, length, v.vectorBytes(), v.dataType());
}

Tensor matrixTensor(const MPS::Matrix& m) {
  return matrixTensor(m.data(), m.offset(), m.rows(), m.columns(), m.rowBytes(), m.dataType());
}

Tensor bufferTensor(const Ref<MTL::Buffer>& buffer, std::size_t byteOffset, std::size_t length) {
  return matrixTensor(buffer, byteOffset, 1, length, length * sizeof(float), MPS::DataType::Float32);
}

}  // namespace kovar::nn
