// The oracles against PyTorch's results (tests/golden/ops).

#include <gtest/gtest.h>

#include "oracle/conv.hpp"
#include "oracle/conv_transpose.hpp"
#include "oracle/loss.hpp"
#include "oracle/loss_yolo.hpp"
#include "oracle/neuron.hpp"
#include "oracle/optimizer.hpp"
#include "oracle/pooling.hpp"
#include "oracle/softmax.hpp"
#include "support/compare.hpp"
#include "support/golden.hpp"

namespace kovar::oracle {
namespace {

using test::agree;
using test::GoldenCase;

// the files hold ten digits
constexpr double kDigits = 2e-9;

std::vector<GoldenCase> golden(const std::string& name) {
  return test::readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/" + name);
}

Tensor empty(const Tensor& like) { return Tensor(like.n, like.h, like.w, like.c, -99.0); }

template <class Window>
void readWindow(const GoldenCase& g, Window& w) {
  w.kernelWidth = g.integer("kernelWidth");
  w.kernelHeight = g.integer("kernelHeight");
  w.strideX = g.integer("strideX");
  w.strideY = g.integer("strideY");
  w.dilationX = g.integer("dilationX");
  w.dilationY = g.integer("dilationY");
}

TEST(TorchGolden, Convolution) {
  for (const GoldenCase& g : golden("conv.txt")) {
    SCOPED_TRACE(g.name);
    Conv c;
    readWindow(g, c);
    c.at.offset.x = g.integer("offsetX");
    c.at.offset.y = g.integer("offsetY");
    c.at.edge = g.word("edge") == "Clamp" ? EdgeMode::Clamp : EdgeMode::Zero;
    c.groups = g.count("groups");
    c.depthwise = g.number("depthwise") != 0;
    const Tensor& source = g.tensor("source");
    const Tensor& gradient = g.tensor("gradient");
    c.inputChannels = source.c;
    c.outputChannels = gradient.c;
    const std::vector<double>& weights = g.tensor("weights").v;
    const Result y = convForward(c, source, weights, g.tensor("bias").v, empty(gradient));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Result dx = convDataGradient(c, weights, gradient, empty(source));
    EXPECT_TRUE(agree(dx.value.v, g.tensor("sourceGradient").v, dx.magnitude.v, kDigits));
    const WeightGradient dw = convWeightGradient(c, source, gradient);
    EXPECT_TRUE(agree(dw.weights, g.tensor("weightGradient").v, dw.weightsMagnitude, kDigits));
    EXPECT_TRUE(agree(dw.bias, g.tensor("biasGradient").v, dw.biasMagnitude, kDigits));
  }
}

TEST(TorchGolden, TransposedConvolution) {
  for (const GoldenCase& g : golden("conv_transpose.txt")) {
    SCOPED_TRACE(g.name);
    ConvTranspose t;
    Conv& c = t.conv;
    readWindow(g, c);
    c.groups = g.count("groups");
    const Tensor& source = g.tensor("source");
    const Tensor& gradient = g.tensor("gradient");
    c.inputChannels = source.c;
    c.outputChannels = gradient.c;
    t.kernelOffsetX = c.extentX() / 2 - c.extentX() + 1 + g.integer("paddingX");
    t.kernelOffsetY = c.extentY() / 2 - c.extentY() + 1 + g.integer("paddingY");
    // the file has [input][ky][kx][output of the group], the function wants [input][output][ky][kx]
    auto torchOrder = [](const Tensor& w) {
      std::vector<double> v;
      for (size_t i = 0; i < w.n; ++i)
        for (size_t o = 0; o < w.c; ++o)
          for (size_t q = 0; q < w.h; ++q)
            for (size_t p = 0; p < w.w; ++p) v.push_back(w.at(i, q, p, o));
      return v;
    };
    const std::vector<double> weights = rotateFrameworkWeights(c, torchOrder(g.tensor("weights")));
    const Result y = convTransposeForward(t, source, weights, g.tensor("bias").v, empty(gradient));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Result dx = convTransposeDataGradient(t, weights, gradient, empty(source));
    EXPECT_TRUE(agree(dx.value.v, g.tensor("sourceGradient").v, dx.magnitude.v, kDigits));
    const WeightGradient dw = convTransposeWeightGradient(t, source, gradient);
    EXPECT_TRUE(agree(dw.weights, rotateFrameworkWeights(c, torchOrder(g.tensor("weightGradient"))),
                      dw.weightsMagnitude, kDigits));
    EXPECT_TRUE(agree(dw.bias, g.tensor("biasGradient").v, dw.biasMagnitude, kDigits));
  }
}

TEST(TorchGolden, Pooling) {
  for (const GoldenCase& g : golden("pooling.txt")) {
    SCOPED_TRACE(g.name);
    Pool p;
    readWindow(g, p);
    const std::string& kind = g.word("kind");
    p.kind = kind == "max" ? PoolKind::Max : kind == "l2" ? PoolKind::L2Norm : PoolKind::Average;
    p.at.edge = g.word("edge") == "Clamp" ? EdgeMode::Clamp : EdgeMode::Zero;
    p.at.offset.x = p.extentX() / 2 - g.integer("paddingX");
    p.at.offset.y = p.extentY() / 2 - g.integer("paddingY");
    p.zeroPadSizeX = g.integer("zeroPadSizeX");
    p.zeroPadSizeY = g.integer("zeroPadSizeY");
    const Tensor& source = g.tensor("source");
    const Tensor& gradient = g.tensor("gradient");
    const Result y = poolForward(p, source, empty(gradient));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Result dx = poolGradient(p, {}, gradient, source, empty(source));
    EXPECT_TRUE(agree(dx.value.v, g.tensor("sourceGradient").v, dx.magnitude.v, kDigits));
  }
}

NeuronType neuronNamed(const std::string& name) {
  for (int i = 0; i < kNeuronTypeCount; ++i) {
    Neuron n;
    n.type = static_cast<NeuronType>(i);
    if (name == n.name()) return n.type;
  }
  throw std::runtime_error("no neuron " + name);
}

TEST(TorchGolden, Neurons) {
  for (const GoldenCase& g : golden("neuron.txt")) {
    SCOPED_TRACE(g.name);
    Neuron n{neuronNamed(g.word("type")), g.number("a"), g.number("b"), g.number("c"), {}};
    if (g.has("slopes")) n.data = g.tensor("slopes").v;
    const Tensor& source = g.tensor("source");
    const Result y = neuronForward(n, {}, source, empty(source));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Tensor ones(source.n, source.h, source.w, source.c, 1.0);
    const Result d = neuronGradient(n, {}, ones, source, empty(source));
    EXPECT_TRUE(agree(d.value.v, g.tensor("derivative").v, d.magnitude.v, kDigits));
  }
}

TEST(TorchGolden, Softmax) {
  for (const GoldenCase& g : golden("softmax.txt")) {
    SCOPED_TRACE(g.name);
    const Softmax op{g.word("kind") == "log_softmax"};
    const Tensor& source = g.tensor("source");
    const Result y = softmaxForward(op, {}, source, empty(source));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Result d = softmaxGradient(op, {}, g.tensor("gradient"), y.value, empty(source));
    EXPECT_TRUE(agree(d.value.v, g.tensor("sourceGradient").v, d.magnitude.v, kDigits));
  }
}

LossType lossNamed(const std::string& name) {
  for (int i = 0; i < kLossTypeCount; ++i) {
    Loss l;
    l.type = static_cast<LossType>(i);
    if (name == l.name()) return l.type;
  }
  throw std::runtime_error("no loss " + name);
}

TEST(TorchGolden, Losses) {
  for (const GoldenCase& g : golden("loss.txt")) {
    SCOPED_TRACE(g.name);
    Loss l;
    l.type = lossNamed(g.word("type"));
    LossInput in{g.tensor("predictions"), g.tensor("labels"), {}};
    if (g.has("imageLoss")) {
      l.labelSmoothing = g.number("labelSmoothing");
      l.numberOfClasses = g.number("numberOfClasses");
      l.reduction = Reduction::Sum;
      const Result v = lossReduced(l, in);
      EXPECT_TRUE(agree(v.value.v, g.tensor("imageLoss").v, v.magnitude.v, kDigits));
      const Result d = lossGradient(l, in);
      EXPECT_TRUE(agree(d.value.v, g.tensor("predictionGradient").v, d.magnitude.v, kDigits));
      continue;
    }
    l.delta = g.number("delta");
    l.epsilon = g.number("epsilon");
    in.weights = g.tensor("weights");
    const Result e = lossElements(l, in);
    EXPECT_TRUE(agree(e.value.v, g.tensor("elements").v, e.magnitude.v, kDigits));
    l.reduction = Reduction::Sum;
    const Tensor ones(in.predictions.n, 1, 1, 1, 1.0);
    const Result dy = forwardLossGradient(l, in, ones);
    EXPECT_TRUE(agree(dy.value.v, g.tensor("predictionGradient").v, dy.magnitude.v, kDigits));
    const Result dt = forwardLossGradient(l, in, ones, true);
    EXPECT_TRUE(agree(dt.value.v, g.tensor("labelGradient").v, dt.magnitude.v, kDigits));
  }
}

TEST(TorchGolden, YoloLoss) {
  for (const GoldenCase& g : golden("yolo.txt")) {
    SCOPED_TRACE(g.name);
    std::vector<Anchor> anchors;
    for (size_t i = 0; i < g.tensor("anchors").size(); i += 2)
      anchors.push_back({g.tensor("anchors").v[i], g.tensor("anchors").v[i + 1]});
    YoloLoss l = YoloLoss::usual(anchors);
    l.rescore = g.number("rescore") != 0;
    const LossInput in{g.tensor("predictions"), g.tensor("labels"), g.tensor("weights")};
    EXPECT_FALSE(yoloIsNearDecision(l, in.labels));
    const YoloResult r = yoloElements(l, in);
    EXPECT_TRUE(agree(r.elements.value.v, g.tensor("elements").v, r.elements.magnitude.v, kDigits));
    EXPECT_TRUE(agree(r.gradient.value.v, g.tensor("gradient").v, r.gradient.magnitude.v, kDigits));
    // reductions
    double sum = 0, count = 0;
    for (double v : g.tensor("elements").v) sum += v;
    for (double w : in.weights.v) count += w != 0;
    l.reduceAcrossBatch = true;
    auto first = [&](Reduction how) {
      l.reduction = how;
      return yoloReduced(l, in).value.v[0];
    };
    EXPECT_NEAR(first(Reduction::Sum), sum, 1e-6 * sum);
    EXPECT_NEAR(first(Reduction::Mean), sum / static_cast<double>(in.weights.size()), 1e-6 * sum);
    EXPECT_NEAR(first(Reduction::SumByNonZeroWeights), sum / count, 1e-6 * sum / count);
  }
}

TEST(TorchGolden, Optimizers) {
  for (const GoldenCase& g : golden("optimizer.txt")) {
    SCOPED_TRACE(g.name);
    Optimizer o;
    o.learningRate = g.number("learningRate");
    o.regularizationScale = g.number("l2");
    if (o.regularizationScale != 0) o.regularization = Regularization::L2;
    std::vector<double> values = g.tensor("values0").v, zero(values.size());
    std::vector<double> state = g.name == "sgd" ? std::vector<double>() : zero, second = zero;
    std::vector<double> third = g.name == "amsgrad" ? zero : std::vector<double>();
    for (size_t step = 1; step <= 5; ++step) {
      const std::vector<double>& gradient = g.tensor("gradient" + std::to_string(step)).v;
      StepResult r;
      if (g.name.starts_with("sgd")) {
        r = sgdStep(o, g.name == "sgd" ? 0 : g.number("momentum"), g.name == "sgd_nesterov", gradient, values, state);
      } else if (g.name.starts_with("rmsprop")) {
        r = rmsPropStep(o, g.number("decay"), g.number("epsilon"), gradient, values, state);
      } else {
        r = adamStep(o, {g.number("beta1"), g.number("beta2"), g.number("epsilon"), step - 1}, gradient, values, state,
                     second, third);
      }
      EXPECT_TRUE(agree(r.values, g.tensor("values" + std::to_string(step)).v, r.valuesMagnitude, kDigits)) << step;
      values = r.values;
      state = r.state;
      second = r.secondState;
      third = r.thirdState;
    }
  }
}

}  // namespace
}  // namespace kovar::oracle
