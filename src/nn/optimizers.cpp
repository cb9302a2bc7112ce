#include "kovar/MPS/NN/NNOptimizers.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "maths/optimizer.hpp"
#include "nn/core/access.hpp"
#include "nn/core/vector_access.hpp"

namespace kovar::nn {
namespace {

/// One vector or matrix argument with its name for messages.
template <class T>
struct Named {
  const char* name;
  const Ref<T>& object;
};

std::size_t rowsOf(const MPS::Vector& v) { return v.vectors(); }
std::size_t rowsOf(const MPS::Matrix& m) { return m.rows(); }
std::size_t columnsOf(const MPS::Vector& v) { return v.length(); }
std::size_t columnsOf(const MPS::Matrix& m) { return m.columns(); }
std::size_t matricesOf(const MPS::Vector&) { return 1; }
std::size_t matricesOf(const MPS::Matrix& m) { return m.matrices(); }
std::size_t rowBytesOf(const MPS::Vector& v) { return v.vectorBytes(); }
std::size_t rowBytesOf(const MPS::Matrix& m) { return m.rowBytes(); }
std::size_t offsetOf(const MPS::Vector& v, std::size_t) { return v.offset(); }
std::size_t offsetOf(const MPS::Matrix& m, std::size_t index) { return m.offset() + index * m.matrixBytes(); }

/// For messages.
std::string shapeOf(const MPS::Vector& v) {
  return std::to_string(v.vectors()) + (v.vectors() == 1 ? " vector" : " vectors") + " of " +
         std::to_string(v.length());
}
std::string shapeOf(const MPS::Matrix& m) {
  return std::to_string(m.matrices()) + (m.matrices() == 1 ? " matrix" : " matrices") + " of " +
         std::to_string(m.rows()) + " x " + std::to_string(m.columns());
}

}  // namespace

/// The updates of one encode: first all are collected and checked, then all are appended, so that a wrong argument
/// leaves the command buffer as it was.
class StepEncoder {
 public:
  StepEncoder(const MPS::NNOptimizer& optimizer, const Ref<MTL::CommandBuffer>& commandBuffer)
      : optimizer_(optimizer), commandBuffer_(commandBuffer), where_(Access::described(optimizer) + ".encode: ") {
    if (!commandBuffer) refuse("commandBuffer is null");
    if (commandBuffer->device() != optimizer.device())
      refuse("the kernel belongs to device " + optimizer.device()->identifier() + ", the command buffer to " +
             commandBuffer->device()->identifier() + "; use copy(device) for a kernel of the other device");
  }

  /// An update of vectors or matrices as given by the caller.
  template <class T>
  void add(Named<T> gradient, Named<T> values, const std::vector<Named<T>>& states, Named<T> result) {
    check(values);
    const T& v = *values.object;
    for (const auto& n : {gradient, result}) check(n, v);
    for (const auto& n : states) check(n, v);
    for (std::size_t i = 0; i < matricesOf(v); ++i) {
      const auto tensor = [&](const T& t) {
        return matrixTensor(t.data(), offsetOf(t, i), rowsOf(v), columnsOf(v), rowBytesOf(t), t.dataType());
      };
      Update u{tensor(*gradient.object), tensor(v), {}, tensor(*result.object)};
      for (const auto& n : states) u.states.push_back(tensor(*n.object));
      updates_.push_back(std::move(u));
    }
  }

  /// An update of a convolution's weights and biases. `states` holds, per kind of state, the vectors for weights and
  /// biases; without any state both are updated.
  void add(const Ref<MPS::CNNConvolutionGradientState>& gradient,
           const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& source,
           const std::vector<std::pair<const char*, const std::vector<Ref<MPS::Vector>>*>>& states,
           const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& result) {
    check(gradient, "convolutionGradientState");
    check(source, "convolutionSourceState");
    check(result, "resultState");
    const Part weights{"weights",         gradient->gradientForWeights(), source->weights(), source->weightsOffset(),
                       result->weights(), result->weightsOffset()};
    const Part biases{"biases",         gradient->gradientForBiases(), source->biases(), source->biasesOffset(),
                      result->biases(), result->biasesOffset()};
    addParts(weights, biases, states);
    read_ = {gradient, source};
  }

