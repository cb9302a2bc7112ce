// NNReshape, NNPad, NNSlice and their gradients against the oracle, NumPy and PyTorch: shapes, edge modes along all
// three axes, offsets, clip rectangles, channels, formats, arrangements.

#include "kovar/MPS/NN/NNReshape.hpp"

#include <cmath>
#include <cstring>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/NNSlice.hpp"
#include "oracle/reshape.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

Format anyFormat(Random& r) {
  return r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8, Format::Unorm16});
}
oracle::Domain domainOf(Format f) {
  return f == Format::Unorm8 || f == Format::Unorm16 ? oracle::Domain{0, 1, false} : oracle::Domain{-4, 4, false};
}

/// Two ways to write a number as height x width x channels.
struct Shapes {
  std::size_t h, w, c, rh, rw, rc;
};
Shapes randomShapes(Random& r) {
  const std::size_t a = r.size(1, 4), b = r.size(1, 5), c = r.size(1, 3), d = r.size(1, 4);
  switch (r.integer(0, 3)) {
    case 0:
      return {a, b, c * d, 1, 1, a * b * c * d};
    case 1:
      return {a * b, c, d, d, a, b * c};
    case 2:
      return {1, 1, a * b * c * d, a, b * c, d};
    default:
      return {a, b * c, d, b, a, c * d};
  }
}

TEST(Reshape, MatchesTheOracle) {
  forCases(300, [](Case& k) {
    Random& r = k.random;
    const Shapes s = randomShapes(r);
    const Arrangement arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 3), before = r.chance(0.2) ? 4 : 0, ahead = r.chance(0.2) ? 4 : 0;
    const Format from = anyFormat(r), to = anyFormat(r);
    k.text = std::to_string(s.h) + "x" + std::to_string(s.w) + "x" + std::to_string(s.c) + " -> " +
             std::to_string(s.rh) + "x" + std::to_string(s.rw) + "x" + std::to_string(s.rc) + " " +
             nameOf(arrangement) + " channels " + std::to_string(before) + "," + std::to_string(ahead);
    const Tensor source = randomTensor(r, n, s.h, s.w, before + s.c, domainOf(from), from);
    const Tensor over = randomTensor(r, n, s.rh, s.rw, ahead + s.rc, {0, 1, false}, to);
    MPS::NNReshape kernel(cpuDevice());
    kernel.setSourceFeatureChannelOffset(before);
    kernel.setDestinationFeatureChannelOffset(ahead);
    const auto destination = imagesOf(over, to, arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(arrangement, kernel, buffer, imagesOf(source, from, arrangement), destination);
    });
    const Tensor wanted = oracle::reshape(oracle::slice(source, 0, 0, s.h, s.w, before, s.c), s.rh, s.rw, s.rc);
    oracle::Result expected = oracle::Result::over(over);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::size_t at = i / s.rc * over.c + ahead + i % s.rc;
      expected.value.v[at] = wanted.v[i];
      expected.magnitude.v[at] = 1e-30 + std::fabs(wanted.v[i]);
    }
    EXPECT_TRUE(matches(tensorOf(destination), expected, to, {1e-7, 1e-37}));
  });
}

TEST(Reshape, GradientGoesBackToTheSourceShape) {
  forCases(100, [](Case& k) {
    Random& r = k.random;
    const Shapes s = randomShapes(r);
    const std::size_t n = r.size(1, 3);
    const bool array = r.chance(0.5), temporary = r.chance(0.5);
    k.text =
        std::to_string(s.h) + "x" + std::to_string(s.w) + "x" + std::to_string(s.c) + (array ? " array" : " batch");
    const Arrangement arrangement = array ? Arrangement::Array : Arrangement::Separate;
    const Tensor source(n, s.h, s.w, s.c), g = randomTensor(r, n, s.rh, s.rw, s.rc, {-2, 2, false});
    MPS::NNReshape forward(cpuDevice());
    MPS::NNReshapeGradient backward(cpuDevice());
    forward.setDestinationImageAllocator(float32Images());
    backward.setDestinationImageAllocator(float32Images());
    const auto x = imagesOf(source, Format::Float32, arrangement), dy = imagesOf(g, Format::Float32, arrangement);
    MPS::ImageBatch y, dx;
    runOnCpu([&](const auto& buffer) {
      if (array) {
        Ref<MPS::State> state;
        y = {forward.encode(buffer, x[0], &state, temporary, s.rw, s.rh, s.rc)};
        dx = {backward.encode(buffer, dy[0], x[0], state)};
      } else {
        MPS::StateBatch states;
        y = forward.encodeBatch(buffer, x, &states, temporary, s.rw, s.rh, s.rc);
        dx = backward.encodeBatch(buffer, dy, x, states);
      }
    });
    EXPECT_TRUE(tensorOf(y).sameShape(g));
    const Tensor wanted = oracle::reshape(g, s.h, s.w, s.c), got = tensorOf(dx);
    ASSERT_TRUE(got.sameShape(wanted));
    EXPECT_EQ(got.v, wanted.v);
  });
}

