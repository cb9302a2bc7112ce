#pragma once
// Our own float32 matrix product on one thread: register-blocked kernels, two of them, by how the operands lie.

#include <cstddef>
#include <cstdint>

namespace kovar::cpu {

/// C[m,n] = A[m,k] * B[k,n], each element at p[i * rowStride + j * columnStride]; C's columns lie beside each other.
struct MatmulBlock {
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  const float* bias = nullptr;  ///< one value a column of C, or null
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t aRow = 0, aColumn = 0, bRow = 0, bColumn = 0, cRow = 0;
  bool accumulate = false;  ///< adds to what C holds

  /// Dot products of rows of A and columns of B that are both runs in memory.
  bool dots() const { return (aColumn == 1 || k == 1) && (bRow == 1 || k == 1); }
  /// Sums of columns of A times rows of B that are both runs in memory.
  bool outers() const { return (aRow == 1 || m == 1) && (bColumn == 1 || n == 1); }
};

/// Bytes of working memory that multiplyBlock() needs for a block of these extents.
std::size_t matmulScratchBytes(std::int64_t m, std::int64_t n, std::int64_t k);

/// Computes the block; dots() or outers() must hold. `scratch` is 64-byte aligned.
void multiplyBlock(const MatmulBlock& block, std::byte* scratch);

/// to[c * toRow + r] = from[r * fromRow + c * fromColumn] for r < rows, c < columns.
void transpose(const float* from, std::int64_t rows, std::int64_t columns, std::int64_t fromRow,
               std::int64_t fromColumn, float* to, std::int64_t toRow);

}  // namespace kovar::cpu
