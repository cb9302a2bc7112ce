// Softmax on lanes: the parts around the two reductions (maximum and sum over the channels of one pixel).
//   m = max_j x_j      s = sum_j softmaxTerm(x_j, m)
//   softmax      y = softmaxTerm(x, m) / s          gradient: dot = sum_j g_j y_j     softmaxBwd(g, y, dot)
//   log-softmax  y = logSoftmax(x, m, log(s))       gradient: sum = sum_j g_j         logSoftmaxBwd(g, y, sum)
// With all x at -infinity the result is NaN, as IEEE gives it.
#include "maths/functions-inl.hpp"

#if defined(KOVAR_MATHS_SOFTMAX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_SOFTMAX_INL
#undef KOVAR_MATHS_SOFTMAX_INL
#else
#define KOVAR_MATHS_SOFTMAX_INL
#endif

KOVAR_LANES_BEGIN

template <class V>
KOVAR_LANE V softmaxTerm(V x, V max) {
  return exp(x - max);
}
/// A NaN must reach the maximum, else it would be lost: unlike in pooling it wins here.
template <class V>
KOVAR_LANE V softmaxMax(V acc, V x) {
  return select(isNaN(acc), acc, pickGreater(acc, x));
}
template <class V>
KOVAR_LANE V logSoftmax(V x, V max, V logSum) {
  return (x - max) - logSum;
}
template <class V>
KOVAR_LANE V softmaxBwd(V g, V y, V dot) {
  return y * (g - dot);
}
template <class V>
KOVAR_LANE V logSoftmaxBwd(V g, V y, V sum) {
  return fma(-exp(y), sum, g);
}

KOVAR_LANES_END

#endif  // per lane set
