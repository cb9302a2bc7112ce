#pragma once
// Matrices, vectors and buffers as rank-2 tensors (rows by columns).

#include "kovar/MPS/Core/Matrix.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

/// Throws Error naming `who` for types that primitives do not read.
prim::DType dtypeOf(MPS::DataType type, const char* who);

Tensor matrixTensor(const Ref<MTL::Buffer>& buffer, std::size_t byteOffset, std::size_t rows, std::size_t columns,
                    std::size_t rowBytes, MPS::DataType type);
Tensor matrixTensor(const MPS::Matrix& m);
/// The first `length` elements of the first vector, as one row.
Tensor vectorTensor(const MPS::Vector& v, std::size_t length);
/// float32 values of a buffer as one row.
Tensor bufferTensor(const Ref<MTL::Buffer>& buffer, std::size_t byteOffset, std::size_t length);

}  // namespace kovar::nn
