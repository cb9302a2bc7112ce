// Pooling's combining rules on lanes; pool.hpp lists them.
#include "maths/lane-inl.hpp"
#include "maths/pool.hpp"

#if defined(KOVAR_MATHS_POOL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_POOL_INL
#undef KOVAR_MATHS_POOL_INL
#else
#define KOVAR_MATHS_POOL_INL
#endif

KOVAR_LANES_BEGIN

/// A NaN tap loses against any number; the result is NaN only where all taps are. Of equal taps the first one wins.
struct MaxPool {
  template <class V>
  KOVAR_LANE static V start() {
    return quietNaN<V>();
  }
  template <class V>
  KOVAR_LANE static V combine(V acc, V tap) {
    return select(isNaN(acc), tap, pickGreater(tap, acc));
  }
  template <class V>
  KOVAR_LANE static V finish(V acc) {
    return acc;
  }
  /// True where `tap` takes the place of `best`: the gradient goes to the last tap for which this held, or the first
  /// tap.
  template <class V>
  KOVAR_LANE static MaskOf<V> better(V tap, V best) {
    // NOLINTNEXTLINE(misc-redundant-expression): not NaN, in one comparison
    return either(tap > best, both(isNaN(best), tap == tap));
  }
};

struct AveragePool {
  template <class V>
  KOVAR_LANE static V start() {
    return V(0.f);
  }
  template <class V>
  KOVAR_LANE static V combine(V acc, V tap) {
    return acc + tap;
  }
  template <class V>
  KOVAR_LANE static V finish(V acc, V divisor) {
    return select(divisor == V(0.f), V(0.f), acc / divisor);
  }
  /// What one window gives to each of its pixels.
  template <class V>
  KOVAR_LANE static V bwd(V g, V divisor) {
    return finish(g, divisor);
  }
};

struct L2Pool {
  template <class V>
  KOVAR_LANE static V start() {
    return V(0.f);
  }
  template <class V>
  KOVAR_LANE static V combine(V acc, V tap) {
    return fma(tap, tap, acc);
  }
  template <class V>
  KOVAR_LANE static V finish(V acc) {
    return sqrt(acc);
  }
  /// What one window of result `result` gives to the pixel `tap`; 0 where the result is 0.
  template <class V>
  KOVAR_LANE static V bwd(V g, V tap, V result) {
    return select(result == V(0.f), V(0.f), g * tap / result);
  }
};

KOVAR_LANES_END

#endif  // per lane set
