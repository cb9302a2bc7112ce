#include "prim/view.hpp"

namespace kovar::prim {

const char* nameOf(DType t) {
  switch (t) {
    case DType::F32:
      return "float32";
    case DType::F16:
      return "float16";
    case DType::Unorm8:
      return "unorm8";
    case DType::Unorm16:
      return "unorm16";
    case DType::U8:
      return "uint8";
    case DType::U32:
      return "uint32";
  }
  return "?";
}

std::int64_t View::elements() const {
  std::int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= dim(i);
  return n;
}

std::int64_t View::end() const {
  std::int64_t last = offset;
  for (int i = 0; i < rank; ++i) {
    if (dim(i) <= 0) return 0;
    last += (dim(i) - 1) * stride(i);
  }
  return last + 1;
}

bool View::dense() const {
  std::int64_t expected = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (dim(i) != 1 && stride(i) != expected) return false;
    expected *= dim(i);
  }
  return true;
}

std::string View::text() const {
  std::string s = nameOf(dtype);
  s += '[';
  for (int i = 0; i < rank; ++i) {
    if (i) s += 'x';
    s += std::to_string(dim(i));
  }
  s += ']';
  if (!dense()) {
    s += '/';
    for (int i = 0; i < rank; ++i) {
      if (i) s += ',';
      s += std::to_string(stride(i));
    }
  }
  if (offset) s += '+' + std::to_string(offset);
  return s;
}

View View::contiguous(DType dtype, std::initializer_list<std::int64_t> dims, std::int64_t offset) {
  View v;
  v.dtype = dtype;
  v.offset = offset;
  for (std::int64_t d : dims) v.dims[v.rank++] = d;
  std::int64_t s = 1;
  for (int i = v.rank - 1; i >= 0; --i) {
    v.strides[static_cast<std::size_t>(i)] = s;
    s *= v.dim(i);
  }
  return v;
}

View View::image(DType dtype, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t pixelStride,
                 std::int64_t offset) {
  View v;
  v.dtype = dtype;
  v.rank = 4;
  v.offset = offset;
  v.dims = {n, h, w, c};
  v.strides = {h * w * pixelStride, w * pixelStride, pixelStride, 1};
  return v;
}

}  // namespace kovar::prim
