#include "backend/cpu/roof.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/roof.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Multiply-adds of independent chains; returns floating-point operations done.
double multiplyAdds(long rounds, float* sink) {
  const hn::ScalableTag<float> d;
  const auto b = hn::Set(d, 0.999f), c = hn::Set(d, 1e-3f);
  // Chains that start alike would be computed once.
  auto a0 = hn::Iota(d, 0.f), a1 = hn::Iota(d, 1.f), a2 = hn::Iota(d, 2.f), a3 = hn::Iota(d, 3.f),
       a4 = hn::Iota(d, 4.f);
  auto a5 = hn::Iota(d, 5.f), a6 = hn::Iota(d, 6.f), a7 = hn::Iota(d, 7.f), a8 = hn::Iota(d, 8.f),
       a9 = hn::Iota(d, 9.f);
  for (long i = 0; i < rounds; ++i) {
    a0 = hn::MulAdd(a0, b, c), a1 = hn::MulAdd(a1, b, c), a2 = hn::MulAdd(a2, b, c), a3 = hn::MulAdd(a3, b, c);
    a4 = hn::MulAdd(a4, b, c), a5 = hn::MulAdd(a5, b, c), a6 = hn::MulAdd(a6, b, c), a7 = hn::MulAdd(a7, b, c);
    a8 = hn::MulAdd(a8, b, c), a9 = hn::MulAdd(a9, b, c);
    asm volatile("" ::: "memory");
  }
  const auto sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9;
  *sink = hn::GetLane(sum);
  return static_cast<double>(rounds) * 10 * 2 * static_cast<double>(hn::Lanes(d));
}

float sumOf(const float* p, std::size_t count) {
  const hn::ScalableTag<float> d;
  auto a = hn::Zero(d), b = a, c = a, e = a;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < count; i += 4 * lanes) {
    a = a + hn::LoadU(d, p + i), b = b + hn::LoadU(d, p + i + lanes);
    c = c + hn::LoadU(d, p + i + 2 * lanes), e = e + hn::LoadU(d, p + i + 3 * lanes);
  }
  return hn::GetLane(a + b + (c + e));
}

void update(float* p, std::size_t count) {
  const hn::ScalableTag<float> d;
  const auto half = hn::Set(d, 0.5f);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d))
    hn::StoreU(hn::MulAdd(hn::LoadU(d, p + i), half, half), d, p + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(multiplyAdds);
HWY_EXPORT(sumOf);
HWY_EXPORT(update);

constexpr std::size_t kFloats = std::size_t{16} << 20, kChunk = 16384;  // a chunk is a multiple of any vector

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Seconds that `work(chunk)` takes for all chunks of an array.
template <class F>
double secondsOf(base::ThreadPool& pool, const F& work) {
  const double start = now();
  pool.run(kFloats / kChunk, work);
  return now() - start;
}

}  // namespace

double multiplyAddRate(base::ThreadPool& pool) {
  constexpr long kRounds = 20000;
  const auto chunks = static_cast<std::size_t>(pool.threads()) * 4;
  std::atomic<long> operations{0};
  const double start = now();
  pool.run(chunks, [&](std::size_t) {
    float sink = 0;
    operations += static_cast<long>(HWY_DYNAMIC_DISPATCH(multiplyAdds)(kRounds, &sink));
  });
  return static_cast<double>(operations) / (now() - start) * 1e-9;
}

RoofProbe::RoofProbe(int threads) : pool_(threads), from_(kFloats, 1.f), to_(kFloats, 2.f) {}

Roof RoofProbe::measure() {
  constexpr double kGigabytes = static_cast<double>(kFloats) * sizeof(float) * 1e-9;
  Roof roof;
  roof.gflops = multiplyAddRate(pool_);
  std::vector<float> sums(kFloats / kChunk);
  roof.read = kGigabytes / secondsOf(pool_, [&](std::size_t i) {
                sums[i] = HWY_DYNAMIC_DISPATCH(sumOf)(&from_[i * kChunk], kChunk);
              });
  roof.copy = 2 * kGigabytes / secondsOf(pool_, [&](std::size_t i) {
                std::memcpy(&to_[i * kChunk], &from_[i * kChunk], kChunk * sizeof(float));
              });
  roof.inPlace = 2 * kGigabytes / secondsOf(pool_, [&](std::size_t i) {
                   HWY_DYNAMIC_DISPATCH(update)
                   (&to_[i * kChunk], kChunk);
                 });
  return roof;
}

}  // namespace kovar::cpu
#endif
