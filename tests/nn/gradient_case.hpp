#pragma once
// Random cases of gradient kernels without a window, and the check that a gradient taken from the forward kernel's
// state is the derivative of the forward kernel, whatever its offset, clip rectangle, edge mode and channels.

#include <functional>
#include <string>

#include "nn_case.hpp"
#include "support/finite_difference.hpp"

namespace kovar::test {

struct PointGradientCase {
  oracle::GradientAttributes at;
  Tensor gradient, secondary, destination;
  Format gradientFormat = Format::Float32, secondaryFormat = Format::Float32, destinationFormat = Format::Float32;
  Arrangement arrangement = Arrangement::Array;

  std::string text() const {
    return std::string(nameOf(arrangement)) + " g" + gradient.shape() + " s" + secondary.shape() + " -> " +
           destination.shape() + " po" + std::to_string(at.primaryOffset.x) + "," + std::to_string(at.primaryOffset.y) +
           " so" + std::to_string(at.secondaryOffset.x) + "," + std::to_string(at.secondaryOffset.y) + " clip" +
           std::to_string(at.clip.x) + "," + std::to_string(at.clip.y) + " edges " +
           std::to_string(static_cast<int>(at.primaryEdge)) + std::to_string(static_cast<int>(at.secondaryEdge)) +
           " channels " + std::to_string(at.primaryChannelOffset) + "," + std::to_string(at.secondaryChannelOffset) +
           "," + std::to_string(at.destinationChannelOffset);
  }
};

inline PointGradientCase randomPointGradientCase(Random& r, const oracle::Domain& secondary) {
  PointGradientCase c;
  c.arrangement = randomArrangement(r);
  std::size_t images = r.size(1, 3), before = 0;
  const std::size_t n = images;
  if (c.arrangement == Arrangement::Array && r.chance(0.3)) {
    before = r.size(0, 2);
    c.at.primaryOffset.z = c.at.secondaryOffset.z = static_cast<long>(before);
    images += before;
  }
  const std::size_t h = r.size(1, 7), w = r.size(1, 7), used = r.size(1, 9);
  if (r.chance(0.4)) {
    c.at.primaryChannelOffset = r.pick<std::size_t>({0, 4, 8});
    c.at.secondaryChannelOffset = r.pick<std::size_t>({0, 4});
    c.at.destinationChannelOffset = r.pick<std::size_t>({0, 4, 8});
  }
  std::size_t extra = 0;
  if (r.chance(0.3)) {
    c.at.channelMaxCount = used;
    extra = r.size(0, 4);
  }
  std::size_t dh = h, dw = w;
  if (r.chance(0.4)) {
    for (oracle::Offset* o : {&c.at.primaryOffset, &c.at.secondaryOffset}) {
      o->x = r.integer(-2, 2);
      o->y = r.integer(-2, 2);
    }
    dh = r.size(1, h + 2);
    dw = r.size(1, w + 2);
  }
  if (r.chance(0.4)) randomClip(r, c.at.clip, dw, dh);
  if (r.chance(0.3)) c.at.primaryEdge = oracle::EdgeMode::Clamp;
  if (r.chance(0.3)) c.at.secondaryEdge = oracle::EdgeMode::Clamp;
  const auto format = [&] { return r.pick({Format::Float32, Format::Float32, Format::Float16}); };
  c.gradientFormat = format();
  c.secondaryFormat = randomFormat(r, secondary);
  c.destinationFormat = format();
  c.gradient =
      randomTensor(r, images, h, w, c.at.primaryChannelOffset + used + extra, {-2, 2, false}, c.gradientFormat);
  c.secondary = randomTensor(r, images, h, w, c.at.secondaryChannelOffset + used + extra, secondary, c.secondaryFormat);
  c.destination = randomTensor(r, n, dh, dw, aroundChannels(c.at.destinationChannelOffset, used, r), {-1, 1, false},
                               c.destinationFormat);
  return c;
}

/// Runs the kernel as the case says and compares with `expected`.
inline void expectGradient(const PointGradientCase& c, MPS::CNNGradientKernel& kernel, const MPS::StateBatch& states,
                           const oracle::Result& expected, oracle::Tolerance tolerance) {
  test::apply(c.at, kernel);
  const MPS::ImageBatch destination = imagesOf(c.destination, c.destinationFormat, c.arrangement);
  runOnCpu([&](const auto& buffer) {
    encodeAs(c.arrangement, kernel, buffer, imagesOf(c.gradient, c.gradientFormat, c.arrangement),
             imagesOf(c.secondary, c.secondaryFormat, c.arrangement), states, destination);
  });
  EXPECT_TRUE(matches(tensorOf(destination), expected, c.destinationFormat, tolerance));
}

/// A forward kernel with random attributes, encoded with states, and its gradient taken from them.
struct AutomaticCase {
  oracle::Attributes at;
  Tensor source, destination, gradient;  ///< gradient: as large as the destination
  Arrangement arrangement = Arrangement::Array;

