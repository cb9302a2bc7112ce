#include "oracle/softmax.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

double logSumExp(const double* v, size_t count) {
  double m = v[0], sum = 0;
  for (size_t i = 1; i < count; ++i) m = std::max(m, v[i]);
  for (size_t i = 0; i < count; ++i) sum += std::exp(v[i] - m);
  return m + std::log(sum);
}

Result softmaxForward(const Softmax& op, const Attributes& at, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.offset.z, source.n);
  const size_t channels = usedChannels(source, at.sourceChannelOffset, at.sourceChannelMaxCount);
  std::vector<double> row(channels);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x) {
        for (size_t c = 0; c < channels; ++c)
          row[c] = readEdge(source, at.edge, static_cast<size_t>(at.offset.z + i), at.offset.y + y, at.offset.x + x,
                            at.sourceChannelOffset + c);
        const double m = *std::max_element(row.begin(), row.end());
        double sum = 0;
        for (double v : row) sum += std::exp(v - m);
        for (size_t c = 0; c < channels; ++c) {
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          const double gap = row[c] - m;
          out.value.v[k] = op.logarithm ? gap - std::log(sum) : std::exp(gap) / sum;
          // the difference is rounded before exp sees it; for the logarithm, sum >= 1 may be rounded near 1
          out.magnitude.v[k] =
              op.logarithm ? std::fabs(gap) + std::log(sum) + 1.0 : std::exp(gap) / sum * (1.0 + std::fabs(gap));
        }
      }
  return out;
}

Result softmaxGradient(const Softmax& op, const GradientAttributes& at, const Tensor& gradient,
                       const Tensor& forwardResult, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.primaryOffset.z, gradient.n);
  const size_t channels = std::min(usedChannels(gradient, at.primaryChannelOffset, at.channelMaxCount),
                                   usedChannels(forwardResult, at.secondaryChannelOffset, at.channelMaxCount));
  std::vector<double> g(channels), v(channels);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x) {
        double sum = 0, terms = 0;
        for (size_t c = 0; c < channels; ++c) {
          g[c] = readEdge(gradient, at.primaryEdge, static_cast<size_t>(at.primaryOffset.z + i), at.primaryOffset.y + y,
                          at.primaryOffset.x + x, at.primaryChannelOffset + c);
          v[c] = readEdge(forwardResult, at.secondaryEdge, static_cast<size_t>(at.secondaryOffset.z + i),
                          at.secondaryOffset.y + y, at.secondaryOffset.x + x, at.secondaryChannelOffset + c);
          const double term = op.logarithm ? g[c] : g[c] * v[c];
          sum += term;
          terms += std::fabs(term);
        }
        for (size_t c = 0; c < channels; ++c) {
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = op.logarithm ? g[c] - std::exp(v[c]) * sum : v[c] * (g[c] - sum);
          out.magnitude.v[k] = op.logarithm ? std::fabs(g[c]) + std::exp(v[c]) * terms * (1.0 + std::fabs(v[c]))
                                            : std::fabs(v[c]) * (std::fabs(g[c]) + terms);
        }
      }
  return out;
}

}  // namespace kovar::oracle
