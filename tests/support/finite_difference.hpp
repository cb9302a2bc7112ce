#pragma once
// Numeric derivatives of functions of many variables.

#include <functional>
#include <vector>

namespace kovar::test {

/// Central differences of a scalar function by every variable: (f(x+h) - f(x-h)) / 2h.
inline std::vector<double> numericGradient(const std::function<double(const std::vector<double>&)>& f,
                                           std::vector<double> x, double step = 1e-5) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double up = f(x);
    x[i] = at - step;
    const double down = f(x);
    x[i] = at;
    gradient[i] = (up - down) / (2 * step);
  }
  return gradient;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace kovar::test