TEST(Reshape, ErrorsTellWhatIsWrong) {
  MPS::NNReshape k(cpuDevice());
  const auto x = imageOf(Tensor(1, 2, 3, 4));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { k.encode(buffer, x, 5, 1, 5); },
              {"NNReshape.encode: 3 x 2 x 4 values cannot become 5 x 1 x 5", "numbers of elements must be equal"});
  expectError([&] { k.encode(buffer, x, 0, 1, 5); }, {"a shape of 0 x 1 x 5; each must be at least 1"});
  k.setOffset({1, 0, 0});
  expectError([&] { k.encode(buffer, x, imageOf(Tensor(1, 1, 1, 24))); }, {"leave offset and clipRect"});
}

// --- padding ---

MPS::ImageCoordinate coordinate(const oracle::Padding& p) {
  return {static_cast<std::size_t>(p.x), static_cast<std::size_t>(p.y), static_cast<std::size_t>(p.c)};
}

oracle::Pad randomPad(Random& r) {
  oracle::Pad op;
  op.at.edge = r.pick({oracle::EdgeMode::Zero, oracle::EdgeMode::Clamp, oracle::EdgeMode::Mirror,
                       oracle::EdgeMode::MirrorWithEdge, oracle::EdgeMode::Constant});
  const auto side = [&] { return r.chance(0.5) ? r.integer(0, 6) : 0; };
  op.before = {side(), side(), side()}, op.after = {side(), side(), side()};
  op.fill = r.pick({0.0, 0.25, 1.0});
  return op;
}

Ref<MPS::NNPad> kernelOf(const oracle::Pad& op) {
  Ref<MPS::NNPad> k;
  if (op.fills.empty()) {
    k = std::make_shared<MPS::NNPad>(cpuDevice(), coordinate(op.before), coordinate(op.after));
  } else {
    const std::vector<float> values = toFloat(op.fills);
    k = std::make_shared<MPS::NNPad>(cpuDevice(), coordinate(op.before), coordinate(op.after),
                                     std::as_bytes(std::span(values)));
  }
  k->setFillValue(static_cast<float>(op.fill));
  k->setEdgeMode(static_cast<MPS::ImageEdgeMode>(op.at.edge));
  k->setSourceFeatureChannelOffset(op.at.sourceChannelOffset);
  k->setSourceFeatureChannelMaxCount(op.at.sourceChannelMaxCount);
  k->setDestinationFeatureChannelOffset(op.at.destinationChannelOffset);
  k->setClipRect(publicClip(op.at.clip));
  k->setOffset(publicOffset(op.at.offset));
  return k;
}

std::string textOf(const oracle::Pad& op) {
  const auto side = [](const oracle::Padding& p) {
    return std::to_string(p.x) + "," + std::to_string(p.y) + "," + std::to_string(p.c);
  };
  return "edge" + std::to_string(static_cast<int>(op.at.edge)) + " " + side(op.before) + "|" + side(op.after) +
         (op.fills.empty() ? "" : " fills");
}

