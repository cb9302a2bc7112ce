#include "oracle/binary_conv.hpp"

#include <cmath>

namespace kovar::oracle {

Result binaryConvForward(const BinaryConv& op, const Tensor& source, const std::vector<int>& bits,
                         const Tensor& destination) {
  const Conv& c = op.conv;
  Result out = Result::over(destination);
  const Region r = effectiveRegion(c.at.clip, destination, c.at.offset.z, source.n);
  // The transformed source: what lies outside is 0 after the transform, with Clamp the nearest pixel's.
  Tensor u(source.n, source.h, source.w, c.inputChannels);
  for (size_t n = 0; n < source.n; ++n)
    for (size_t y = 0; y < source.h; ++y)
      for (size_t x = 0; x < source.w; ++x)
        for (size_t f = 0; f < c.inputChannels; ++f)
          u.at(n, y, x, f) =
              (source.at(n, y, x, c.at.sourceChannelOffset + f) + (op.inputBias.empty() ? 0.0 : op.inputBias[f])) *
              (op.inputScale.empty() ? 1.0 : op.inputScale[f]);
  const auto window = static_cast<double>(c.kernelWidth * c.kernelHeight);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x) {
        const auto read = [&](long q, long p, size_t f) {
          return readEdge(u, c.at.edge, static_cast<size_t>(c.at.offset.z + i),
                          c.at.offset.y + y * c.strideY - c.extentY() / 2 + q * c.dilationY,
                          c.at.offset.x + x * c.strideX - c.extentX() / 2 + p * c.dilationX, f);
        };
        double beta = 1.0;
        if (op.beta) {
          beta = 0.0;
          for (long q = 0; q < c.kernelHeight; ++q)
            for (long p = 0; p < c.kernelWidth; ++p)
              for (size_t f = 0; f < c.inputChannels; ++f)
                beta += std::fabs(read(q, p, f)) / (static_cast<double>(c.inputChannels) * window);
        }
        for (size_t o = 0; o < c.outputChannels; ++o) {
          double sum = 0.0, terms = 0.0;
          for (long q = 0; q < c.kernelHeight; ++q)
            for (long p = 0; p < c.kernelWidth; ++p)
              for (size_t f = 0; f < c.inputChannels; ++f) {
                const double v = read(q, p, f);
                const int b = bits[c.weightIndex(o, q, p, f)], h = v < 0.0 ? 0 : 1;
                double term = 0.0;
                if (op.type == BinaryType::BinaryWeights) term = b ? v : -v;
                if (op.type == BinaryType::Xnor) term = h == b ? 1.0 : -1.0;
                if (op.type == BinaryType::And) term = h & b;
                sum += term;
                terms += std::fabs(term);
              }
          const double scale = (op.outputScale.empty() ? 1.0 : op.outputScale[o]) * beta;
          const double bias = op.outputBias.empty() ? 0.0 : op.outputBias[o];
          const double before = sum * scale + bias, size = terms * std::fabs(scale) + std::fabs(bias);
          const size_t at = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                              static_cast<size_t>(r.x + x), c.at.destinationChannelOffset + o);
          out.value.v[at] = c.neuron.value(before, o);
          out.magnitude.v[at] = fusedMagnitude(c.neuron, before, size, o);
        }
      }
  return out;
}

}  // namespace kovar::oracle
