// Elementary functions against the C library in double: every exponent, dense ranges, the places where the algorithms
// change course, and all special values. The bounds are those of docs/numerics.md.
#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

#include "cuda/lane_bits_cases.hpp"
#include "lane_targets.hpp"
#include "support/random.hpp"

namespace kovar::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Distance of two floats next to `exact`.
double ulp(double exact) {
  const double a = std::fabs(exact);
  if (a < FLT_MIN) return 0x1p-149;
  int exponent;
  std::frexp(a, &exponent);
  return std::ldexp(1.0, exponent - 24);
}

struct Function {
  const char* name;
  LaneCase id;
  double (*exact)(double);
  double fused, unfused;  ///< bounds in ulp
  float low, high;        ///< domain; outside it nothing is asked for
};

double sigmoidExact(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double densityExact(double x) { return std::exp(-0.5 * x * x); }
double tailExact(double x) {
  // Phi(-a) / density; the tail series keeps it exact where erfc would underflow.
  const double a = std::fabs(x);
  return 0.5 * std::erfc(a * std::sqrt(0.5)) * std::exp(0.5 * a * a);
}
double sinExact(double x) { return std::sin(2 * std::acos(-1.0) * (x - std::floor(x))); }
double cosExact(double x) { return std::cos(2 * std::acos(-1.0) * (x - std::floor(x))); }

const Function kFunctions[] = {
    {"exp", kExp, [](double x) { return std::exp(x); }, 1.0, 1.1, -kInf, kInf},
    {"expm1", kExpm1, [](double x) { return std::expm1(x); }, 1.5, 2.0, -kInf, kInf},
    {"log", kLog, [](double x) { return std::log(x); }, 1.0, 1.5, -kInf, kInf},
    {"log1p", kLog1p, [](double x) { return std::log1p(x); }, 1.5, 2.0, -kInf, kInf},
    {"tanh", kTanh, [](double x) { return std::tanh(x); }, 2.5, 3.0, -kInf, kInf},
    {"erf", kErf, [](double x) { return std::erf(x); }, 1.1, 1.5, -kInf, kInf},
    {"sigmoid", kSigmoid, sigmoidExact, 2.3, 2.5, -kInf, kInf},
    {"density", kDensity, densityExact, 1.2, 1.3, -14.4f, 14.4f},
    {"tail", kTail, tailExact, 8.0, 10.0, -14.4f, 14.4f},
    {"sqrt", kSqrt, [](double x) { return std::sqrt(x); }, 0.5, 0.5, -kInf, kInf},
    {"floor", kFloor, [](double x) { return std::floor(x); }, 0, 0, -kInf, kInf},
    {"trunc", kTrunc, [](double x) { return std::trunc(x); }, 0, 0, -kInf, kInf},
    {"roundEven", kRoundEven, [](double x) { return std::nearbyint(x); }, 0, 0, -kInf, kInf},
};

/// All of laneInputs().x, and neighbourhoods of multiples of log(2)/2, powers of two and thirds of them.
std::vector<float> arguments() {
  std::vector<float> x = laneInputs().x;
  const auto around = [&x](double centre) {
    const auto b = std::bit_cast<std::uint32_t>(static_cast<float>(centre));
    for (std::uint32_t d = 0; d < 9; ++d) x.push_back(std::bit_cast<float>(b - 4 + d));
  };
  for (int k = -300; k <= 300; ++k) around(k * std::log(2.0) / 2 + 1e-30);
  for (int e = -140; e < 127; ++e)
    for (const double m : {1.0, 4.0 / 3, std::sqrt(2.0), 1.5})
      for (const double s : {1.0, -1.0}) around(s * std::ldexp(m, e));
  for (const double v : {1.0, 4.0, 10.0, 9.01, 15.0, 0.75, 0.25, -30.0, 88.72, -103.97, -87.33}) around(v);
  return x;
}

TEST(LaneFunctions, StayWithinTheirBounds) {
  const std::vector<float> x = arguments();
  std::vector<float> out(x.size());
  for (const LaneSet& set : laneSets())
    for (const Function& f : kFunctions) {
      set.run(f.id, x.data(), x.data(), out.data(), x.size());
      double worst = 0;
      float at = 0;
      std::size_t compared = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (x[i] < f.low || x[i] > f.high) continue;
        const double exact = f.exact(static_cast<double>(x[i]));
        if (std::isnan(exact) || std::isnan(out[i])) {
          ASSERT_EQ(std::isnan(exact), std::isnan(out[i]))
              << set.name << " " << f.name << "(" << x[i] << ") = " << out[i];
          continue;
        }
        const auto rounded = static_cast<float>(exact);
        if (std::isinf(rounded) || std::isinf(out[i])) {
          // Within the bound of the overflow either side will do.
          const bool near =
              std::isinf(rounded) && std::fabs(exact) < FLT_MAX * (1 + 2e-7) && std::fabs(out[i]) > 3.4028e38f;
          ASSERT_TRUE(rounded == out[i] || near) << set.name << " " << f.name << "(" << x[i] << ") = " << out[i];
          continue;
        }
        ++compared;
        const double error = std::fabs(static_cast<double>(out[i]) - exact) / ulp(exact);
        if (error > worst) {
          worst = error;
          at = x[i];
        }
      }
      EXPECT_GT(compared, x.size() / 4) << f.name;
      const double bound = set.fused ? f.fused : f.unfused;
      EXPECT_LE(worst, bound) << set.name << " " << f.name << " at " << at;
      RecordProperty(set.name + "." + f.name, std::to_string(worst));
      if (std::getenv("KOVAR_PRINT_ULP")) std::cout << set.name << " " << f.name << " " << worst << "\n";
    }
}

