// Normalization with the moments of regions, vectorised over channels.

#include "backend/cpu/norm.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/targets.hpp"
#include "backend/cpu/thread_scratch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "maths/norm-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// Calls fn(first channel, lanes of a lone last vector or 0).
template <class F>
HWY_INLINE void forVectors(std::int64_t channels, const F& fn) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) fn(c, std::int64_t{0});
  if (c < channels) fn(c, channels - c);
}

/// One pixel's channels as floats, where they lie or in `buffer`.
HWY_INLINE const float* pixelOf(const NormImage& v, std::byte* storage, std::int64_t n, std::int64_t p,
                                std::int64_t channels, float* buffer) {
  const std::byte* at = v.at(storage, n, p);
  if (v.run) return reinterpret_cast<const float*>(at);
  loadRow(v.type, at, v.channel, channels, buffer);
  return buffer;
}

/// Mean and squared distances of `count` pixels: `mean` and `squares` get whole vectors. All distances are taken from
/// the first pixel, so nothing cancels and equal values have a variance of exactly 0.
void normMoments(const NormImage& v, std::byte* storage, std::int64_t n, std::int64_t first, std::int64_t count,
                 std::int64_t channels, float* mean, float* squares, float* buffer) {
  const std::int64_t pitch = divideUp(channels, kNormFactorPad) * kNormFactorPad;
  float* const originBuffer = buffer + kNormRows * pitch;
  const float* origin = pixelOf(v, storage, n, first, channels, originBuffer);
  forVectors(channels, [&](std::int64_t c, std::int64_t) HWY_ATTR {
    m::store(Floats(0.f), mean + c);
    m::store(Floats(0.f), squares + c);
  });
  std::int64_t p = 1;
  for (; p + kNormRows <= count; p += kNormRows) {
    const float* x[kNormRows];
    for (std::int64_t r = 0; r < kNormRows; ++r)
      x[r] = pixelOf(v, storage, n, first + p + r, channels, buffer + r * pitch);
    forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
      const Floats o = loadLanes(origin + c, part);
      const Floats a = loadLanes(x[0] + c, part) - o, b = loadLanes(x[1] + c, part) - o;
      const Floats d = loadLanes(x[2] + c, part) - o, e = loadLanes(x[3] + c, part) - o;
      m::store(m::load<Floats>(mean + c) + ((a + b) + (d + e)), mean + c);
      m::store(m::load<Floats>(squares + c) + (m::fma(a, a, b * b) + m::fma(d, d, e * e)), squares + c);
    });
  }
  for (; p < count; ++p) {
    const float* x = pixelOf(v, storage, n, first + p, channels, buffer);
    forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
      const Floats a = loadLanes(x + c, part) - loadLanes(origin + c, part);
      m::store(m::load<Floats>(mean + c) + a, mean + c);
      m::store(m::fma(a, a, m::load<Floats>(squares + c)), squares + c);
    });
  }
  const Floats share(1.f / static_cast<float>(count));
  forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
    const Floats sum = m::load<Floats>(mean + c), off = sum * share;
    const Floats rest = m::fma(-sum, off, m::load<Floats>(squares + c));
    m::store(m::select(rest < Floats(0.f), Floats(0.f), rest), squares + c);  // NaN stays
    m::store(loadLanes(origin + c, part) + off, mean + c);
  });
}

/// Sums of g and of g (S - mean) over `count` pixels.
void normSums(const NormImage& gradient, const NormImage& source, std::byte* const* storage, std::int64_t n,
              std::int64_t first, std::int64_t count, std::int64_t channels, const float* mean, float* sumG,
              float* sumGX, float* buffer) {
  const std::int64_t pitch = divideUp(channels, kNormFactorPad) * kNormFactorPad;
  forVectors(channels, [&](std::int64_t c, std::int64_t) HWY_ATTR {
    m::store(Floats(0.f), sumG + c);
    m::store(Floats(0.f), sumGX + c);
  });
  const auto row = [&](std::int64_t p, std::int64_t at, const float** g, const float** x) {
    *g = pixelOf(gradient, storage[0], n, first + p, channels, buffer + 2 * at * pitch);
    *x = pixelOf(source, storage[1], n, first + p, channels, buffer + (2 * at + 1) * pitch);
  };
  std::int64_t p = 0;
  for (; p + 2 <= count; p += 2) {
    const float *g0, *g1, *x0, *x1;
    row(p, 0, &g0, &x0);
    row(p + 1, 1, &g1, &x1);
    forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
      const auto mu = m::load<Floats>(mean + c);
      const Floats a = loadLanes(g0 + c, part), b = loadLanes(g1 + c, part);
      const Floats both = m::fma(a, loadLanes(x0 + c, part) - mu, b * (loadLanes(x1 + c, part) - mu));
      m::store(m::load<Floats>(sumG + c) + (a + b), sumG + c);
      m::store(m::load<Floats>(sumGX + c) + both, sumGX + c);
    });
  }
  if (p == count) return;
  const float *g, *x;
  row(p, 0, &g, &x);
  forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
    const Floats a = loadLanes(g + c, part), d = loadLanes(x + c, part) - m::load<Floats>(mean + c);
    m::store(m::load<Floats>(sumG + c) + a, sumG + c);
    m::store(m::fma(a, d, m::load<Floats>(sumGX + c)), sumGX + c);
  });
}

