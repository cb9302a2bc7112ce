#pragma once
// A view: how a primitive sees memory. Plain value, no ownership.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace kovar::prim {

/// Element types that primitives read and write. Unorm types hold 0..1 as integers (numerics.md has the rounding
/// rules).
enum class DType : std::uint8_t { F32, F16, Unorm8, Unorm16, U8, U32 };

constexpr std::size_t sizeOf(DType t) {
  switch (t) {
    case DType::F32:
    case DType::U32:
      return 4;
    case DType::F16:
    case DType::Unorm16:
      return 2;
    case DType::Unorm8:
    case DType::U8:
      return 1;
  }
  return 0;
}

const char* nameOf(DType t);

inline constexpr int kMaxRank = 8;

/// N-d strided view. Strides and offset count elements of `dtype`; a stride of 0 broadcasts. Images are rank 4 in the
/// order n, y, x, c with a channel stride of 1 and a pixel stride that is the channel count rounded up to 4.
struct View {
  DType dtype = DType::F32;
  std::uint8_t rank = 0;
  std::array<std::int64_t, kMaxRank> dims{};
  std::array<std::int64_t, kMaxRank> strides{};
  std::int64_t offset = 0;

  bool operator==(const View&) const = default;
  std::int64_t dim(int i) const { return dims[static_cast<std::size_t>(i)]; }
  std::int64_t stride(int i) const { return strides[static_cast<std::size_t>(i)]; }
  std::int64_t elements() const;
  /// Index of the last element reached plus one, from the start of the storage, in elements; 0 when the view is empty.
  std::int64_t end() const;
  /// True when the elements lie one after another in row-major order.
  bool dense() const;
  std::string text() const;

  /// Row-major dense view.
  static View contiguous(DType dtype, std::initializer_list<std::int64_t> dims, std::int64_t offset = 0);
  /// Image view n, y, x, c with the given pixel stride (in elements).
  static View image(DType dtype, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                    std::int64_t pixelStride, std::int64_t offset = 0);
  /// The part [start, start + length) along one axis.
  View slice(int axis, std::int64_t start, std::int64_t length) const {
    View v = *this;
    v.cut(axis, start, length);
    return v;
  }
  /// Becomes that part.
  void cut(int axis, std::int64_t start, std::int64_t length) {
    offset += start * stride(axis);
    dims[static_cast<std::size_t>(axis)] = length;
  }
};

}  // namespace kovar::prim