  /// The same for gamma and beta of a batch normalization; gradient and source may be one state.
  void add(const Ref<MPS::CNNBatchNormalizationState>& gradient, const Ref<MPS::CNNBatchNormalizationState>& source,
           const std::vector<std::pair<const char*, const std::vector<Ref<MPS::Vector>>*>>& states,
           const Ref<MPS::CNNNormalizationGammaAndBetaState>& result) {
    check(gradient, gradient == source ? "batchNormalizationState" : "batchNormalizationGradientState");
    check(source, "batchNormalizationSourceState");
    check(result, "resultState");
    if (!gradient->gradientForGamma())
      refuse(
          "the batch normalization state has no gradients yet; encode CNNBatchNormalizationStatisticsGradient first");
    const Part gamma{"gamma", gradient->gradientForGamma(), source->gamma(), 0, result->gamma(), 0};
    const Part beta{"beta", gradient->gradientForBeta(), source->beta(), 0, result->beta(), 0};
    addParts(gamma, beta, states);
    read_ = {gradient, source};
  }

  /// Appends everything collected. `scalars` holds what belongs to the rule; the rest is the optimizer's.
  void append(prim::StepKind kind, prim::Scalars scalars) {
    prim::Step d;
    d.kind = kind;
    d.clip = optimizer_.applyGradientClipping();
    d.regularization = static_cast<std::uint8_t>(optimizer_.regularizationType());
    scalars.f[4] = optimizer_.gradientRescale();
    scalars.f[5] = optimizer_.gradientClipMin();
    scalars.f[6] = optimizer_.gradientClipMax();
    scalars.f[7] = optimizer_.regularizationScale();
    Recorder list(commandBuffer_);
    const auto mark = list.state().mark();
    try {
      for (const Update& u : updates_) {
        std::vector<rt::Operand> operands{u.gradient.read(), u.values.read()};
        for (const Tensor& s : u.states) operands.push_back(s.update());
        operands.push_back(u.result.write());
        list.op(d, operands, scalars);
      }
      for (const auto& [from, to] : copies_) list.op(prim::Copy{}, {from.read(), to.write()});
    } catch (...) {
      list.state().rollBack(mark);
      throw;
    }
    Access::chargeRead(read_);
  }

 private:
  struct Update {
    Tensor gradient, values;
    std::vector<Tensor> states;
    Tensor result;
  };

  /// One of the two parameters of a layer. A layer without biases has null buffers.
  struct Part {
    const char* name;
    Ref<MTL::Buffer> gradient, values;
    std::size_t valuesOffset;
    Ref<MTL::Buffer> result;
    std::size_t resultOffset;
  };

  [[noreturn]] void refuse(const std::string& text) const { base::raise(where_ + text); }

  void addParts(const Part& first, const Part& second,
                const std::vector<std::pair<const char*, const std::vector<Ref<MPS::Vector>>*>>& states) {
    const bool both = second.values && second.result;
    for (const auto& [name, vectors] : states) {
      if (vectors->empty())
        refuse(std::string(name) + " is empty; give one vector for " + first.name +
               " and, to update them too, one for " + second.name);
      if (vectors->size() != states.front().second->size())
        refuse(std::string(name) + " has " + std::to_string(vectors->size()) + " vectors, " + states.front().first +
               " " + std::to_string(states.front().second->size()) + "; give as many of each");
    }
    const bool secondLearns = both && (states.empty() || states.front().second->size() > 1);
    addParameter(first, states, 0);
    if (secondLearns)
      addParameter(second, states, 1);
    else if (both && (second.values != second.result || second.valuesOffset != second.resultOffset))
      addCopy(second);
  }

  template <class T>
  void check(const Named<T>& n) const {
    if (!n.object) refuse(std::string(n.name) + " is null");
    if (n.object->device() != optimizer_.device()) refuse(std::string(n.name) + " belongs to another device");
    const MPS::DataType type = n.object->dataType();
    if (type != MPS::DataType::Float32 && type != MPS::DataType::Float16)
      refuse(std::string(n.name) + " has another data type than Float32 and Float16");
  }