TEST(Pad, IntoAGivenImageMatchesTheOracle) {
  forCases(400, [](Case& k) {
    Random& r = k.random;
    oracle::Pad op = randomPad(r);
    const Arrangement arrangement = randomArrangement(r);
    const ImageRange n = randomImageRange(r, arrangement, op.at.offset.z, op.at.clip);
    const std::size_t h = r.size(1, 5), w = r.size(1, 5), used = r.size(1, 6);
    op.at.offset.x = r.integer(-6, 3), op.at.offset.y = r.integer(-6, 3);
    if (r.chance(0.3)) op.at.sourceChannelOffset = r.size(0, 5);  // any number
    std::size_t have = op.at.sourceChannelOffset + used;
    if (r.chance(0.3)) op.at.sourceChannelMaxCount = used, have += r.size(0, 3);
    if (r.chance(0.3)) op.at.destinationChannelOffset = r.pick<std::size_t>({0, 4, 8});
    const std::size_t dh = r.size(1, 9), dw = r.size(1, 9);
    if (r.chance(0.4)) randomClip(r, op.at.clip, dw, dh);
    const std::size_t written = static_cast<std::size_t>(op.before.c + op.after.c) + used;
    if (op.at.edge == oracle::EdgeMode::Constant && r.chance(0.5))
      for (std::size_t i = 0; i < written; ++i) op.fills.push_back(r.integer(0, 8) / 8.0);
    const Format from = anyFormat(r), to = anyFormat(r);
    const Tensor source = randomTensor(r, n.source, h, w, have, domainOf(from), from);
    const Tensor over = randomTensor(r, n.destination, dh, dw,
                                     aroundChannels(op.at.destinationChannelOffset, written, r), {0, 1, false}, to);
    k.text = textOf(op) + " " + source.shape() + " -> " + over.shape() + " " + nameOf(arrangement);
    const auto destination = imagesOf(over, to, arrangement);
    const auto kernel = kernelOf(op);
    runOnCpu([&](const auto& buffer) {
      encodeAs(arrangement, *kernel, buffer, imagesOf(source, from, arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::padForward(op, source, over), to, {1e-7, 1e-37}));
  });
}

TEST(Pad, SizesItsResultAndItsGradientIsTheTransposedMap) {
  forCases(300, [](Case& k) {
    Random& r = k.random;
    oracle::Pad op = randomPad(r);
    const std::size_t n = r.size(1, 2), h = r.size(1, 5), w = r.size(1, 5), used = r.size(1, 6);
    const bool array = r.chance(0.5), temporary = r.chance(0.5);
    const Arrangement arrangement = array ? Arrangement::Array : Arrangement::Separate;
    if (r.chance(0.3)) op.at.sourceChannelOffset = r.size(0, 3);
    const Tensor source = randomTensor(r, n, h, w, op.at.sourceChannelOffset + used, {-3, 3, false});
    const auto kernel = kernelOf(op);
    op.at.offset.x = -op.before.x, op.at.offset.y = -op.before.y;
    const Tensor zeros(n, h + static_cast<std::size_t>(op.before.y + op.after.y),
                       w + static_cast<std::size_t>(op.before.x + op.after.x),
                       used + static_cast<std::size_t>(op.before.c + op.after.c));
    const Tensor g = randomTensor(r, n, zeros.h, zeros.w, zeros.c, {-2, 2, false});
    k.text = textOf(op) + " " + source.shape() + (array ? " array" : " batch");
    MPS::NNPadGradient backward(cpuDevice());
    kernel->setDestinationImageAllocator(float32Images());
    backward.setDestinationImageAllocator(float32Images());
    const auto x = imagesOf(source, Format::Float32, arrangement), dy = imagesOf(g, Format::Float32, arrangement);
    MPS::ImageBatch y, dx;
    runOnCpu([&](const auto& buffer) {
      if (array) {
        Ref<MPS::State> state;
        y = {kernel->encode(buffer, x[0], &state, temporary)};
        dx = {backward.encode(buffer, dy[0], x[0], state)};
      } else {
        MPS::StateBatch states;
        y = kernel->encodeBatch(buffer, x, &states, temporary);
        dx = backward.encodeBatch(buffer, dy, x, states);
      }
    });
    ASSERT_TRUE(tensorOf(y).sameShape(zeros)) << tensorOf(y).shape();
    EXPECT_EQ(tensorOf(y).v, oracle::padForward(op, source, zeros).value.v);
    const Tensor wanted = oracle::padGradient(op, source, g), got = tensorOf(dx);
    ASSERT_TRUE(got.sameShape(wanted)) << got.shape() << ", wanted " << wanted.shape();
    for (std::size_t i = 0; i < wanted.size(); ++i)
      ASSERT_NEAR(got.v[i], wanted.v[i], 1e-5 * (1 + std::fabs(wanted.v[i]))) << i;
    // <g, forward(x)> = <gradient, x> for everything but what constants add.
    if (op.at.edge != oracle::EdgeMode::Constant || op.fill == 0) {
      const Tensor part = oracle::slice(source, 0, 0, h, w, op.at.sourceChannelOffset, used);
      EXPECT_NEAR(dot(tensorOf(y).v, g.v), dot(got.v, part.v), 1e-3);
    }
  });
}

Tensor row(std::initializer_list<double> values) {
  Tensor t(1, 1, values.size(), 1);
  t.v = values;
  return t;
}

std::vector<double> gradientOfRow(MPS::ImageEdgeMode mode, std::size_t before, std::size_t after, const Tensor& g) {
  MPS::NNPad pad(cpuDevice(), {before, 0, 0}, {after, 0, 0});
  pad.setEdgeMode(mode);
  MPS::NNPadGradient back(cpuDevice());
  back.setDestinationImageAllocator(float32Images());
  Ref<MPS::Image> d;
  runOnCpu([&](const auto& buffer) {
    const auto x = imageOf(row({1, 2, 3}));
    Ref<MPS::State> state;
    pad.encode(buffer, x, &state, true);
    d = back.encode(buffer, imageOf(g), x, state);
  });
  return tensorOf(*d).v;
}

TEST(Pad, DocumentedGradients) {
  EXPECT_EQ(gradientOfRow(MPS::ImageEdgeMode::Clamp, 2, 3, row({1, 2, 4, 8, 16, 32, 64, 128})),
            (std::vector<double>{7, 8, 240}));
  EXPECT_EQ(gradientOfRow(MPS::ImageEdgeMode::Mirror, 4, 1, row({1, 2, 4, 8, 16, 32, 64, 128})),
            (std::vector<double>{1 + 16, 2 + 8 + 32 + 128, 4 + 64}));
}

TEST(Pad, DocumentedMirrorWithEdgeAlongChannels) {
  MPS::NNPad pad(cpuDevice(), {0, 0, 2}, {0, 0, 3});
  pad.setEdgeMode(MPS::ImageEdgeMode::MirrorWithEdge);
  pad.setDestinationImageAllocator(float32Images());
  Tensor x(1, 1, 1, 3);
  x.v = {1, 2, 3};
  Ref<MPS::Image> y;
  runOnCpu([&](const auto& buffer) { y = pad.encode(buffer, imageOf(x)); });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{2, 1, 1, 2, 3, 3, 2, 1}));
}

