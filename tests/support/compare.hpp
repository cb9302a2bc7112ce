#pragma once
// Compares what the library computed with what an oracle says, and refuses comparisons that prove nothing.

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "oracle/formats.hpp"
#include "oracle/tensor.hpp"

namespace kovar::test {

/// How to compare. The defaults fit random float32 data.
struct Compare {
  oracle::Tolerance tolerance;
  oracle::Format storage = oracle::Format::Float32;  ///< rounding of the store is allowed on top
  double maxZeroShare = 0.9;   ///< more expected zeros than this: the case tests nothing and fails
  bool allowEmpty = false;     ///< no elements at all is a failure unless set
  bool nanIsAnything = false;  ///< where NaN is expected, take any value (undefined results)
};

/// |actual - expected| <= relative * magnitude + absolute + rounding of the store, element by element. NaN must meet
/// NaN, infinities must agree in sign; expected values beyond the format's range count as infinite. Elements of
/// magnitude 0 must not move. `shape` turns indices into (image, y, x, channel) in messages.
inline testing::AssertionResult compare(std::span<const float> actual, const std::vector<double>& expected,
                                        const std::vector<double>& magnitude, const Compare& how,
                                        const oracle::Tensor* shape = nullptr) {
  if (actual.size() != expected.size() || expected.size() != magnitude.size())
    return testing::AssertionFailure() << "sizes differ: actual " << actual.size() << ", expected " << expected.size()
                                       << ", magnitude " << magnitude.size();
  if (expected.empty())
    return how.allowEmpty ? testing::AssertionSuccess()
                          : testing::AssertionFailure() << "nothing to compare (set allowEmpty if that is meant)";
  size_t zeros = 0, wrong = 0;
  double worst = 0;
  std::ostringstream list;
  list.precision(9);
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = static_cast<double>(actual[i]);
    double e = expected[i];
    if (how.storage == oracle::Format::Float16 || how.storage == oracle::Format::Float32) {
      // beyond the range a store gives infinity
      const double limit =
          how.storage == oracle::Format::Float16 ? 65520.0 : static_cast<double>(FLT_MAX) * (1 + 0x1p-25);
      if (std::fabs(e) >= limit) e = std::copysign(INFINITY, e);
    }
    zeros += e == 0;
    if (std::isnan(e) && how.nanIsAnything) continue;
    bool good;
    double allowed = 0;
    if (std::isnan(e) || std::isnan(a)) {
      good = std::isnan(e) && std::isnan(a);
    } else if (std::isinf(e) || std::isinf(a)) {
      good = a == e;
    } else {
      // what must stay as it was, and what an exact op gives, is not rounded by the store where the format holds it
      const bool exact = (magnitude[i] == 0 || how.tolerance.relative == 0) && oracle::stored(how.storage, e) == e;
      const double store = exact ? 0.0 : oracle::storeTolerance(how.storage, e);
      allowed = how.tolerance.relative * magnitude[i] + how.tolerance.absolute + store;
      // a unorm value is no float: read back it is the nearest one
      good = std::fabs(a - e) <= allowed || actual[i] == static_cast<float>(e);
      if (!good) worst = std::max(worst, std::fabs(a - e) / allowed);
    }
    if (good) continue;
    if (++wrong <= 5) {
      list << "\n  [" << i << "]";
      if (shape && shape->c && shape->size() == expected.size())
        list << " image " << i / (shape->c * shape->w * shape->h) << " y " << i / (shape->c * shape->w) % shape->h
             << " x " << i / shape->c % shape->w << " channel " << i % shape->c;
      list << ": actual " << a << ", expected " << e << ", allowed difference " << allowed;
    }
  }
  if (wrong)
    return testing::AssertionFailure() << wrong << " of " << expected.size() << " values are wrong (worst: " << worst
                                       << " times the allowed difference)" << list.str();
  const double share = static_cast<double>(zeros) / static_cast<double>(expected.size());
  if (expected.size() >= 16 && share > how.maxZeroShare)
    return testing::AssertionFailure() << "the case proves nothing: " << 100 * share
                                       << " % of the expected values are 0 (raise maxZeroShare if that is meant)";
  return testing::AssertionSuccess();
}

inline testing::AssertionResult compare(std::span<const float> actual, const oracle::Result& expected,
                                        const Compare& how) {
  return compare(actual, expected.value.v, expected.magnitude.v, how, &expected.value);
}

/// Two doubles that should agree but for rounding, for oracles compared with each other: |a-b| <= relative * magnitude.
inline testing::AssertionResult agree(const std::vector<double>& a, const std::vector<double>& b,
                                      const std::vector<double>& magnitude, double relative = 1e-12) {
  if (a.size() != b.size() || a.size() != magnitude.size() || a.empty())
    return testing::AssertionFailure() << "sizes differ or nothing to compare: " << a.size() << ", " << b.size() << ", "
                                       << magnitude.size();
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::fabs(a[i] - b[i]) <= relative * (magnitude[i] + 1e-30)) && !(std::isnan(a[i]) && std::isnan(b[i])))
      return testing::AssertionFailure() << "[" << i << "]: " << a[i] << " and " << b[i] << ", magnitude "
                                         << magnitude[i];
  return testing::AssertionSuccess();
}

}  // namespace kovar::test