  template <class T>
  void check(const Named<T>& n, const T& values) const {
    check(n);
    const T& t = *n.object;
    if (rowsOf(t) < rowsOf(values) || columnsOf(t) < columnsOf(values) || matricesOf(t) < matricesOf(values))
      refuse(std::string(n.name) + " has " + shapeOf(t) + ", the values " + shapeOf(values) +
             "; it must be at least as large");
  }

  template <class S>
  void check(const Ref<S>& state, const char* name) const {
    if (!state) refuse(std::string(name) + " is null");
    if (Access::device(*state) != optimizer_.device()) refuse(std::string(name) + " belongs to another device");
    if (state->isTemporary() && state->readCount() == 0)
      refuse(std::string(name) +
             " is used up: its readCount is 0; raise readCount before the encode that read it last");
  }

  Tensor part(const std::string& name, const Ref<MTL::Buffer>& buffer, std::size_t offset, std::size_t length) const {
    if (buffer->length() < offset || buffer->length() - offset < length * sizeof(float))
      refuse(name + " has " + std::to_string(buffer->length()) + " bytes, " + std::to_string(length) +
             " floats from byte " + std::to_string(offset) +
             " on are needed; source, result and gradient must be of one layer");
    return bufferTensor(buffer, offset, length);
  }

  void addParameter(const Part& p,
                    const std::vector<std::pair<const char*, const std::vector<Ref<MPS::Vector>>*>>& states,
                    std::size_t index) {
    const std::string what = p.name;
    const std::size_t length = p.gradient->length() / sizeof(float);
    Update u{part("the gradient of " + what, p.gradient, 0, length),
             part("the source's " + what, p.values, p.valuesOffset, length),
             {},
             part("the result's " + what, p.result, p.resultOffset, length)};
    for (const auto& [name, vectors] : states) {
      const std::string element = std::string(name) + "[" + std::to_string(index) + "]";
      const Named<MPS::Vector> n{element.c_str(), (*vectors)[index]};
      check(n);
      if (n.object->length() < length)
        refuse(std::string(n.name) + " has " + std::to_string(n.object->length()) + " elements, the layer " +
               std::to_string(length) + " " + p.name);
      u.states.push_back(vectorTensor(*n.object, length));
    }
    updates_.push_back(std::move(u));
  }

  void addCopy(const Part& p) {
    const std::size_t length = p.gradient->length() / sizeof(float);
    copies_.emplace_back(part(std::string("the source's ") + p.name, p.values, p.valuesOffset, length),
                         part(std::string("the result's ") + p.name, p.result, p.resultOffset, length));
  }

  const MPS::NNOptimizer& optimizer_;
  Ref<MTL::CommandBuffer> commandBuffer_;
  std::string where_;
  std::vector<Update> updates_;
  std::vector<std::pair<Tensor, Tensor>> copies_;
  MPS::StateBatch read_;
};

}  // namespace kovar::nn

