#include "kovar/MPS/NN/CNNNeuron.hpp"

#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::MPS {
namespace {

Ref<NNNeuronDescriptor> checked(const char* who, const Ref<NNNeuronDescriptor>& d) {
  if (!d)
    base::raise(std::string(who) +
                ": neuronDescriptor is null; make one with NNNeuronDescriptor::cnnNeuronDescriptor(type, ...)");
  const auto type = static_cast<std::int32_t>(d->neuronType());
  if (type < 0 || d->neuronType() >= CNNNeuronType::Count)
    base::raise(std::string(who) + ": neuron type " + std::to_string(type) + " is not a CNNNeuronType");
  if (d->neuronType() == CNNNeuronType::PReLU && d->data().empty())
    base::raise(std::string(who) +
                ": a PReLU without slopes; make its descriptor with cnnNeuronPReLUDescriptor(data, noCopy)");
  return d->copy();
}

rt::StorageRef uploadSlopes(const Ref<MTL::Device>& device, const NNNeuronDescriptor& d) {
  if (d.neuronType() != CNNNeuronType::PReLU) return nullptr;
  const std::vector<std::byte> bytes = d.data();
  return nn::uploadFloats(device, reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float));
}

/// The step for a descriptor: value in `x`, slopes in `slopes`, gradient in `g` (gradients only); result in register 0.
prim::EwStep neuronStep(const NNNeuronDescriptor& d, prim::EwOp op, std::uint8_t x, std::uint8_t slopes,
                        std::uint8_t g) {
  prim::EwStep s;
  s.op = op;
  s.a = x;
  s.b = slopes;
  s.c = g;
  s.code = static_cast<std::uint8_t>(d.neuronType());
  s.p = {d.a(), d.b(), d.c()};
  return s;
}

std::vector<nn::Tensor> slopeArgument(const std::string& who, const rt::StorageRef& slopes,
                                      const nn::Tensor& destination) {
  if (!slopes) return {};
  const std::size_t have = slopes->bytes() / sizeof(float);
  if (static_cast<std::int64_t>(have) < destination.c())
    base::raise(who + ": the PReLU has " + std::to_string(have) + " slopes, the source " +
                std::to_string(destination.c()) + " feature channels; give one slope per channel");
  return {nn::channelVector(slopes, destination.n(), destination.h(), destination.w(), destination.c())};
}

}  // namespace

CNNNeuron::CNNNeuron(const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& neuronDescriptor)
    : CNNKernel(device),
      descriptor_(checked("CNNNeuron", neuronDescriptor)),
      slopes_(uploadSlopes(device, *descriptor_)) {}

void CNNNeuron::moveSlopes() { slopes_ = uploadSlopes(device_, *descriptor_); }

void CNNNeuron::doEncode(nn::Call& call) {
  nn::encodePointwise(call, slopeArgument(described() + ".encode", slopes_, call.destination),
                      [&](prim::Program& p) { p.push(neuronStep(*descriptor_, prim::EwOp::Neuron, 0, 1, 0)); });
}

Ref<State> CNNNeuron::doResultState(const nn::StateRequest& request) { return nn::Access::plainGradientState(request); }

CNNNeuronGradient::CNNNeuronGradient(const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& neuronDescriptor)
    : CNNGradientKernel(device),
      descriptor_(checked("CNNNeuronGradient", neuronDescriptor)),
      slopes_(uploadSlopes(device, *descriptor_)) {}

Ref<Kernel> CNNNeuronGradient::doCopy(const Ref<MTL::Device>& device) {
  Ref<Kernel> copy = clone(*this, device);
  static_cast<CNNNeuronGradient&>(*copy).slopes_ = uploadSlopes(device, *descriptor_);
  return copy;
}

void CNNNeuronGradient::doEncode(nn::Call& call) {
  nn::encodePointwiseGradient(
      call, slopeArgument(described() + ".encode", slopes_, call.destination),
      [&](prim::Program& p) { p.push(neuronStep(*descriptor_, prim::EwOp::NeuronGrad, 1, 2, 0)); });
}

namespace {

Ref<NNNeuronDescriptor> make(CNNNeuronType type, float a = 0, float b = 0, float c = 0) {
  return NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b, c);
}

Ref<NNNeuronDescriptor> makePReLU(const float* a, std::size_t count) {
  if (!a || count == 0) base::raise("CNNNeuronPReLU: no slopes given; give one per feature channel");
  return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(a, count)), false);
}

using Type = CNNNeuronType;

}  // namespace

CNNNeuronLinear::CNNNeuronLinear(const Ref<MTL::Device>& device, float a, float b)
    : CNNNeuron(device, make(Type::Linear, a, b)) {}
CNNNeuronReLU::CNNNeuronReLU(const Ref<MTL::Device>& device, float a) : CNNNeuron(device, make(Type::ReLU, a)) {}
CNNNeuronPReLU::CNNNeuronPReLU(const Ref<MTL::Device>& device, const float* a, std::size_t count)
    : CNNNeuron(device, makePReLU(a, count)) {}
CNNNeuronSigmoid::CNNNeuronSigmoid(const Ref<MTL::Device>& device) : CNNNeuron(device, make(Type::Sigmoid)) {}
CNNNeuronHardSigmoid::CNNNeuronHardSigmoid(const Ref<MTL::Device>& device, float a, float b)
    : CNNNeuron(device, make(Type::HardSigmoid, a, b)) {}
CNNNeuronTanH::CNNNeuronTanH(const Ref<MTL::Device>& device, float a, float b)
    : CNNNeuron(device, make(Type::TanH, a, b)) {}
CNNNeuronAbsolute::CNNNeuronAbsolute(const Ref<MTL::Device>& device) : CNNNeuron(device, make(Type::Absolute)) {}
CNNNeuronSoftPlus::CNNNeuronSoftPlus(const Ref<MTL::Device>& device, float a, float b)
    : CNNNeuron(device, make(Type::SoftPlus, a, b)) {}
CNNNeuronSoftSign::CNNNeuronSoftSign(const Ref<MTL::Device>& device) : CNNNeuron(device, make(Type::SoftSign)) {}
CNNNeuronELU::CNNNeuronELU(const Ref<MTL::Device>& device, float a) : CNNNeuron(device, make(Type::ELU, a)) {}
CNNNeuronReLUN::CNNNeuronReLUN(const Ref<MTL::Device>& device, float a, float b)
    : CNNNeuron(device, make(Type::ReLUN, a, b)) {}
CNNNeuronPower::CNNNeuronPower(const Ref<MTL::Device>& device, float a, float b, float c)
    : CNNNeuron(device, make(Type::Power, a, b, c)) {}
CNNNeuronExponential::CNNNeuronExponential(const Ref<MTL::Device>& device, float a, float b, float c)
    : CNNNeuron(device, make(Type::Exponential, a, b, c)) {}
CNNNeuronLogarithm::CNNNeuronLogarithm(const Ref<MTL::Device>& device, float a, float b, float c)
    : CNNNeuron(device, make(Type::Logarithm, a, b, c)) {}

}  // namespace kovar::MPS