// Absolute, in units of the last place of 1: near their zeros sine and cosine are small differences.
TEST(LaneFunctions, SineAndCosineOfTurns) {
  const std::vector<float> x = arguments();
  std::vector<float> s(x.size()), c(x.size());
  for (const LaneSet& set : laneSets()) {
    set.run(kSin, x.data(), x.data(), s.data(), x.size());
    set.run(kCos, x.data(), x.data(), c.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!std::isfinite(x[i])) continue;
      // The argument that the function saw.
      const auto turns = static_cast<double>(x[i] - std::floor(x[i]));
      ASSERT_NEAR(s[i], sinExact(turns), 1.2 * 0x1p-23) << set.name << " at " << x[i];
      ASSERT_NEAR(c[i], cosExact(turns), 1.2 * 0x1p-23) << set.name << " at " << x[i];
    }
  }
}

TEST(LaneFunctions, SignsOfZeroAndTinyArgumentsPassThrough) {
  const float tiny[] = {0.f, -0.f, 0x1p-149f, -0x1p-149f, 0x1.8p-130f, -0x1.8p-130f};
  for (const LaneSet& set : laneSets())
    for (const LaneCase id : {kExpm1, kLog1p, kTanh}) {
      float out[6];
      set.run(id, tiny, tiny, out, 6);
      for (int i = 0; i < 6; ++i)
        EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(tiny[i]))
            << set.name << " " << laneCaseName(id) << " of " << tiny[i];
    }
}

/// Powers: bases and exponents of all sizes whose result is a float, then C's table of special cases.
TEST(LaneFunctions, PowerStaysWithinItsBound) {
  forCases(4, [](Case& c) {
    std::vector<float> x, y;
    for (int i = 0; i < 40000; ++i) {
      const double base = std::exp2(c.random.real(-140, 127));
      const double exponent = c.random.real(-1, 1) * 100 / std::max(0.1, std::fabs(std::log(base)));
      x.push_back(static_cast<float>(base));
      y.push_back(static_cast<float>(exponent));
      x.push_back(static_cast<float>(c.random.real(0.5, 2)));
      y.push_back(static_cast<float>(c.random.real(-120, 120)));
      x.push_back(static_cast<float>(c.random.real(-20, 20)));
      y.push_back(static_cast<float>(c.random.integer(-12, 12)));
    }
    std::vector<float> out(x.size());
    for (const LaneSet& set : laneSets()) {
      set.run(kPow, x.data(), y.data(), out.data(), x.size());
      double worst = 0;
      std::size_t at = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double exact = std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]));
        if (std::fabs(exact) > 3.4e38) continue;
        const double error = std::fabs(static_cast<double>(out[i]) - exact) / ulp(exact);
        if (!(error <= worst)) {
          worst = error;
          at = i;
        }
      }
      EXPECT_LE(worst, set.fused ? 4.0 : 4.5) << set.name << " pow(" << x[at] << ", " << y[at] << ") = " << out[at];
      if (std::getenv("KOVAR_PRINT_ULP")) std::cout << set.name << " pow " << worst << "\n";
    }
  });
}