namespace kovar::MPS {
namespace {

template <class T>
T finite(T value, const std::string& where, const char* property) {
  if (!std::isfinite(value))
    base::raise(where + ": " + property + " is " + std::to_string(value) + "; give a finite number");
  return value;
}

Ref<NNOptimizerDescriptor> plain(const char* who, float learningRate) {
  return NNOptimizerDescriptor::optimizerDescriptor(finite(learningRate, who, "learningRate"), 1.f,
                                                    NNRegularizationType::None, 0.f);
}

using Vectors = std::vector<Ref<Vector>>;
using VectorLists = std::vector<std::pair<const char*, const Vectors*>>;
using nn::StepEncoder;

}  // namespace

// --- descriptor
// -------------------------------------------------------------------------------------------------------

NNOptimizerDescriptor::NNOptimizerDescriptor(float learningRate, float gradientRescale,
                                             NNRegularizationType regularizationType, float regularizationScale)
    : learningRate_(finite(learningRate, "NNOptimizerDescriptor", "learningRate")),
      gradientRescale_(finite(gradientRescale, "NNOptimizerDescriptor", "gradientRescale")),
      regularizationType_(regularizationType),
      regularizationScale_(finite(regularizationScale, "NNOptimizerDescriptor", "regularizationScale")) {}

NNOptimizerDescriptor::NNOptimizerDescriptor(float learningRate, float gradientRescale, bool applyGradientClipping,
                                             float gradientClipMax, float gradientClipMin,
                                             NNRegularizationType regularizationType, float regularizationScale)
    : NNOptimizerDescriptor(learningRate, gradientRescale, regularizationType, regularizationScale) {
  applyGradientClipping_ = applyGradientClipping;
  gradientClipMax_ = gradientClipMax;
  gradientClipMin_ = gradientClipMin;
}

Ref<NNOptimizerDescriptor> NNOptimizerDescriptor::optimizerDescriptor(float learningRate, float gradientRescale,
                                                                      NNRegularizationType regularizationType,
                                                                      float regularizationScale) {
  return std::make_shared<NNOptimizerDescriptor>(learningRate, gradientRescale, regularizationType,
                                                 regularizationScale);
}

Ref<NNOptimizerDescriptor> NNOptimizerDescriptor::optimizerDescriptor(float learningRate, float gradientRescale,
                                                                      bool applyGradientClipping, float gradientClipMax,
                                                                      float gradientClipMin,
                                                                      NNRegularizationType regularizationType,
                                                                      float regularizationScale) {
  return std::make_shared<NNOptimizerDescriptor>(learningRate, gradientRescale, applyGradientClipping, gradientClipMax,
                                                 gradientClipMin, regularizationType, regularizationScale);
}

void NNOptimizerDescriptor::setLearningRate(float learningRate) {
  learningRate_ = finite(learningRate, "NNOptimizerDescriptor.setLearningRate", "learningRate");
}
void NNOptimizerDescriptor::setGradientRescale(float gradientRescale) {
  gradientRescale_ = finite(gradientRescale, "NNOptimizerDescriptor.setGradientRescale", "gradientRescale");
}
void NNOptimizerDescriptor::setRegularizationScale(float regularizationScale) {
  regularizationScale_ =
      finite(regularizationScale, "NNOptimizerDescriptor.setRegularizationScale", "regularizationScale");
}

// --- base
// -------------------------------------------------------------------------------------------------------------

NNOptimizer::NNOptimizer(const Ref<MTL::Device>& device, const Ref<NNOptimizerDescriptor>& optimizerDescriptor,
                         const char* who)
    : Kernel(device) {
  if (!optimizerDescriptor) base::raise(std::string(who) + ": optimizerDescriptor is null");
  const NNOptimizerDescriptor& d = *optimizerDescriptor;
  if (!(d.gradientClipMin() <= d.gradientClipMax()))
    base::raise(std::string(who) + ": gradientClipMin " + std::to_string(d.gradientClipMin()) +
                " is above gradientClipMax " + std::to_string(d.gradientClipMax()));
  if (d.regularizationType() > NNRegularizationType::L2)
    base::raise(std::string(who) + ": regularizationType " +
                std::to_string(static_cast<std::size_t>(d.regularizationType())) + " is not a NNRegularizationType");
  learningRate_ = d.learningRate();
  gradientRescale_ = d.gradientRescale();
  applyGradientClipping_ = d.applyGradientClipping();
  gradientClipMax_ = d.gradientClipMax();
  gradientClipMin_ = d.gradientClipMin();
  regularizationType_ = d.regularizationType();
  regularizationScale_ = d.regularizationScale();
}

void NNOptimizer::setLearningRate(float newLearningRate) {
  learningRate_ = finite(newLearningRate, described() + ".setLearningRate", "learningRate");
}

// --- gradient descent
// -------------------------------------------------------------------------------------------------

using Sgd = NNOptimizerStochasticGradientDescent;

Sgd::NNOptimizerStochasticGradientDescent(const Ref<MTL::Device>& device, float learningRate)
    : Sgd(device, 0.f, false, plain("NNOptimizerStochasticGradientDescent", learningRate)) {}

Sgd::NNOptimizerStochasticGradientDescent(const Ref<MTL::Device>& device, float momentumScale, bool useNesterovMomentum,
                                          const Ref<NNOptimizerDescriptor>& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor, "NNOptimizerStochasticGradientDescent"),
      momentumScale_(finite(momentumScale, "NNOptimizerStochasticGradientDescent", "momentumScale")),
      useNesterovMomentum_(useNesterovMomentum) {}

void Sgd::append(StepEncoder& steps, bool momentum) const {
  prim::Scalars s;
  s.f[0] = learningRate();
  s.f[1] = momentumScale_;
  using enum prim::StepKind;
  steps.append(!momentum ? prim::StepKind::Sgd : useNesterovMomentum_ ? SgdNesterov : SgdMomentum, s);
}

void Sgd::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& gradient, const Ref<Vector>& values,
                 const Ref<Vector>& momentum, const Ref<Vector>& result) {
  StepEncoder steps(*this, commandBuffer);
  std::vector<nn::Named<Vector>> states;
  if (momentum) states.push_back({"inputMomentumVector", momentum});
  steps.add<Vector>({"inputGradientVector", gradient}, {"inputValuesVector", values}, states,
                    {"resultValuesVector", result});
  append(steps, momentum != nullptr);
}
void Sgd::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& gradient, const Ref<Matrix>& values,
                 const Ref<Matrix>& momentum, const Ref<Matrix>& result) {
  StepEncoder steps(*this, commandBuffer);
  std::vector<nn::Named<Matrix>> states;
  if (momentum) states.push_back({"inputMomentumMatrix", momentum});
  steps.add<Matrix>({"inputGradientMatrix", gradient}, {"inputValuesMatrix", values}, states,
                    {"resultValuesMatrix", result});
  append(steps, momentum != nullptr);
}
void Sgd::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNConvolutionGradientState>& gradient,
                 const Ref<CNNConvolutionWeightsAndBiasesState>& source, const Vectors& momentum,
                 const Ref<CNNConvolutionWeightsAndBiasesState>& result) {
  StepEncoder steps(*this, commandBuffer);
  VectorLists states;
  if (!momentum.empty()) states.emplace_back("inputMomentumVectors", &momentum);
  steps.add(gradient, source, states, result);
  append(steps, !momentum.empty());
}