  std::string text() const {
    return std::string(nameOf(arrangement)) + " " + source.shape() + " -> " + destination.shape() + " o" +
           std::to_string(at.offset.x) + "," + std::to_string(at.offset.y) + " clip" + std::to_string(at.clip.x) + "," +
           std::to_string(at.clip.y) + "+" + std::to_string(at.clip.width) + "x" + std::to_string(at.clip.height) +
           " edge" + std::to_string(static_cast<int>(at.edge)) + " channels " + std::to_string(at.sourceChannelOffset) +
           "," + std::to_string(at.destinationChannelOffset);
  }
};

inline AutomaticCase randomAutomaticCase(Random& r, const oracle::Domain& domain) {
  AutomaticCase c;
  c.arrangement = randomArrangement(r);
  const std::size_t n = r.size(1, 2), h = r.size(1, 4), w = r.size(1, 4), used = r.size(1, 3);
  c.at.sourceChannelOffset = r.pick<std::size_t>({0, 0, 4});
  c.at.destinationChannelOffset = r.pick<std::size_t>({0, 0, 4});
  if (r.chance(0.3)) c.at.sourceChannelMaxCount = used;
  std::size_t dh = h, dw = w;
  if (r.chance(0.5)) {
    c.at.offset.x = r.integer(-2, 2);
    c.at.offset.y = r.integer(-2, 2);
    dh = r.size(1, h + 2);
    dw = r.size(1, w + 2);
  }
  if (r.chance(0.5)) randomClip(r, c.at.clip, dw, dh);
  if (r.chance(0.4)) c.at.edge = oracle::EdgeMode::Clamp;
  c.source =
      randomTensor(r, n, h, w, c.at.sourceChannelOffset + used + (c.at.sourceChannelMaxCount == used ? 2 : 0), domain);
  c.destination = Tensor(n, dh, dw, c.at.destinationChannelOffset + used);
  c.gradient = randomTensor(r, n, dh, dw, c.destination.c, {-2, 2, false});
  return c;
}

/// What the automatic gradient should be: derivative of sum(gradient * forward(source)) by the channels of the source
/// that the kernel read, in the shape of the source. `forward` gives the oracle's result over a destination of zeros.
inline Tensor numericSourceGradient(const AutomaticCase& c, const std::function<Tensor(const Tensor&)>& forward) {
  const std::size_t used = oracle::usedChannels(c.source, c.at.sourceChannelOffset, c.at.sourceChannelMaxCount);
  Tensor x = oracle::slice(c.source, 0, 0, c.source.h, c.source.w, c.at.sourceChannelOffset, used);
  const std::vector<double> numeric = numericGradient(
      [&](const std::vector<double>& v) {
        Tensor s = c.source;
        for (std::size_t i = 0; i < v.size(); ++i) s.v[i / used * s.c + c.at.sourceChannelOffset + i % used] = v[i];
        return dot(forward(s).v, c.gradient.v);
      },
      x.v);
  x.v = numeric;
  return x;
}

/// Encodes forward with states, then the gradient from them (automatic form), and compares with the numeric derivative.
/// `secondaryIsResult`: the gradient kernel wants the forward result. Temporaries and read counts are checked on the
/// way.
inline void expectAutomaticGradient(const AutomaticCase& c, MPS::CNNKernel& forward, MPS::CNNGradientKernel& backward,
                                    const Tensor& expected, bool secondaryIsResult, bool temporaryStates,
                                    double tolerance = 2e-5) {
  test::apply(c.at, forward);
  backward.setDestinationImageAllocator(float32Images());
  const MPS::ImageBatch source = imagesOf(c.source, Format::Float32, c.arrangement);
  const MPS::ImageBatch destination = imagesOf(c.destination, Format::Float32, c.arrangement);
  MPS::ImageBatch result, gradients;
  MPS::StateBatch states;
  runOnCpu([&](const auto& buffer) {
    states = temporaryStates ? forward.temporaryResultStateBatch(buffer, source, {}, destination)
                             : forward.resultStateBatch(source, {}, destination);
    ASSERT_EQ(states.size(), source.size());
    encodeAs(c.arrangement, forward, buffer, source, destination, states);
    gradients = temporariesOf(buffer, imagesOf(c.gradient, Format::Float32, c.arrangement));
    const MPS::ImageBatch& secondary = secondaryIsResult ? destination : source;
    if (c.arrangement == Arrangement::Array)
      result = {backward.encode(buffer, gradients[0], secondary[0], states[0])};
    else
      result = backward.encodeBatch(buffer, gradients, secondary, states);
  });
  EXPECT_EQ(readCounts(gradients), std::vector<std::size_t>(gradients.size(), 0)) << "each gradient was read once";
  for (const auto& s : states) EXPECT_EQ(s->readCount(), 0u);
  const Tensor actual = tensorOf(result);
  ASSERT_TRUE(actual.sameShape(expected)) << actual.shape() << ", wanted " << expected.shape();
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual.v[i], expected.v[i], tolerance * (1 + std::fabs(expected.v[i])))
        << "image " << i / (expected.h * expected.w * expected.c) << " y " << i / (expected.w * expected.c) % expected.h
        << " x " << i / expected.c % expected.w << " channel " << i % expected.c;
}

}  // namespace kovar::test