TEST(LaneFunctions, PowerFollowsTheTableOfSpecialCases) {
  const float values[] = {0.f,  -0.f,  1.f,   -1.f,   2.f,        -2.f,        3.f,  -3.f,      0.5f,  -0.5f,    1.5f,
                          kInf, -kInf, 1e38f, 1e-38f, 16777217.f, -16777216.f, kNaN, 8388609.f, -2.5f, 0x1p-149f};
  std::vector<float> x, y;
  for (const float a : values)
    for (const float b : values) {
      x.push_back(a);
      y.push_back(b);
    }
  std::vector<float> out(x.size());
  for (const LaneSet& set : laneSets()) {
    set.run(kPow, x.data(), y.data(), out.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto exact = static_cast<float>(std::pow(static_cast<double>(x[i]), static_cast<double>(y[i])));
      if (std::isnan(exact)) {
        EXPECT_TRUE(std::isnan(out[i])) << set.name << " pow(" << x[i] << ", " << y[i] << ") = " << out[i];
      } else if (exact == 0 || std::isinf(exact) || exact == 1) {
        EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(exact))
            << set.name << " pow(" << x[i] << ", " << y[i] << ") = " << out[i] << ", not " << exact;
      } else {
        EXPECT_NEAR(out[i], exact, 4.5 * ulp(exact)) << set.name << " pow(" << x[i] << ", " << y[i] << ")";
      }
    }
  }
}

float one(LaneCase id, float x, float y) {
  float out = 0;
  laneSets().front().run(id, &x, &y, &out, 1);
  return out;
}

TEST(LaneFunctions, ChoicesAndNaN) {
  EXPECT_EQ(one(kMaxNumber, kNaN, 2.f), 2.f);
  EXPECT_EQ(one(kMaxNumber, 2.f, kNaN), 2.f);
  EXPECT_TRUE(std::isnan(one(kMaxNumber, kNaN, kNaN)));
  EXPECT_EQ(one(kMaxNumber, -kInf, kNaN), -kInf);
  EXPECT_EQ(one(kMinNumber, kNaN, 2.f), 2.f);
  EXPECT_EQ(one(kMinNumber, 3.f, 2.f), 2.f);
  EXPECT_EQ(one(kMinNumber, 2.f, kNaN), 2.f);
  EXPECT_TRUE(std::isnan(one(kPickLess, 1.f, kNaN)));
  EXPECT_EQ(one(kPickLess, kNaN, 1.f), 1.f);
  EXPECT_TRUE(std::signbit(one(kPickLess, 0.f, -0.f)));
  EXPECT_FALSE(std::signbit(one(kPickLess, -0.f, 0.f)));
  EXPECT_TRUE(std::isnan(one(kClamp, kNaN, 0.f)));
  EXPECT_EQ(one(kClamp, kInf, 0.f), 2.f);
  EXPECT_EQ(one(kClamp, -kInf, 0.f), -1.5f);
  EXPECT_EQ(one(kSign, -3.f, 0.f), -1.f);
  EXPECT_EQ(one(kSign, kInf, 0.f), 1.f);
  EXPECT_EQ(one(kSign, -0.f, 0.f), 0.f);
  EXPECT_TRUE(std::isnan(one(kSign, kNaN, 0.f)));
  EXPECT_EQ(one(kCopySign, 3.f, -0.f), -3.f);
}

// The exact error of a product, on targets with and without FMA.
TEST(LaneFunctions, ProductErrorIsExact) {
  const LaneInputs in = laneInputs();
  std::vector<float> out(in.x.size());
  for (const LaneSet& set : laneSets()) {
    set.run(kProductError, in.x.data(), in.y.data(), out.data(), out.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!(std::fabs(in.x[i]) > 1e-25f) || std::fabs(in.x[i]) > 1e10f) continue;
      const double exact = static_cast<double>(in.x[i]) * static_cast<double>(1.7f);
      ASSERT_EQ(out[i], static_cast<float>(exact - static_cast<double>(in.x[i] * 1.7f))) << set.name << " " << in.x[i];
    }
  }
}

TEST(LaneFunctions, UpperHalvesOfProducts) {
  const LaneInputs in = laneInputs();
  std::vector<float> out(in.x.size());
  for (const LaneSet& set : laneSets()) {
    set.run(kMulHigh, in.x.data(), in.y.data(), out.data(), out.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t product =
          std::uint64_t{std::bit_cast<std::uint32_t>(in.x[i])} * std::bit_cast<std::uint32_t>(in.y[i]);
      ASSERT_EQ(out[i], static_cast<float>(static_cast<std::int32_t>(product >> 32))) << set.name << " [" << i << "]";
    }
  }
}

}  // namespace
}  // namespace kovar::test