void Sgd::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& state,
                 const Vectors& momentum, const Ref<CNNNormalizationGammaAndBetaState>& result) {
  encode(commandBuffer, state, state, momentum, result);
}
void Sgd::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& gradient,
                 const Ref<CNNBatchNormalizationState>& source, const Vectors& momentum,
                 const Ref<CNNNormalizationGammaAndBetaState>& result) {
  StepEncoder steps(*this, commandBuffer);
  VectorLists states;
  if (!momentum.empty()) states.emplace_back("inputMomentumVectors", &momentum);
  steps.add(gradient, source, states, result);
  append(steps, !momentum.empty());
}

// --- RMSProp
// ----------------------------------------------------------------------------------------------------------

NNOptimizerRMSProp::NNOptimizerRMSProp(const Ref<MTL::Device>& device, float learningRate)
    : NNOptimizerRMSProp(device, 0.9, 1e-8f, plain("NNOptimizerRMSProp", learningRate)) {}

NNOptimizerRMSProp::NNOptimizerRMSProp(const Ref<MTL::Device>& device, double decay, float epsilon,
                                       const Ref<NNOptimizerDescriptor>& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor, "NNOptimizerRMSProp"),
      decay_(finite(decay, "NNOptimizerRMSProp", "decay")),
      epsilon_(finite(epsilon, "NNOptimizerRMSProp", "epsilon")) {}

void NNOptimizerRMSProp::append(StepEncoder& steps) const {
  prim::Scalars s;
  s.f[0] = learningRate();
  s.f[1] = static_cast<float>(decay_);
  s.f[3] = epsilon_;
  s.u[0] = std::bit_cast<std::uint64_t>(decay_);
  steps.append(prim::StepKind::RmsProp, s);
}

