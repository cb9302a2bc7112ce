#include <algorithm>
#include <vector>

#include "backend/cpu/conv.hpp"

namespace kovar::cpu {
namespace {

/// Channels of one chunk: a cache line of floats, or what is left.
constexpr std::int64_t kChannels = 16;

}  // namespace

void biasGradient(Context& context, const ConvShape& s, const float* dst, float* diffBias) {
  const std::int64_t blocks = (s.co + kChannels - 1) / kChannels;
  context.pool.run(static_cast<std::size_t>(blocks), [&](std::size_t chunk) {
    const std::int64_t first = static_cast<std::int64_t>(chunk) * kChannels, count = std::min(kChannels, s.co - first);
    // Rows, then images, are summed apart: long sums lose less.
    float total[kChannels] = {}, image[kChannels], row[kChannels];
    for (std::int64_t n = 0; n < s.n; ++n) {
      std::fill(std::begin(image), std::end(image), 0.f);
      for (std::int64_t y = 0; y < s.hd; ++y) {
        std::fill(std::begin(row), std::end(row), 0.f);
        const float* p = dst + n * s.dst.stride(0) + y * s.dst.stride(1) + first * s.dst.stride(3);
        if (count == kChannels && s.dst.stride(3) == 1) {
          for (std::int64_t x = 0; x < s.wd; ++x, p += s.dst.stride(2))
            for (std::int64_t c = 0; c < kChannels; ++c) row[c] += p[c];
        } else {
          for (std::int64_t x = 0; x < s.wd; ++x, p += s.dst.stride(2))
            for (std::int64_t c = 0; c < count; ++c) row[c] += p[c * s.dst.stride(3)];
        }
        for (std::int64_t c = 0; c < kChannels; ++c) image[c] += row[c];
      }
      for (std::int64_t c = 0; c < kChannels; ++c) total[c] += image[c];
    }
    for (std::int64_t c = 0; c < count; ++c) {
      float& out = diffBias[(first + c) * s.bias.stride(0)];
      out = (s.desc.accumulate ? out : 0.f) + total[c];
    }
  });
}

}  // namespace kovar::cpu
