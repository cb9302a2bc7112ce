#pragma once

#include <vector>

#include "kovar/MPS/Core/Types.hpp"

namespace kovar::rt {
class Storage;
}
namespace kovar::nn {
struct Access;
}
namespace kovar::MTL {
class Buffer;
class CommandBuffer;
class Device;
}  // namespace kovar::MTL

namespace kovar::MPS {

/// Shape of a matrix or a batch of matrices. Rows lie rowBytes apart, matrices matrixBytes. Implements
/// MPSMatrixDescriptor.
class MatrixDescriptor final : public Object {
 public:
  std::size_t rows() const { return rows_; }
  void setRows(std::size_t rows) { rows_ = rows; }
  std::size_t columns() const { return columns_; }
  void setColumns(std::size_t columns) { columns_ = columns; }
  std::size_t matrices() const { return matrices_; }
  DataType dataType() const { return dataType_; }
  void setDataType(DataType dataType) { dataType_ = dataType; }
  std::size_t rowBytes() const { return rowBytes_; }
  void setRowBytes(std::size_t rowBytes) { rowBytes_ = rowBytes; }
  std::size_t matrixBytes() const { return matrixBytes_ ? matrixBytes_ : rows_ * rowBytes_; }

  /// Deprecated spelling of matrixDescriptor(rows, columns, rowBytes, dataType).
  static Ref<MatrixDescriptor> matrixDescriptorWithDimensions(std::size_t dimensions, std::size_t columns,
                                                              std::size_t rowBytes, DataType dataType);
  /// Throws Error when rowBytes is shorter than a row or no multiple of the element size.
  static Ref<MatrixDescriptor> matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t rowBytes,
                                                DataType dataType);
  static Ref<MatrixDescriptor> matrixDescriptor(std::size_t rows, std::size_t columns, std::size_t matrices,
                                                std::size_t rowBytes, std::size_t matrixBytes, DataType dataType);
  /// Deprecated spelling of rowBytes(columns, dataType).
  static std::size_t rowBytesFromColumns(std::size_t columns, DataType dataType);
  /// A good distance between rows: the row rounded up to 16 bytes. Any larger multiple of the element size works too.
  static std::size_t rowBytes(std::size_t columns, DataType dataType);

 private:
  std::size_t rows_ = 0, columns_ = 0, matrices_ = 1, rowBytes_ = 0, matrixBytes_ = 0;
  DataType dataType_ = DataType::Float32;
};

/// Shape of a vector or a batch of vectors. Implements MPSVectorDescriptor.
class VectorDescriptor final : public Object {
 public:
  std::size_t length() const { return length_; }
  void setLength(std::size_t length) { length_ = length; }
  std::size_t vectors() const { return vectors_; }
  DataType dataType() const { return dataType_; }
  void setDataType(DataType dataType) { dataType_ = dataType; }
  std::size_t vectorBytes() const { return vectorBytes_; }
  static Ref<VectorDescriptor> vectorDescriptor(std::size_t length, DataType dataType);
  static Ref<VectorDescriptor> vectorDescriptor(std::size_t length, std::size_t vectors, std::size_t vectorBytes,
                                                DataType dataType);
  /// A good distance between vectors: the vector rounded up to 16 bytes.
  static std::size_t vectorBytes(std::size_t length, DataType dataType);

 private:
  std::size_t length_ = 0, vectors_ = 1, vectorBytes_ = 0;
  DataType dataType_ = DataType::Float32;
};

/// Row-major matrices in a buffer: element (k, i, j) lies at offset + k * matrixBytes + i * rowBytes + j * element
/// size. Implements MPSMatrix.
///
/// Errors: a buffer too short for the shape, a data type other than Float32, Float16 and the unsigned integers.
class Matrix : public Object {
 public:
  Matrix(const Ref<MTL::Buffer>& buffer, const Ref<MatrixDescriptor>& descriptor);
  Matrix(const Ref<MTL::Buffer>& buffer, std::size_t offset, const Ref<MatrixDescriptor>& descriptor);
  /// Zero-filled memory of its own, made when first used.
  Matrix(const Ref<MTL::Device>& device, const Ref<MatrixDescriptor>& descriptor);
  Ref<MTL::Device> device() const;
  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  std::size_t matrices() const { return matrices_; }
  DataType dataType() const { return dataType_; }
  std::size_t rowBytes() const { return rowBytes_; }
  std::size_t matrixBytes() const { return matrixBytes_; }
  std::size_t offset() const { return offset_; }
  Ref<MTL::Buffer> data() const { return buffer_; }
  void synchronize(const Ref<MTL::CommandBuffer>& commandBuffer);
  std::size_t resourceSize();

 protected:
  Matrix(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MatrixDescriptor>& descriptor);
  void adopt(const MatrixDescriptor& descriptor);

  Ref<MTL::Buffer> buffer_;
  std::size_t rows_ = 0, columns_ = 0, matrices_ = 1, rowBytes_ = 0, matrixBytes_ = 0, offset_ = 0;
  DataType dataType_ = DataType::Float32;
  friend struct nn::Access;
};

/// Vectors in a buffer: element (k, i) lies at offset + k * vectorBytes + i * element size. Implements MPSVector.
class Vector : public Object {
 public:
  Vector(const Ref<MTL::Buffer>& buffer, const Ref<VectorDescriptor>& descriptor);
  Vector(const Ref<MTL::Buffer>& buffer, std::size_t offset, const Ref<VectorDescriptor>& descriptor);
  /// Zero-filled memory of its own, made when first used.
  Vector(const Ref<MTL::Device>& device, const Ref<VectorDescriptor>& descriptor);
  Ref<MTL::Device> device() const;
  std::size_t length() const { return length_; }
  std::size_t vectors() const { return vectors_; }
  DataType dataType() const { return dataType_; }
  std::size_t vectorBytes() const { return vectorBytes_; }
  std::size_t offset() const { return offset_; }
  Ref<MTL::Buffer> data() const { return buffer_; }
  void synchronize(const Ref<MTL::CommandBuffer>& commandBuffer);
  std::size_t resourceSize();

 protected:
  Vector(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<VectorDescriptor>& descriptor);
  void adopt(const VectorDescriptor& descriptor);

  Ref<MTL::Buffer> buffer_;
  std::size_t length_ = 0, vectors_ = 1, vectorBytes_ = 0, offset_ = 0;
  DataType dataType_ = DataType::Float32;
  friend struct nn::Access;
};

}  // namespace kovar::MPS