void NNOptimizerRMSProp::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& gradient,
                                const Ref<Vector>& values, const Ref<Vector>& sumOfSquares, const Ref<Vector>& result) {
  StepEncoder steps(*this, commandBuffer);
  steps.add<Vector>({"inputGradientVector", gradient}, {"inputValuesVector", values},
                    {{"inputSumOfSquaresVector", sumOfSquares}}, {"resultValuesVector", result});
  append(steps);
}
void NNOptimizerRMSProp::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& gradient,
                                const Ref<Matrix>& values, const Ref<Matrix>& sumOfSquares, const Ref<Matrix>& result) {
  StepEncoder steps(*this, commandBuffer);
  steps.add<Matrix>({"inputGradientMatrix", gradient}, {"inputValuesMatrix", values},
                    {{"inputSumOfSquaresMatrix", sumOfSquares}}, {"resultValuesMatrix", result});
  append(steps);
}
void NNOptimizerRMSProp::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const Ref<CNNConvolutionGradientState>& gradient,
                                const Ref<CNNConvolutionWeightsAndBiasesState>& source, const Vectors& sumOfSquares,
                                const Ref<CNNConvolutionWeightsAndBiasesState>& result) {
  StepEncoder steps(*this, commandBuffer);
  steps.add(gradient, source, {{"inputSumOfSquaresVectors", &sumOfSquares}}, result);
  append(steps);
}

void NNOptimizerRMSProp::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const Ref<CNNBatchNormalizationState>& state, const Vectors& sumOfSquares,
                                const Ref<CNNNormalizationGammaAndBetaState>& result) {
  encode(commandBuffer, state, state, sumOfSquares, result);
}
void NNOptimizerRMSProp::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const Ref<CNNBatchNormalizationState>& gradient,
                                const Ref<CNNBatchNormalizationState>& source, const Vectors& sumOfSquares,
                                const Ref<CNNNormalizationGammaAndBetaState>& result) {
  StepEncoder steps(*this, commandBuffer);
  steps.add(gradient, source, {{"inputSumOfSquaresVectors", &sumOfSquares}}, result);
  append(steps);
}

// --- Adam
// -------------------------------------------------------------------------------------------------------------

namespace {

double checkedBeta(double beta, const char* name) {
  if (!(beta >= 0.0 && beta < 1.0))
    base::raise(std::string("NNOptimizerAdam: ") + name + " is " + std::to_string(beta) +
                "; it must be at least 0 and below 1");
  return beta;
}

}  // namespace

NNOptimizerAdam::NNOptimizerAdam(const Ref<MTL::Device>& device, float learningRate)
    : NNOptimizerAdam(device, 0.9, 0.999, 1e-8f, 0, plain("NNOptimizerAdam", learningRate)) {}

NNOptimizerAdam::NNOptimizerAdam(const Ref<MTL::Device>& device, double beta1, double beta2, float epsilon,
                                 std::size_t timeStep, const Ref<NNOptimizerDescriptor>& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor, "NNOptimizerAdam"),
      beta1_(checkedBeta(beta1, "beta1")),
      beta2_(checkedBeta(beta2, "beta2")),
      epsilon_(finite(epsilon, "NNOptimizerAdam", "epsilon")),
      timeStep_(timeStep) {}

void NNOptimizerAdam::append(StepEncoder& steps, bool maximum) {
  prim::Scalars s;
  s.f[0] = maths::adamLearningRate(static_cast<double>(learningRate()), beta1_, beta2_, timeStep_ + 1);
  s.f[1] = static_cast<float>(beta1_);
  s.f[2] = static_cast<float>(beta2_);
  s.f[3] = epsilon_;
  s.u = {std::bit_cast<std::uint64_t>(beta1_), std::bit_cast<std::uint64_t>(beta2_)};
  steps.append(maximum ? prim::StepKind::AmsGrad : prim::StepKind::Adam, s);
  ++timeStep_;
}

