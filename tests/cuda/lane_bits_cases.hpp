// Every function on lanes, numbered, so that one loop can run them all: on each instruction set of the CPU, on plain
// floats, and on a GPU. Included once per set of lanes, like the headers it tests.
#include "maths/arithmetic-inl.hpp"
#include "maths/formats-inl.hpp"
#include "maths/functions-inl.hpp"
#include "maths/loss-inl.hpp"
#include "maths/neuron-inl.hpp"
#include "maths/optimizer-inl.hpp"
#include "maths/philox-inl.hpp"
#include "maths/pool-inl.hpp"
#include "maths/softmax-inl.hpp"

#ifndef KOVAR_TESTS_LANE_BITS_CASES
#define KOVAR_TESTS_LANE_BITS_CASES

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace kovar::test {

/// Numbers of the cases: single functions, then neurons (forward, backward), then losses (value, both gradients).
enum LaneCase : int {
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kTanh,
  kErf,
  kSigmoid,
  kPow,
  kDensity,
  kTail,
  kSin,
  kCos,
  kSqrt,
  kFma,
  kDivide,
  kFloor,
  kTrunc,
  kRoundEven,
  kMinNumber,
  kMaxNumber,
  kPickLess,
  kClamp,
  kSign,
  kCopySign,
  kProductError,
  kMulHigh,
  kHalf,
  kHalfBits,
  kUnorm8,
  kUnorm16,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kInsideRange,
  kArithmeticDivide,
  kMaxPool,
  kMaxPoolBetter,
  kAverageFinish,
  kL2Combine,
  kL2Backward,
  kSoftmaxMax,
  kLogSoftmax,
  kSoftmaxBackward,
  kLogSoftmaxBackward,
  kPreprocess,
  kSgdMomentum,
  kSgdNesterov,
  kRmsProp,
  kAdam,
  kAmsGrad,
  kNormal,
  kDropout,
  kUniform,
  kSimpleCases
};

inline constexpr const char* kSimpleCaseNames[kSimpleCases] = {"exp",           "expm1",
                                                               "log",           "log1p",
                                                               "tanh",          "erf",
                                                               "sigmoid",       "pow",
                                                               "density",       "tail",
                                                               "sin",           "cos",
                                                               "sqrt",          "fma",
                                                               "divide",        "floor",
                                                               "trunc",         "roundEven",
                                                               "minNumber",     "maxNumber",
                                                               "pickLess",      "clamp",
                                                               "sign",          "copySign",
                                                               "productError",  "mulHigh",
                                                               "half",          "halfBits",
                                                               "unorm8",        "unorm16",
                                                               "Equal",         "NotEqual",
                                                               "Less",          "LessOrEqual",
                                                               "Greater",       "GreaterOrEqual",
                                                               "insideRange",   "arithmeticDivide",
                                                               "MaxPool",       "MaxPool.better",
                                                               "AveragePool",   "L2Pool.combine",
                                                               "L2Pool.bwd",    "softmaxMax",
                                                               "logSoftmax",    "softmaxBwd",
                                                               "logSoftmaxBwd", "Preprocess",
                                                               "SgdMomentum",   "SgdNesterov",
                                                               "RmsProp",       "Adam",
                                                               "AmsGrad",       "normal",
                                                               "dropout",       "uniform"};

inline constexpr maths::NeuronParams kNeuronCases[] = {
    {maths::NeuronType::None, 0.f, 0.f, 0.f},           {maths::NeuronType::ReLU, 0.f, 0.f, 0.f},
    {maths::NeuronType::ReLU, 0.125f, 0.f, 0.f},        {maths::NeuronType::Linear, 1.7f, -0.3f, 0.f},
    {maths::NeuronType::Sigmoid, 0.f, 0.f, 0.f},        {maths::NeuronType::HardSigmoid, 0.25f, 0.5f, 0.f},
    {maths::NeuronType::TanH, 1.5f, 0.7f, 0.f},         {maths::NeuronType::Absolute, 0.f, 0.f, 0.f},
    {maths::NeuronType::SoftPlus, 1.3f, 0.8f, 0.f},     {maths::NeuronType::SoftSign, 0.f, 0.f, 0.f},
    {maths::NeuronType::ELU, 1.1f, 0.f, 0.f},           {maths::NeuronType::PReLU, 0.f, 0.f, 0.f},
    {maths::NeuronType::ReLUN, 0.f, 6.f, 0.f},          {maths::NeuronType::ReLUN, 0.2f, 2.5f, 0.f},
    {maths::NeuronType::Power, 0.9f, 3.f, 1.7f},        {maths::NeuronType::Power, 1.f, 0.f, 3.f},
    {maths::NeuronType::Exponential, 0.6f, 0.1f, -1.f}, {maths::NeuronType::Exponential, 0.6f, 0.1f, 2.5f},
    {maths::NeuronType::Logarithm, 1.2f, 0.4f, -1.f},   {maths::NeuronType::Logarithm, 1.2f, 0.4f, 10.f},
    {maths::NeuronType::GeLU, 0.f, 0.f, 0.f},
};
inline constexpr int kNeuronCaseCount = static_cast<int>(sizeof(kNeuronCases) / sizeof(kNeuronCases[0]));
inline constexpr int kLossCaseCount = static_cast<int>(maths::LossType::Count);
inline constexpr int kLaneCases = kSimpleCases + 2 * kNeuronCaseCount + 3 * kLossCaseCount;

inline std::string laneCaseName(int id) {
  if (id < kSimpleCases) return kSimpleCaseNames[id];
  id -= kSimpleCases;
  if (id < 2 * kNeuronCaseCount) {
    const maths::NeuronParams& p = kNeuronCases[id / 2];
    return std::string(maths::neuronRow(p.type)->name) + "(" + std::to_string(p.a) + ", " + std::to_string(p.b) + ", " +
           std::to_string(p.c) + (id % 2 ? ") backward" : ") forward");
  }
  id -= 2 * kNeuronCaseCount;
  return "loss " + std::to_string(id / 3) + (id % 3 == 0 ? " value" : id % 3 == 1 ? " gradient" : " label gradient");
}

/// Inputs x, y: all special values against each other, then every exponent and both signs with mantissas from a
/// fixed sequence, then pairs of moderate size. The same on every machine.
struct LaneInputs {
  std::vector<float> x, y;
};
inline LaneInputs laneInputs() {
  LaneInputs in;
  const auto fromBits = [](std::uint32_t b) {
    float f;
    std::memcpy(&f, &b, sizeof f);
    return f;
  };
  const std::uint32_t specials[] = {
      0x00000000u, 0x80000000u, 0x00000001u, 0x80000001u, 0x007fffffu, 0x00800000u, 0x80800000u, 0x3f800000u,
      0xbf800000u, 0x3f000000u, 0xbf000000u, 0x40000000u, 0xc0000000u, 0x40400000u, 0xc0400000u, 0x3f7fffffu,
      0x3f800001u, 0xbf7fffffu, 0x42b17218u, 0xc2cff1b5u, 0x7f7fffffu, 0xff7fffffu, 0x7f800000u, 0xff800000u,
      0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x33800000u, 0x477fe000u, 0x477ff000u, 0x38800000u, 0x33000000u};
  for (const std::uint32_t a : specials)
    for (const std::uint32_t b : specials) {
      in.x.push_back(fromBits(a));
      in.y.push_back(fromBits(b));
    }
  std::uint32_t s = 0x2545F491u;
  const auto next = [&s] {
    s ^= s << 13;
    s ^= s >> 17;
    s ^= s << 5;
    return s;
  };
  for (std::uint32_t exponent = 0; exponent < 256; ++exponent)
    for (int i = 0; i < 64; ++i) {
      const std::uint32_t a = next(), b = next();
      in.x.push_back(fromBits((exponent << 23) | (a & 0x807fffffu)));
      in.y.push_back(fromBits(b));
    }
  // Multiples of 2^-20 in [-16, 16), exact in float; every other y in [0, 1).
  for (int i = 0; i < 48 * 1024; ++i) {
    const std::int32_t a = static_cast<std::int32_t>(next() >> 7) - (1 << 24),
                       b = static_cast<std::int32_t>(next() >> 7);
    in.x.push_back(static_cast<float>(a) / 1048576.f);
    in.y.push_back(i % 2 ? static_cast<float>(b - (1 << 24)) / 1048576.f : static_cast<float>(b) / 33554432.f);
  }
  return in;
}

/// One number for many results; all NaNs count as the same one, because hardware differs in what it puts into them.
inline std::uint64_t laneChecksum(const float* v, std::size_t n, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (std::size_t i = 0; i < n; ++i) {
    std::uint32_t b;
    std::memcpy(&b, v + i, sizeof b);
    if ((b & 0x7fffffffu) > 0x7f800000u) b = 0x7fc00000u;
    hash = (hash ^ b) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  return hash;
}

/// Checksum over all cases on laneInputs() of every set of lanes with FMA, GPU included. It changes only when a formula
/// or a coefficient does.
inline constexpr std::uint64_t kLaneChecksum = 0xe15630b8750906edu;

}  // namespace kovar::test

#endif

#if defined(KOVAR_TESTS_LANE_BITS_CASES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_TESTS_LANE_BITS_CASES_INL
#undef KOVAR_TESTS_LANE_BITS_CASES_INL
#else
#define KOVAR_TESTS_LANE_BITS_CASES_INL
#endif

KOVAR_LANES_BEGIN

template <class V>
struct EvaluateNeuron {
  V x, y;
  bool backward;
  template <class F>
  KOVAR_LANE V operator()(const F& f) const {
    return backward ? neuronBackward(f, x, y, V(0.3f)) : neuronForward(f, x, V(0.3f));
  }
};

template <class V>
struct EvaluateLoss {
  V y, t;
  int which;
  template <class F>
  KOVAR_LANE V operator()(const F& f) const {
    return which == 0 ? f.value(y, t) : which == 1 ? f.gradient(y, t) : f.labelGradient(y, t);
  }
};

template <class V>
KOVAR_LANE V evaluateLaneCase(int id, const maths::NeuronParams& neuron, V x, V y) {
  using namespace kovar::test;
  if (id >= kSimpleCases + 2 * kNeuronCaseCount) {
    const int loss = id - kSimpleCases - 2 * kNeuronCaseCount;
    LossParams p;
    p.type = static_cast<LossType>(loss / 3);
    p.labelSmoothing = 0.1f;
    p.numberOfClasses = 7;
    p.epsilon = 1e-5f;
    p.delta = 0.75f;
    return visitLoss(p, EvaluateLoss<V>{x, y, loss % 3});
  }
  if (id >= kSimpleCases) return visitNeuron(neuron, EvaluateNeuron<V>{x, y, (id - kSimpleCases) % 2 == 1});
  const Decay slow{0.999f, 0.001f}, fast{0.9f, 0.1f};
  V m = x * V(0.5f), u = abs(y), z = u * V(1.5f);
  switch (id) {
    case kExp:
      return exp(x);
    case kExpm1:
      return expm1(x);
    case kLog:
      return log(x);
    case kLog1p:
      return log1p(x);
    case kTanh:
      return tanh(x);
    case kErf:
      return erf(x);
    case kSigmoid:
      return sigmoid(x);
    case kPow:
      return pow(x, y);
    case kDensity:
      return normalTail(abs(x)).density;
    case kTail:
      return normalTail(abs(x)).tail;
    case kSin:
      return sinCosTurns(x - floor(x)).sin;
    case kCos:
      return sinCosTurns(x - floor(x)).cos;
    case kSqrt:
      return sqrt(x);
    case kFma:
      return fma(x, y, V(0.1f));
    case kDivide:
      return x / y;
    case kFloor:
      return floor(x);
    case kTrunc:
      return trunc(x);
    case kRoundEven:
      return roundEven(x);
    case kMinNumber:
      return minNumber(x, y);
    case kMaxNumber:
      return maxNumber(x, y);
    case kPickLess:
      return pickLess(x, y);
    case kClamp:
      return clamp(x, V(-1.5f), V(2.f));
    case kSign:
      return sign(x);
    case kCopySign:
      return copySign(x, y);
    case kProductError:
      return productError(clamp(x, V(-1e10f), V(1e10f)), V(1.7f), clamp(x, V(-1e10f), V(1e10f)) * V(1.7f));
    case kMulHigh:
      return signedToFloat(mulHigh(bitsOf(x), bitsOf(y)));
    case kHalf:
      return halfToFloat(bitsOf(x) & BitsOf<V>(0xffffu));
    case kHalfBits:
      return signedToFloat(floatToHalf(x));
    case kUnorm8:
      return unormToFloat<8>(floatToUnorm<8>(x));
    case kUnorm16:
      return unormToFloat<16>(floatToUnorm<16>(x));
    case kEqual:
      return Compare<ComparisonType::Equal>{0.5f}.fwd(x, y);
    case kNotEqual:
      return Compare<ComparisonType::NotEqual>{0.5f}.fwd(x, y);
    case kLess:
      return Compare<ComparisonType::Less>{0.5f}.fwd(x, y);
    case kLessOrEqual:
      return Compare<ComparisonType::LessOrEqual>{0.5f}.fwd(x, y);
    case kGreater:
      return Compare<ComparisonType::Greater>{0.5f}.fwd(x, y);
    case kGreaterOrEqual:
      return Compare<ComparisonType::GreaterOrEqual>{0.5f}.fwd(x, y);
    case kInsideRange:
      return insideRange(x, V(-1.f), y);
    case kArithmeticDivide:
      return arithmetic(Div{}, ArithmeticParams{1.1f, 0.7f, 0.2f}, x, y);
    case kMaxPool:
      return MaxPool::combine(x, y);
    case kMaxPoolBetter:
      return select(MaxPool::better(x, y), V(1.f), V(0.f));
    case kAverageFinish:
      return AveragePool::finish(x, V(7.f));
    case kL2Combine:
      return L2Pool::finish(L2Pool::combine(abs(x), y));
    case kL2Backward:
      return L2Pool::bwd(V(0.7f), x, y);
    case kSoftmaxMax:
      return softmaxMax(x, y);
    case kLogSoftmax:
      return logSoftmax(x, y, V(0.3f));
    case kSoftmaxBackward:
      return softmaxBwd(x, y, V(0.3f));
    case kLogSoftmaxBackward:
      return logSoftmaxBwd(x, y, V(0.3f));
    case kPreprocess:
      return Preprocess{{true, -3.f, 4.f, 0.3f, RegularizationType::L2, 0.01f}}.apply(x, y);
    case kSgdMomentum:
      return SgdMomentum{0.1f, 0.9f}.step(x, y, m) + m;
    case kSgdNesterov:
      return SgdNesterov{0.1f, 0.9f}.step(x, y, m) + m;
    case kRmsProp:
      return RmsProp{0.1f, fast, 1e-8f}.step(x, y, u) + u;
    case kAdam:
      return Adam{0.1f, fast, slow, 1e-8f}.step(x, y, m, u) + m + u;
    case kAmsGrad:
      return AmsGrad{{0.1f, fast, slow, 1e-8f}}.step(x, y, m, u, z) + m + u + z;
    case kNormal:
      return normalFromBits<V>(bitsOf(x), bitsOf(y)).first + normalFromBits<V>(bitsOf(x), bitsOf(y)).second;
    case kDropout:
      return dropout(x, y, 0.7f);
    case kUniform:
      return uniformFromBits<V>(bitsOf(x));
    default:
      return x;
  }
}

KOVAR_LANES_END

#endif  // per lane set
