#include "oracle/sample.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

double bilinearAt(const Tensor& s, size_t n, double v, double u, size_t c, EdgeMode edge) {
  if (std::isnan(u) || std::isnan(v)) {
    if (edge == EdgeMode::Zero) return 0;
    if (std::isnan(u)) u = 0;
    if (std::isnan(v)) v = 0;
  }
  // Far beyond the image nothing changes any more.
  const double far = 1e6;
  u = std::clamp(u, -far, far), v = std::clamp(v, -far, far);
  const double y = std::floor(v), x = std::floor(u);
  double sum = 0;
  for (int dy = 0; dy < 2; ++dy)
    for (int dx = 0; dx < 2; ++dx) {
      const double weight = (dy ? v - y : 1 - (v - y)) * (dx ? u - x : 1 - (u - x));
      if (weight != 0) sum += weight * readEdge(s, edge, n, static_cast<long>(y) + dy, static_cast<long>(x) + dx, c);
    }
  return sum;
}

Tensor resizeBilinear(const Tensor& s, size_t height, size_t width, bool alignCorners) {
  Tensor out(s.n, height, width, s.c);
  const auto at = [&](size_t i, size_t in, size_t results) {
    const auto p = static_cast<double>(i);
    if (!alignCorners) return p * static_cast<double>(in) / static_cast<double>(results);
    return results == 1 ? 0.0 : p * static_cast<double>(in - 1) / static_cast<double>(results - 1);
  };
  for (size_t n = 0; n < s.n; ++n)
    for (size_t y = 0; y < height; ++y)
      for (size_t x = 0; x < width; ++x)
        for (size_t c = 0; c < s.c; ++c)
          out.at(n, y, x, c) = bilinearAt(s, n, at(y, s.h, height), at(x, s.w, width), c, EdgeMode::Clamp);
  return out;
}

Tensor cropAndResize(const Tensor& s, const std::vector<Box>& boxes, size_t height, size_t width) {
  Tensor out(s.n * boxes.size(), height, width, s.c);
  const auto at = [](size_t i, size_t results, double origin, double size, size_t in) {
    const auto last = static_cast<double>(in - 1);
    if (results == 1) return (origin + size / 2) * last;
    return origin * last + static_cast<double>(i) * size * last / static_cast<double>(results - 1);
  };
  for (size_t n = 0; n < s.n; ++n)
    for (size_t b = 0; b < boxes.size(); ++b)
      for (size_t y = 0; y < height; ++y)
        for (size_t x = 0; x < width; ++x) {
          const double v = at(y, height, boxes[b].y, boxes[b].height, s.h),
                       u = at(x, width, boxes[b].x, boxes[b].width, s.w);
          const bool inside =
              v >= 0 && v <= static_cast<double>(s.h - 1) && u >= 0 && u <= static_cast<double>(s.w - 1);
          for (size_t c = 0; c < s.c; ++c)
            out.at(n * boxes.size() + b, y, x, c) = inside ? bilinearAt(s, n, v, u, c, EdgeMode::Clamp) : 0;
        }
  return out;
}

Tensor gridSample(const Tensor& s, const Tensor& grid, bool relative, EdgeMode edge) {
  Tensor out(grid.n, grid.h, grid.w, s.c);
  for (size_t n = 0; n < grid.n; ++n)
    for (size_t y = 0; y < grid.h; ++y)
      for (size_t x = 0; x < grid.w; ++x)
        for (size_t c = 0; c < s.c; ++c)
          out.at(n, y, x, c) = bilinearAt(s, n, grid.at(n, y, x, 1) + (relative ? static_cast<double>(y) : 0),
                                          grid.at(n, y, x, 0) + (relative ? static_cast<double>(x) : 0), c, edge);
  return out;
}

Tensor gramMatrix(const Tensor& s, double alpha) {
  Tensor out(s.n, 1, s.c, s.c);
  for (size_t n = 0; n < s.n; ++n)
    for (size_t f = 0; f < s.c; ++f)
      for (size_t c = 0; c < s.c; ++c)
        for (size_t y = 0; y < s.h; ++y)
          for (size_t x = 0; x < s.w; ++x) out.at(n, 0, f, c) += alpha * s.at(n, y, x, f) * s.at(n, y, x, c);
  return out;
}

Tensor gramMatrixGradient(const Tensor& s, const Tensor& g, double alpha) {
  Tensor out(s.n, s.h, s.w, s.c);
  for (size_t n = 0; n < s.n; ++n)
    for (size_t y = 0; y < s.h; ++y)
      for (size_t x = 0; x < s.w; ++x)
        for (size_t f = 0; f < s.c; ++f)
          for (size_t c = 0; c < s.c; ++c)
            out.at(n, y, x, f) += alpha * (g.at(n, 0, f, c) + g.at(n, 0, c, f)) * s.at(n, y, x, c);
  return out;
}

Tensor localCorrelation(const Tensor& a, const Tensor& b, long wx, long wy, long sx, long sy, EdgeMode edge) {
  Tensor out(a.n, a.h, a.w, static_cast<size_t>((2 * wx + 1) * (2 * wy + 1)));
  for (size_t n = 0; n < a.n; ++n)
    for (size_t y = 0; y < a.h; ++y)
      for (size_t x = 0; x < a.w; ++x)
        for (long j = -wy; j <= wy; ++j)
          for (long i = -wx; i <= wx; ++i)
            for (size_t c = 0; c < a.c; ++c)
              out.at(n, y, x, static_cast<size_t>((j + wy) * (2 * wx + 1) + i + wx)) +=
                  a.at(n, y, x, c) *
                  readEdge(b, edge, n, static_cast<long>(y) + j * sy, static_cast<long>(x) + i * sx, c);
  return out;
}

}  // namespace kovar::oracle