TEST(Pad, GradientByHandCutsOutAPart) {
  Random r(3);
  const Tensor g = randomTensor(r, 1, 6, 7, 8, {-2, 2, false});
  MPS::NNPadGradient k(cpuDevice());
  k.setPrimaryOffset({2, 1, 0});
  k.setPrimarySourceFeatureChannelOffset(4);
  const auto d = imageOf(Tensor(1, 3, 4, 3));
  runOnCpu([&](const auto& buffer) { k.encode(buffer, imageOf(g), d, nullptr, imageOf(Tensor(1, 3, 4, 3))); });
  const auto into = imageOf(Tensor(1, 3, 4, 3));
  runOnCpu([&](const auto& buffer) { k.encode(buffer, imageOf(g), d, nullptr, into); });
  EXPECT_EQ(tensorOf(*into).v, oracle::slice(g, 1, 2, 3, 4, 4, 3).v);
}

TEST(Pad, MatchesNumPyAndPyTorch) {
  int compared = 0;
  for (const GoldenCase& golden : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/pad.txt")) {
    SCOPED_TRACE(golden.name);
    oracle::Pad op;
    op.at.edge = static_cast<oracle::EdgeMode>(golden.integer("edge"));
    op.before = {golden.integer("left"), golden.integer("above"), golden.integer("front")};
    op.after = {golden.integer("right"), golden.integer("below"), golden.integer("behind")};
    op.fill = golden.number("fill");
    const auto kernel = kernelOf(op);
    MPS::NNPadGradient backward(cpuDevice());
    kernel->setDestinationImageAllocator(float32Images());
    backward.setDestinationImageAllocator(float32Images());
    Ref<MPS::Image> y, dx;
    runOnCpu([&](const auto& buffer) {
      const auto x = imageOf(golden.tensor("source"));
      Ref<MPS::State> state;
      y = kernel->encode(buffer, x, &state, true);
      dx = backward.encode(buffer, imageOf(golden.tensor("gradient")), x, state);
    });
    EXPECT_EQ(tensorOf(*y).v, golden.tensor("result").v);
    const Tensor got = tensorOf(*dx), &wanted = golden.tensor("sourceGradient");
    ASSERT_TRUE(got.sameShape(wanted));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      ASSERT_NEAR(got.v[i], wanted.v[i], 1e-5 * (1 + std::fabs(wanted.v[i]))) << i;
    ++compared;
  }
  EXPECT_EQ(compared, 25);
}

