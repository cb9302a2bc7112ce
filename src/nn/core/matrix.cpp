#include "kovar/MPS/Core/Matrix.hpp"

#include <algorithm>
#include <utility>

#include "base/edge.hpp"
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

Ref<MTL::Buffer> given(const char* what, const Ref<MTL::Buffer>& buffer, bool descriptor) {
  if (!buffer) base::raise(std::string(what) + ": buffer is null");
  if (!descriptor) base::raise(std::string(what) + ": descriptor is null");
  return buffer;
}

}  // namespace

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t rowBytes,
                                                         DataType dataType) {
  return matrixDescriptor(rows, columns, 1, rowBytes, rows * rowBytes, dataType);
}

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptorWithDimensions(std::size_t dimensions, std::size_t columns,
                                                                       std::size_t rowBytes, DataType dataType) {
  return matrixDescriptor(dimensions, columns, rowBytes, dataType);
}

Ref<MatrixDescriptor> MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t matrices,
                                                         std::size_t rowBytes, std::size_t matrixBytes,
                                                         DataType dataType) {
  const std::size_t element = sizeofMPSDataType(dataType);
  if (rows == 0 || columns == 0 || matrices == 0 || element == 0)
    base::raise("MatrixDescriptor: " + std::to_string(rows) + " rows, " + std::to_string(columns) + " columns, " +
                std::to_string(matrices) + " matrices; each must be at least 1, the data type a whole number of bytes");
  if (rowBytes < columns * element || rowBytes % element != 0)
    base::raise("MatrixDescriptor: rowBytes is " + std::to_string(rowBytes) + " for " + std::to_string(columns) +
                " columns of " + std::to_string(element) +
                " bytes; it must be at least a row and a multiple of the element");
  if (matrices > 1 && (matrixBytes < rows * rowBytes || matrixBytes % rowBytes != 0))
    base::raise("MatrixDescriptor: matrixBytes is " + std::to_string(matrixBytes) +
                "; it must be a multiple of rowBytes, at least " + std::to_string(rows * rowBytes));
  auto d = std::make_shared<MatrixDescriptor>();
  d->rows_ = rows;
  d->columns_ = columns;
  d->matrices_ = matrices;
  d->rowBytes_ = rowBytes;
  d->matrixBytes_ = matrixBytes;
  d->dataType_ = dataType;
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
  const std::size_t element = sizeofMPSDataType(dataType);
  if (length == 0 || vectors == 0 || element == 0)
    base::raise("VectorDescriptor: length " + std::to_string(length) + ", " + std::to_string(vectors) +
                " vectors; each must be at least 1");
  if (vectorBytes < length * element || vectorBytes % element != 0)
    base::raise("VectorDescriptor: vectorBytes is " + std::to_string(vectorBytes) + " for " + std::to_string(length) +
                " elements of " + std::to_string(element) +
                " bytes; it must be at least a vector and a multiple of the element");
  auto d = std::make_shared<VectorDescriptor>();
  d->length_ = length;
  d->vectors_ = vectors;
  d->vectorBytes_ = vectorBytes;
  d->dataType_ = dataType;
  return d;
}

std::size_t VectorDescriptor::vectorBytes(std::size_t length, DataType dataType) { return rounded(length, dataType); }

void Matrix::adopt(const MatrixDescriptor& d) {
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
      offset + (matrices_ - 1) * matrixBytes_ + (rows_ - 1) * rowBytes_ + columns_ * sizeofMPSDataType(dataType_);
  if (need > buffer->length()) tooShort("Matrix", buffer->length(), need);
}

Matrix::Matrix(const Ref<MTL::Device>& device, const Ref<MatrixDescriptor>& descriptor) {
  if (!device || !descriptor) base::raise("Matrix: device or descriptor is null");
  adopt(*descriptor);
  buffer_ = device->newBuffer(matrices_ * matrixBytes_);
}

Ref<MTL::Device> Matrix::device() const { return buffer_->device(); }
std::size_t Matrix::resourceSize() { return buffer_->length(); }
void Matrix::synchronize(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise("Matrix.synchronize: commandBuffer is null");
  rt::Access::state(commandBuffer)->keepAlive(rt::Access::storage(buffer_));
}

void Vector::adopt(const VectorDescriptor& d) {
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
  const std::size_t need = offset + (vectors_ - 1) * vectorBytes_ + length_ * sizeofMPSDataType(dataType_);
  if (need > buffer->length()) tooShort("Vector", buffer->length(), need);
}

Vector::Vector(const Ref<MTL::Device>& device, const Ref<VectorDescriptor>& descriptor) {
  if (!device || !descriptor) base::raise("Vector: device or descriptor is null");
  adopt(*descriptor);
  buffer_ = device->newBuffer(vectors_ * vectorBytes_);
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
    base::raise("MatrixRandomDistributionDescriptor: minimum " + std::to_string(minimum) + " is not below maximum " +
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
  scalars.u = {seed_, sequence_++};
  scalars.f[0] = normal ? distribution_->mean() : plain ? 0.f : distribution_->minimum();
  scalars.f[1] = normal ? distribution_->standardDeviation() : plain ? 1.f : distribution_->maximum();
  nn::Recorder list(commandBuffer);
  list.op(d, {nn::matrixTensor(buffer, byteOffset, rows, columns, rowBytes, type).write()}, scalars);
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
