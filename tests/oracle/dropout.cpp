#include "oracle/dropout.hpp"

#include <cmath>

namespace kovar::oracle {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0], b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

Tensor dropoutMask(const Dropout& op, size_t height, size_t width, size_t channels, uint32_t imageInBatch,
                   uint64_t encodeSequence) {
  Tensor mask(1, op.maskStrideY ? height : 1, op.maskStrideX ? width : 1, op.maskStrideC ? channels : 1);
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(op.seed), static_cast<uint32_t>(op.seed >> 32)};
  for (size_t e = 0; e < mask.size(); ++e) {
    const auto words = philox4x32({static_cast<uint32_t>(e / 4), imageInBatch, static_cast<uint32_t>(encodeSequence),
                                   static_cast<uint32_t>(encodeSequence >> 32)},
                                  key);
    const double uniform = static_cast<double>(words[e % 4] >> 8) / 16777216.0;
    mask.v[e] = uniform < static_cast<double>(static_cast<float>(op.keepProbability)) ? 1.0 : 0.0;
  }
  return mask;
}

Result dropoutApply(const Dropout& op, const Attributes& at, const Tensor& source, const Tensor& mask,
                    const Tensor& destination, long maskOffsetX, long maskOffsetY) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.offset.z, source.n);
  const size_t channels = usedChannels(source, at.sourceChannelOffset, at.sourceChannelMaxCount);
  const auto scale = static_cast<double>(1.0f / static_cast<float>(op.keepProbability));
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const auto n = static_cast<size_t>(at.offset.z + i);
          const double m = mask.at(mask.n == 1 ? 0 : n, static_cast<size_t>(maskOffsetY + y) * op.maskStrideY,
                                   static_cast<size_t>(maskOffsetX + x) * op.maskStrideX, c * op.maskStrideC);
          const double s = readEdge(source, at.edge, n, at.offset.y + y, at.offset.x + x, at.sourceChannelOffset + c);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = m != 0 ? s * scale : 0.0;
          out.magnitude.v[k] = std::fabs(out.value.v[k]);
        }
  return out;
}

}  // namespace kovar::oracle
