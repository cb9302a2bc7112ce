// Random numbers on lanes; philox.hpp says which number stands where.
#include "maths/functions-inl.hpp"
#include "maths/philox.hpp"

#if defined(KOVAR_MATHS_PHILOX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_PHILOX_INL
#undef KOVAR_MATHS_PHILOX_INL
#else
#define KOVAR_MATHS_PHILOX_INL
#endif

KOVAR_LANES_BEGIN

/// kWidth<V> consecutive blocks: lane i of word w belongs to element 4 * (first block + i) + w.
template <class V>
struct RandomWords {
  BitsOf<V> word[4];
};

/// Blocks firstBlock, firstBlock + 1 ... of the stream, one in each lane.
template <class V>
KOVAR_LANE RandomWords<V> randomWords(const RandomStream& stream, std::uint64_t firstBlock) {
  using B = BitsOf<V>;
  const auto first = static_cast<std::uint32_t>(firstBlock);
  B c0 = B(first);
#if KOVAR_LANES_VECTOR
  if constexpr (!std::is_same_v<V, float>) c0 = B(hn::Iota(BitsTag(), first));
#endif
  B c1 = B(stream.item), c2 = B(static_cast<std::uint32_t>(stream.sequence)),
    c3 = B(static_cast<std::uint32_t>(stream.sequence >> 32));
  auto key0 = static_cast<std::uint32_t>(stream.seed), key1 = static_cast<std::uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const B m0 = B(0xD2511F53u), m1 = B(0xCD9E8D57u);
    const B high0 = mulHigh(m0, c0), low0 = m0 * c0, high1 = mulHigh(m1, c2), low1 = m1 * c2;
    c0 = high1 ^ c1 ^ B(key0);
    c1 = low1;
    c2 = high0 ^ c3 ^ B(key1);
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// The upper 24 bits as a number in [0, 1).
template <class V>
KOVAR_LANE V uniformFromBits(BitsOf<V> b) {
  return signedToFloat(shiftRight<8>(b)) * V(5.96046448e-8f);
}

/// 4 * kWidth<V> consecutive elements, from element 4 * firstBlock on.
template <class V>
KOVAR_LANE void storeInOrder(V w0, V w1, V w2, V w3, float* out) {
#if KOVAR_LANES_VECTOR && HWY_TARGET != HWY_SCALAR
  if constexpr (!std::is_same_v<V, float>) {
    hn::StoreInterleaved4(w0.raw, w1.raw, w2.raw, w3.raw, FloatTag(), out);
  } else
#endif
  {
    constexpr int kStride = 4;
    float column[kWidth<V>];
    const V words[kStride] = {w0, w1, w2, w3};
    for (int w = 0; w < kStride; ++w) {
      store(words[w], column);
      for (int i = 0; i < kWidth<V>; ++i) out[i * kStride + w] = column[i];
    }
  }
}

/// Uniform numbers of elements 4 * firstBlock ... in order: 4 * kWidth<V> of them. Dropout compares them with `keep`.
template <class V>
KOVAR_LANE void storeUniform(const RandomStream& stream, std::uint64_t firstBlock, float* out) {
  const RandomWords<V> r = randomWords<V>(stream, firstBlock);
  storeInOrder(uniformFromBits<V>(r.word[0]), uniformFromBits<V>(r.word[1]), uniformFromBits<V>(r.word[2]),
               uniformFromBits<V>(r.word[3]), out);
}

/// Two independent standard normal numbers from two words (Box and Muller): r cos(2 pi v) and r sin(2 pi v) with
/// r = sqrt(-2 log u), u in (0, 1].
template <class V>
struct NormalPair {
  V first, second;
};
template <class V>
KOVAR_LANE NormalPair<V> normalFromBits(BitsOf<V> a, BitsOf<V> b) {
  const V u = uniformFromBits<V>(a) + V(5.96046448e-8f);
  const V r = sqrt(V(-2.f) * log(u));
  const SinCos<V> angle = sinCosTurns(uniformFromBits<V>(b));
  return {r * angle.cos, r * angle.sin};
}

/// Standard normal numbers of elements 4 * firstBlock ... in order: words 0 and 1 of a block give its elements 0 and 1,
/// words 2 and 3 the others.
template <class V>
KOVAR_LANE void storeNormal(const RandomStream& stream, std::uint64_t firstBlock, float* out) {
  const RandomWords<V> r = randomWords<V>(stream, firstBlock);
  const NormalPair<V> p = normalFromBits<V>(r.word[0], r.word[1]), q = normalFromBits<V>(r.word[2], r.word[3]);
  storeInOrder(p.first, p.second, q.first, q.second, out);
}

/// minimum + u (maximum - minimum), never outside the two.
template <class V>
KOVAR_LANE V scaleUniform(V u, float minimum, float maximum) {
  return clamp(fma(u, V(maximum - minimum), V(minimum)), V(minimum), V(maximum));
}
/// mean + z deviation, limited to [minimum, maximum].
template <class V>
KOVAR_LANE V scaleNormal(V z, float mean, float deviation, float minimum, float maximum) {
  return clamp(fma(z, V(deviation), V(mean)), V(minimum), V(maximum));
}

/// Dropout: u the uniform numbers of the mask's elements. Kept values are multiplied by 1 / keep, rounded once; dropped
/// ones are 0 whatever x is.
template <class V>
KOVAR_LANE V dropout(V x, V u, float keep) {
  return select(u < V(keep), x * V(1.f / keep), V(0.f));
}

KOVAR_LANES_END

#endif  // per lane set