void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& gradient,
                             const Ref<Vector>& values, const Ref<Vector>& momentum, const Ref<Vector>& velocity,
                             const Ref<Vector>& result) {
  encode(commandBuffer, gradient, values, momentum, velocity, nullptr, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& gradient,
                             const Ref<Matrix>& values, const Ref<Matrix>& momentum, const Ref<Matrix>& velocity,
                             const Ref<Matrix>& result) {
  encode(commandBuffer, gradient, values, momentum, velocity, nullptr, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& gradient,
                             const Ref<Vector>& values, const Ref<Vector>& momentum, const Ref<Vector>& velocity,
                             const Ref<Vector>& maximumVelocity, const Ref<Vector>& result) {
  StepEncoder steps(*this, commandBuffer);
  std::vector<nn::Named<Vector>> states{{"inputMomentumVector", momentum}, {"inputVelocityVector", velocity}};
  if (maximumVelocity) states.push_back({"maximumVelocityVector", maximumVelocity});
  steps.add<Vector>({"inputGradientVector", gradient}, {"inputValuesVector", values}, states,
                    {"resultValuesVector", result});
  append(steps, maximumVelocity != nullptr);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& gradient,
                             const Ref<Matrix>& values, const Ref<Matrix>& momentum, const Ref<Matrix>& velocity,
                             const Ref<Matrix>& maximumVelocity, const Ref<Matrix>& result) {
  StepEncoder steps(*this, commandBuffer);
  std::vector<nn::Named<Matrix>> states{{"inputMomentumMatrix", momentum}, {"inputVelocityMatrix", velocity}};
  if (maximumVelocity) states.push_back({"maximumVelocityMatrix", maximumVelocity});
  steps.add<Matrix>({"inputGradientMatrix", gradient}, {"inputValuesMatrix", values}, states,
                    {"resultValuesMatrix", result});
  append(steps, maximumVelocity != nullptr);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                             const Ref<CNNConvolutionGradientState>& gradient,
                             const Ref<CNNConvolutionWeightsAndBiasesState>& source, const Vectors& momentum,
                             const Vectors& velocity, const Ref<CNNConvolutionWeightsAndBiasesState>& result) {
  encode(commandBuffer, gradient, source, momentum, velocity, {}, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                             const Ref<CNNConvolutionGradientState>& gradient,
                             const Ref<CNNConvolutionWeightsAndBiasesState>& source, const Vectors& momentum,
                             const Vectors& velocity, const Vectors& maximumVelocity,
                             const Ref<CNNConvolutionWeightsAndBiasesState>& result) {
  StepEncoder steps(*this, commandBuffer);
  VectorLists states{{"inputMomentumVectors", &momentum}, {"inputVelocityVectors", &velocity}};
  if (!maximumVelocity.empty()) states.emplace_back("maximumVelocityVectors", &maximumVelocity);
  steps.add(gradient, source, states, result);
  append(steps, !maximumVelocity.empty());
}

void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& state,
                             const Vectors& momentum, const Vectors& velocity,
                             const Ref<CNNNormalizationGammaAndBetaState>& result) {
  encode(commandBuffer, state, state, momentum, velocity, {}, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& state,
                             const Vectors& momentum, const Vectors& velocity, const Vectors& maximumVelocity,
                             const Ref<CNNNormalizationGammaAndBetaState>& result) {
  encode(commandBuffer, state, state, momentum, velocity, maximumVelocity, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                             const Ref<CNNBatchNormalizationState>& gradient,
                             const Ref<CNNBatchNormalizationState>& source, const Vectors& momentum,
                             const Vectors& velocity, const Ref<CNNNormalizationGammaAndBetaState>& result) {
  encode(commandBuffer, gradient, source, momentum, velocity, {}, result);
}
void NNOptimizerAdam::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                             const Ref<CNNBatchNormalizationState>& gradient,
                             const Ref<CNNBatchNormalizationState>& source, const Vectors& momentum,
                             const Vectors& velocity, const Vectors& maximumVelocity,
                             const Ref<CNNNormalizationGammaAndBetaState>& result) {
  StepEncoder steps(*this, commandBuffer);
  VectorLists states{{"inputMomentumVectors", &momentum}, {"inputVelocityVectors", &velocity}};
  if (!maximumVelocity.empty()) states.emplace_back("maximumVelocityVectors", &maximumVelocity);
  steps.add(gradient, source, states, result);
  append(steps, !maximumVelocity.empty());
}

}  // namespace kovar::MPS
