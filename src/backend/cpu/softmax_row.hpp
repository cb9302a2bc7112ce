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

/// The largest lane, in every lane; NaN where there is one.
HWY_INLINE Floats softmaxMaxOfLanes(Floats v) {
  const Floats most(hn::MaxOfLanes(kTag, v.raw));
  return m::anyOf(m::isNaN(v)) ? m::quietNaN<Floats>() : most;
}

/// A row that fits one vector.
HWY_INLINE void softmaxShortRow(const float* x, float* out, std::int64_t n, bool log) {
  const Floats v = loadPartOr(x, n, -m::infinity<Floats>());
  const Floats max = softmaxMaxOfLanes(v);
  const Floats e = firstLanes(m::softmaxTerm(v, max), n);
  const Floats sum = sumOfLanes(e);
  storePart(log ? m::logSoftmax(v, max, m::log(sum)) : e / sum, out, n);
}

/// out[i] = softmax or log-softmax of x[0 .. n); out may be x.
inline void softmaxRow(const float* x, float* out, std::int64_t n, bool log) {
  if (n <= kLanes) return softmaxShortRow(x, out, n, log);
  const Floats lowest = -m::infinity<Floats>();
  Floats most[2] = {lowest, lowest};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int k = 0; k < 2; ++k) most[k] = m::softmaxMax(most[k], m::load<Floats>(x + i + k * kLanes));
  for (; i < n; i += kLanes)
    most[0] = m::softmaxMax(most[0], i + kLanes <= n ? m::load<Floats>(x + i) : loadPartOr(x + i, n - i, lowest));
  const Floats max = softmaxMaxOfLanes(m::softmaxMax(most[0], most[1]));

  Floats sum(0.f);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const Floats e = m::softmaxTerm(m::load<Floats>(x + i), max);
    if (!log) m::store(e, out + i);
    sum = sum + e;
  }
  if (i < n) {
    const Floats e = m::softmaxTerm(loadPart(x + i, n - i), max);
    if (!log) storePart(e, out + i, n - i);
    sum = sum + firstLanes(e, n - i);
  }
  const Floats total = sumOfLanes(sum), logSum = log ? m::log(total) : total;
  for (i = 0; i + kLanes <= n; i += kLanes)
    m::store(log ? m::logSoftmax(m::load<Floats>(x + i), max, logSum) : m::load<Floats>(out + i) / total, out + i);
  if (i < n)
    storePart(log ? m::logSoftmax(loadPart(x + i, n - i), max, logSum) : loadPart(out + i, n - i) / total, out + i,
              n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#endif
