#include "lane_targets.hpp"

// The targets of the library's own CPU code, less the one that adds nothing for floats.
#include <hwy/detect_compiler_arch.h>
#if HWY_ARCH_X86
#define HWY_BASELINE_TARGETS HWY_SSE4
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SCALAR | HWY_EMU128 | HWY_AVX3_DL)
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "unit/maths/lane_targets.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "lane_runner.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::test::HWY_NAMESPACE {
namespace m = kovar::maths::HWY_NAMESPACE;

void runVector(int id, const float* x, const float* y, float* out, std::size_t n) {
  m::runLaneCase<m::Floats>(id, x, y, out, n);
}
void runSingle(int id, const float* x, const float* y, float* out, std::size_t n) {
  m::runLaneCase<float>(id, x, y, out, n);
}
void runRandom(std::uint64_t seed, std::uint32_t item, std::uint64_t sequence, bool normal, float* out, std::size_t n) {
  m::runRandom(seed, item, sequence, normal, out, n);
}
void runFormats(const float* x, std::uint16_t* half, float* back, std::uint8_t* u8, std::uint16_t* u16, std::size_t n) {
  m::runFormats(x, half, back, u8, u16, n);
}
bool isFused() { return KOVAR_LANES_FUSED != 0; }

}  // namespace kovar::test::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::test {

HWY_EXPORT(runVector);
HWY_EXPORT(runSingle);
HWY_EXPORT(runRandom);
HWY_EXPORT(runFormats);
HWY_EXPORT(isFused);

namespace {

/// Makes dynamic dispatch pick one target as long as it lives.
class OnTarget {
 public:
  explicit OnTarget(std::int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~OnTarget() { hwy::SetSupportedTargetsForTest(0); }
};

LaneSet vectorSet(std::int64_t target) {
  const OnTarget on(target);
  LaneSet set{hwy::TargetName(target), HWY_DYNAMIC_DISPATCH(isFused)(), nullptr, nullptr, nullptr, nullptr};
  set.run = [target](int id, const float* x, const float* y, float* out, std::size_t n) {
    const OnTarget here(target);
    HWY_DYNAMIC_DISPATCH(runVector)(id, x, y, out, n);
  };
  set.runSingly = [target](int id, const float* x, const float* y, float* out, std::size_t n) {
    const OnTarget here(target);
    HWY_DYNAMIC_DISPATCH(runSingle)(id, x, y, out, n);
  };
  set.random = [target](std::uint64_t seed, std::uint32_t item, std::uint64_t sequence, bool normal, float* out,
                        std::size_t n) {
    const OnTarget here(target);
    HWY_DYNAMIC_DISPATCH(runRandom)(seed, item, sequence, normal, out, n);
  };
  set.formats = [target](const float* x, std::uint16_t* half, float* back, std::uint8_t* u8, std::uint16_t* u16,
                         std::size_t n) {
    const OnTarget here(target);
    HWY_DYNAMIC_DISPATCH(runFormats)(x, half, back, u8, u16, n);
  };
  return set;
}

}  // namespace

const std::vector<LaneSet>& laneSets() {
  static const std::vector<LaneSet> sets = [] {
    std::vector<LaneSet> all{scalar_lanes::set()};
    for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1)
      all.push_back(vectorSet(rest & -rest));
    return all;
  }();
  return sets;
}

}  // namespace kovar::test
#endif