/// Writes `count` pixels of the result. factors: mean, scale, shift, each `pitch` floats.
void normApplyPixels(const NormImage& source, const NormImage& result, const prim::Invocation& inv, std::int64_t n,
                     std::int64_t first, std::int64_t count, std::int64_t channels, const float* factors,
                     std::int64_t pitch, const PostOps& post, float* buffer) {
  std::byte* const out = inv.args[5].data;
  for (std::int64_t p = first; p < first + count; ++p) {
    const float* x = pixelOf(source, inv.args[0].data, n, p, channels, buffer);
    std::byte* const to = result.at(out, n, p);
    float* y = result.run ? reinterpret_cast<float*>(to) : buffer + pitch;
    forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
      const float* f = factors + c;
      storeLanes(m::normApply(loadLanes(x + c, part), m::load<Floats>(f), m::load<Floats>(f + pitch),
                              m::load<Floats>(f + 2 * pitch)),
                 y + c, part);
    });
    if (!post.empty()) {
      const std::int64_t index[3] = {n, p / result.width, p % result.width};
      post.apply(inv, index, 0, channels, y, y);
    }
    if (!result.run) storeRow(result.type, y, channels, to, result.channel);
  }
}

/// Writes `count` pixels of the source's gradient. factors: mean, gradient, source, constant.
void normGradientPixels(const NormImage& gradient, const NormImage& source, const NormImage& result,
                        const prim::Invocation& inv, std::int64_t n, std::int64_t first, std::int64_t count,
                        std::int64_t channels, const float* factors, std::int64_t pitch, float* buffer) {
  for (std::int64_t p = first; p < first + count; ++p) {
    const float* g = pixelOf(gradient, inv.args[0].data, n, p, channels, buffer);
    const float* x = pixelOf(source, inv.args[1].data, n, p, channels, buffer + pitch);
    std::byte* const to = result.at(inv.args[7].data, n, p);
    float* y = result.run ? reinterpret_cast<float*>(to) : buffer + 2 * pitch;
    forVectors(channels, [&](std::int64_t c, std::int64_t part) HWY_ATTR {
      const float* f = factors + c;
      storeLanes(
          m::normGradient(loadLanes(g + c, part), loadLanes(x + c, part), m::load<Floats>(f),
                          m::load<Floats>(f + pitch), m::load<Floats>(f + 2 * pitch), m::load<Floats>(f + 3 * pitch)),
          y + c, part);
    });
    if (!result.run) storeRow(result.type, y, channels, to, result.channel);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {

NormImage::NormImage(const prim::View& v) : type(v.dtype), width(v.dim(2)) {
  const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
  start = v.offset * size;
  image = v.stride(0) * size;
  row = v.stride(1) * size;
  pixel = v.stride(2) * size;
  channel = v.stride(3) * size;
  if (v.dim(3) == 1) channel = size;
  run = v.dtype == prim::DType::F32 && channel == size;
  if (width == 1) {
    pixel = row;
    line = true;
  } else {
    line = v.dim(1) == 1 || row == width * pixel;
  }
}

namespace {

HWY_EXPORT(normMoments);
HWY_EXPORT(normSums);
HWY_EXPORT(normApplyPixels);
HWY_EXPORT(normGradientPixels);

using maths::Moments;
using prim::NormTask;
using prim::View;

/// Everything that follows from the shapes.
struct NormPlan {
  prim::Norm desc;
  bool backward = false;
  std::array<NormImage, 2> in;  ///< the source; backward: the gradient, the source
  NormImage out;
  NormVector mean, variance, gamma, beta, diffGamma, diffBeta;
  std::int64_t images = 1, pixels = 1, channels = 1, regions = 1, groups = 1;
  std::int64_t pitch = 1;   ///< floats of one value per channel
  std::int64_t blocks = 1;  ///< of one image
  bool whole = false;       ///< one thread handles an image from beginning to end: it stays in its cache
  PostOps post;

  std::int64_t imagesPerRegion() const { return images / regions; }
  std::int64_t perGroup() const { return channels / groups; }
  bool partials() const { return desc.task != NormTask::Apply && desc.task != NormTask::Data; }
  std::int64_t partialFloats() const { return partials() ? images * blocks * 2 * pitch : 0; }
  std::int64_t factorFloats() const { return regions * kNormFactors * pitch; }
  std::int64_t blockPixels(std::int64_t b) const { return std::min(kNormBlock, pixels - b * kNormBlock); }
};

/// One run of a plan, in phases.
class NormRun {
 public:
  NormRun(const NormPlan& plan, const prim::Invocation& inv)
      : plan_(plan),
        inv_(inv),
        partials_(reinterpret_cast<float*>(inv.scratch)),
        factors_(partials_ + plan.partialFloats()),
        count_(inv.scalars == nullptr ? 0 : inv.scalars->u[0]) {}

  base::Status run(base::ThreadPool& pool) const {
    runPhases(pool);
    return failure_.status("cpu:norm:blocks");
  }

 private:
  void runPhases(base::ThreadPool& pool) const {
    const NormPlan& p = plan_;
    const std::int64_t blocks = p.images * p.blocks;
    if (p.whole) {
      forRanges(pool, p.images, std::max<std::int64_t>(1, kChunkElements / (p.pixels * p.channels)),
                [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t n = begin; n < end; ++n) {
                    prepareRegion(n, 0, p.channels);
                    if (p.partials()) forBlocks(n * p.blocks, (n + 1) * p.blocks, true);
                    finishRegion(n, 0, p.channels);
                    if (writes()) forBlocks(n * p.blocks, (n + 1) * p.blocks, false);
                  }
                });
      return;
    }
    const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / (kNormBlock * p.channels));
    // Parts of the channels that hold whole groups.
    const std::int64_t part = divideUp(32, p.perGroup()) * p.perGroup(), parts = divideUp(p.channels, part);
    const auto regions = [&](auto&& fn) {
      const std::int64_t work = part * p.imagesPerRegion() * (p.partials() ? p.blocks : 1) * 8;
      forRanges(pool, p.regions * parts, std::max<std::int64_t>(1, kChunkElements / work),
                [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    const std::int64_t c = i % parts * part;
                    fn(i / parts, c, std::min(p.channels, c + part));
                  }
                });
    };
    if (p.backward) regions([&](auto r, auto begin, auto end) { prepareRegion(r, begin, end); });
    if (p.partials())
      forRanges(pool, blocks, grain, [&](std::int64_t begin, std::int64_t end) { forBlocks(begin, end, true); });
    regions([&](auto r, auto begin, auto end) { finishRegion(r, begin, end); });
    if (writes())
      forRanges(pool, blocks, grain, [&](std::int64_t begin, std::int64_t end) { forBlocks(begin, end, false); });
  }

  bool writes() const { return plan_.desc.task != NormTask::Statistics && plan_.desc.task != NormTask::Sums; }
  float* factors(std::int64_t region) const { return factors_ + region * kNormFactors * plan_.pitch; }
  float* partial(std::int64_t block) const { return partials_ + block * 2 * plan_.pitch; }

  /// Blocks [begin, end) of all images: their partial results, or what they write.
  void forBlocks(std::int64_t begin, std::int64_t end, bool partials) const {
    const NormPlan& p = plan_;
    float* buffer = threadFloats(static_cast<std::size_t>((kNormRows + 1) * p.pitch));
    if (buffer == nullptr) return failure_.raise(FailureFlag::kMemory);
    std::byte* const storage[2] = {inv_.args[0].data, p.backward ? inv_.args[1].data : nullptr};
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / p.blocks, b = i % p.blocks, first = b * kNormBlock, count = p.blockPixels(b);
      const float* f = factors(n / p.imagesPerRegion());
      if (partials && !p.backward) HWY_DYNAMIC_DISPATCH(normMoments)
      (p.in[0], storage[0], n, first, count, p.channels, partial(i), partial(i) + p.pitch, buffer);
      else if (partials) HWY_DYNAMIC_DISPATCH(normSums)(p.in[0], p.in[1], storage, n, first, count, p.channels, f,
                                                        partial(i), partial(i) + p.pitch, buffer);
      else if (p.backward) HWY_DYNAMIC_DISPATCH(normGradientPixels)(p.in[0], p.in[1], p.out, inv_, n, first, count,
                                                                    p.channels, f, p.pitch, buffer);
      else HWY_DYNAMIC_DISPATCH(normApplyPixels)(p.in[0], p.out, inv_, n, first, count, p.channels, f, p.pitch, p.post,
                                                 buffer);
    }
  }

  /// The mean of every channel, which the sums of a gradient are taken around.
  void prepareRegion(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    if (!plan_.backward) return;
    for (std::int64_t c = begin; c < end; ++c) factors(r)[c] = *mean(r, c);
  }

  void finishRegion(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    const NormTask task = plan_.desc.task;
    if (task == NormTask::Statistics || task == NormTask::Normalize) joinMoments(r, begin, end);
    if (task == NormTask::Sums || task == NormTask::Gradient) joinSums(r, begin, end);
    if (task == NormTask::Apply || task == NormTask::Normalize) applyFactors(r, begin, end);
    if (task == NormTask::Data || task == NormTask::Gradient) gradientFactors(r, begin, end);
  }

  void joinMoments(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    const NormPlan& p = plan_;
    thread_local std::vector<Moments> all;
    all.assign(static_cast<std::size_t>(end - begin), {});
    const std::int64_t firstBlock = r * p.imagesPerRegion() * p.blocks;
    for (std::int64_t i = 0; i < p.imagesPerRegion() * p.blocks; ++i) {
      const float* part = partial(firstBlock + i);
      const auto count = static_cast<double>(p.blockPixels(i % p.blocks));
      for (std::int64_t c = begin; c < end; ++c)
        all[static_cast<std::size_t>(c - begin)].join(
            {count, static_cast<double>(part[c]), static_cast<double>(part[p.pitch + c])});
    }
    for (std::int64_t c = begin; c < end; c += p.perGroup()) {
      Moments group;
      if (p.desc.accumulate && count_ > 0) {
        const auto before = static_cast<double>(count_);
        group = {before, static_cast<double>(*mean(r, c)), static_cast<double>(*variance(r, c)) * before};
      }
      for (std::int64_t k = 0; k < p.perGroup(); ++k) group.join(all[static_cast<std::size_t>(c + k - begin)]);
      *mean(r, c) = static_cast<float>(group.mean);
      *variance(r, c) = static_cast<float>(group.variance());
    }
  }

  void joinSums(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    const NormPlan& p = plan_;
    const std::int64_t firstBlock = r * p.imagesPerRegion() * p.blocks, blocks = p.imagesPerRegion() * p.blocks;
    thread_local std::vector<double> sums;
    sums.assign(static_cast<std::size_t>(2 * (end - begin)), 0.0);
    double *g = sums.data(), *gx = g + (end - begin);
    for (std::int64_t i = 0; i < blocks; ++i) {
      const float* part = partial(firstBlock + i);
      for (std::int64_t c = begin; c < end; ++c) {
        g[c - begin] += static_cast<double>(part[c]);
        gx[c - begin] += static_cast<double>(part[p.pitch + c]);
      }
    }
    for (std::int64_t c = begin; c < end; ++c) {
      float *toGamma = p.diffGamma.at(inv_.args[diffAt()].data, r, c),
            *toBeta = p.diffBeta.at(inv_.args[diffAt() + 1].data, r, c);
      // Where all values are equal the distances are 0, whatever the deviation.
      double dGamma = gx[c - begin] == 0 ? 0 : gx[c - begin] * maths::inverseDeviation(*variance(r, c), p.desc.epsilon);
      double dBeta = g[c - begin];
      if (p.desc.accumulate) dGamma += static_cast<double>(*toGamma), dBeta += static_cast<double>(*toBeta);
      *toGamma = static_cast<float>(dGamma);
      *toBeta = static_cast<float>(dBeta);
    }
  }

  void applyFactors(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    float* f = factors(r);
    for (std::int64_t c = begin; c < end; ++c) {
      const auto [mu, scale, shift] =
          maths::normFactors(*mean(r, c), *variance(r, c), plan_.desc.epsilon, *plan_.gamma.at(inv_.args[3].data, 0, c),
                             *plan_.beta.at(inv_.args[4].data, 0, c));
      f[c] = mu;
      f[plan_.pitch + c] = scale;
      f[2 * plan_.pitch + c] = shift;
    }
  }

  void gradientFactors(std::int64_t r, std::int64_t begin, std::int64_t end) const {
    const NormPlan& p = plan_;
    const auto gammaOf = [&](std::int64_t c) { return *p.gamma.at(inv_.args[4].data, 0, c); };
    for (std::int64_t c = begin; c < end; c += p.perGroup()) {
      double sumG = 0, sumGX = 0;
      for (std::int64_t k = c; k < c + p.perGroup(); ++k) {
        sumG += static_cast<double>(gammaOf(k)) * static_cast<double>(*p.diffBeta.at(inv_.args[6].data, r, k));
        sumGX += static_cast<double>(gammaOf(k)) * static_cast<double>(*p.diffGamma.at(inv_.args[5].data, r, k));
      }
      for (std::int64_t k = c; k < c + p.perGroup(); ++k) {
        const auto g = maths::normGradientFactors(*mean(r, k), *variance(r, k), p.desc.epsilon, gammaOf(k), sumG, sumGX,
                                                  static_cast<double>(count_));
        float* f = factors(r) + k;
        f[0] = g.mean;
        f[p.pitch] = g.gradient;
        f[2 * p.pitch] = g.source;
        f[3 * p.pitch] = g.constant;
      }
    }
  }

  std::size_t meanAt() const { return plan_.backward ? 2 : 1; }
  std::size_t diffAt() const { return plan_.desc.task == NormTask::Sums ? 4 : 5; }
  float* mean(std::int64_t r, std::int64_t c) const {
    return plan_.mean.at(inv_.args[meanAt()].data, r, c / plan_.perGroup());
  }
  float* variance(std::int64_t r, std::int64_t c) const {
    return plan_.variance.at(inv_.args[meanAt() + 1].data, r, c / plan_.perGroup());
  }

  const NormPlan& plan_;
  const prim::Invocation& inv_;
  float *partials_, *factors_;
  std::uint64_t count_;
  mutable FailureFlag failure_;
};