TEST(Pad, DefaultsCopiesAndErrors) {
  MPS::NNPad plain(cpuDevice());
  EXPECT_EQ(plain.fillValue(), 0.f);
  EXPECT_EQ(plain.paddingSizeBefore(), MPS::ImageCoordinate{});
  const float fills[] = {1, 2};
  MPS::NNPad pad(cpuDevice(), {1, 1, 0}, {}, std::as_bytes(std::span(fills)));
  pad.setEdgeMode(MPS::ImageEdgeMode::Constant);
  const auto copy = std::dynamic_pointer_cast<MPS::NNPad>(pad.copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->paddingSizeBefore().x, 1u);
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { copy->encode(buffer, imageOf(Tensor(1, 2, 2, 3))); },
              {"NNPad.encode: fillValueArray has 2 values, 3 channels are written"});
  expectError([&] { MPS::NNPad(cpuDevice(), {}, {}, std::as_bytes(std::span(fills)).first(3)); },
              {"NNPad: fillValueArray has 3 bytes"});
  plain.setPaddingSizeAfter({std::size_t{1} << 40, 0, 0});
  expectError([&] { plain.encode(buffer, imageOf(Tensor(1, 2, 2, 3))); }, {"a padding of", "at most"});
  const auto x = imageOf(Tensor(1, 2, 2, 3));
  MPS::NNPadGradient back(cpuDevice());
  const auto state = MPS::NNReshape(cpuDevice()).resultState(x, {}, x);
  expectError([&] { back.encode(buffer, x, x, state); }, {"NNPadGradient: the gradient state was made by a kernel of"});
}

// --- slice ---

TEST(Slice, MatchesTheOracle) {
  forCases(300, [](Case& k) {
    Random& r = k.random;
    PointCase p = randomPointCase(r, {-4, 4, false});
    // A destination with fewer channels takes the first of those read.
    if (r.chance(0.3) && p.destination.c > p.at.destinationChannelOffset + 1)
      p.destination = oracle::slice(p.destination, 0, 0, p.destination.h, p.destination.w, 0, p.destination.c - 1);
    k.text = p.text();
    MPS::NNSlice kernel(cpuDevice());
    test::apply(p.at, kernel);
    const auto destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, kernel, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::sliceForward(p.at, p.source, p.destination), p.destinationFormat,
                        {1e-7, 1e-37}));
  });
}

TEST(Slice, ItsOwnResultHasTheSourcesSizeAndTheChannelsRead) {
  Random r(4);
  const Tensor x = randomTensor(r, 1, 3, 5, 11, {-2, 2, false});
  MPS::NNSlice kernel(cpuDevice());
  kernel.setDestinationImageAllocator(float32Images());
  kernel.setSourceFeatureChannelOffset(4);
  kernel.setSourceFeatureChannelMaxCount(5);
  Ref<MPS::Image> y;
  runOnCpu([&](const auto& buffer) { y = kernel.encode(buffer, imageOf(x)); });
  EXPECT_EQ(tensorOf(*y).v, oracle::slice(x, 0, 0, 3, 5, 4, 5).v);
}

}  // namespace
}  // namespace kovar::test
