// Softmax of one row of floats, shared by the softmax kernels and the cross entropy. Included once per instruction set.

#if defined(KOVAR_BACKEND_CPU_SOFTMAX_ROW_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_BACKEND_CPU_SOFTMAX_ROW_HPP_
#undef KOVAR_BACKEND_CPU_SOFTMAX_ROW_HPP_
#else
#define KOVAR_BACKEND_CPU_SOFTMAX_ROW_HPP_
#endif

#include "backend/cpu/rows.hpp"
#include "maths/softmax-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {

struct SoftmaxMax {
  HWY_INLINE float operator()(float a, float b) const { return m::softmaxMax(a, b); }
};

/// out[i] = softmax or log-softmax of x[0 .. n); out may be x.
inline void softmaxRow(const float* x, float* out, std::int64_t n, bool log) {
  const Floats lowest = -m::infinity<Floats>();
  Floats most = lowest;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = m::softmaxMax(most, m::load<Floats>(x + i));
  if (i < n) most = m::softmaxMax(most, loadPartOr(x + i, n - i, lowest));
  const Floats max(acrossLanes(most, SoftmaxMax{}));

  Floats sum(0.f);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const Floats e = m::softmaxTerm(m::load<Floats>(x + i), max);
    if (!log) m::store(e, out + i);
    sum = sum + e;
  }
  if (i < n) {
    const Floats e = m::softmaxTerm(loadPart(x + i, n - i), max);
    if (!log) storePart(e, out + i, n - i);
    sum = sum + Floats(hn::IfThenElseZero(hn::FirstN(kTag, static_cast<std::size_t>(n - i)), e.raw));
  }
  const float total = acrossLanes(sum, PlusLanes{});

  const Floats divisor(total), logSum = log ? Floats(m::log(total)) : Floats(0.f);
  for (i = 0; i + kLanes <= n; i += kLanes)
    m::store(log ? m::logSoftmax(m::load<Floats>(x + i), max, logSum) : m::load<Floats>(out + i) / divisor, out + i);
  if (i < n)
    storePart(log ? m::logSoftmax(loadPart(x + i, n - i), max, logSum) : loadPart(out + i, n - i) / divisor, out + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#endif