base::Status prepareNorm(const prim::Norm& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  NormPlan p;
  p.desc = desc;
  p.backward = desc.task >= NormTask::Sums;
  const View &src = views[p.backward ? 1 : 0], &mean = views[p.backward ? 2 : 1];
  p.in[0] = NormImage(views[0]);
  if (p.backward) p.in[1] = NormImage(src);
  p.mean = NormVector(mean);
  p.variance = NormVector(views[p.backward ? 3 : 2]);
  if (desc.task == NormTask::Apply || desc.task == NormTask::Normalize) {
    p.gamma = NormVector(views[3]);
    p.beta = NormVector(views[4]);
    p.out = NormImage(views[5]);
    p.post = PostOps(desc.post, views[5], views, 6);
  }
  if (desc.task == NormTask::Data || desc.task == NormTask::Gradient) {
    p.gamma = NormVector(views[4]);
    p.out = NormImage(views[7]);
  }
  if (p.backward) {
    const std::size_t at = desc.task == NormTask::Sums ? 4 : 5;
    p.diffGamma = NormVector(views[at]);
    p.diffBeta = NormVector(views[at + 1]);
  }
  p.images = src.dim(0);
  p.pixels = src.dim(1) * src.dim(2);
  p.channels = src.dim(3);
  p.regions = mean.dim(0);
  p.groups = mean.dim(3);
  p.pitch = divideUp(p.channels, kNormFactorPad) * kNormFactorPad;
  p.blocks = divideUp(p.pixels, kNormBlock);
  constexpr std::int64_t kCached = 192 * 1024;  // floats that stay in a core's second-level cache
  p.whole = p.regions == p.images && p.images > 1 && p.pixels * p.channels * (p.backward ? 2 : 1) <= kCached;
  plan.scratchBytes = static_cast<std::size_t>(p.partialFloats() + p.factorFloats()) * sizeof(float);
  plan.body = [p](Context& context, const prim::Invocation& inv) -> base::Status {
    return NormRun(p, inv).run(context.pool);
  };
  return {};
}

constexpr Candidate<prim::Norm> kCandidates[] = {{"cpu:norm:blocks", prepareNorm}};

}  // namespace

std::span<const Candidate<prim::Norm>> normCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
