#include <string>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "maths/neuron.hpp"

namespace kovar::MPS {
namespace {

maths::NeuronParams plain(CNNNeuronType type) {
  const auto number = static_cast<std::int32_t>(type);
  if (number < 0 || type >= CNNNeuronType::Count)
    base::raise("NNNeuronDescriptor.cnnNeuronDescriptor: type " + std::to_string(number) +
                " is not a CNNNeuronType; use one of its names");
  return maths::plainNeuron(static_cast<maths::NeuronType>(number));
}

}  // namespace

Ref<NNNeuronDescriptor> NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType type) {
  const maths::NeuronParams p = plain(type);
  return cnnNeuronDescriptor(type, p.a, p.b, p.c);
}
Ref<NNNeuronDescriptor> NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType type, float a) {
  const maths::NeuronParams p = plain(type);
  return cnnNeuronDescriptor(type, a, p.b, p.c);
}
Ref<NNNeuronDescriptor> NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType type, float a, float b) {
  return cnnNeuronDescriptor(type, a, b, plain(type).c);
}
Ref<NNNeuronDescriptor> NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType type, float a, float b, float c) {
  plain(type);
  return Ref<NNNeuronDescriptor>(new NNNeuronDescriptor(type, a, b, c));
}

Ref<NNNeuronDescriptor> NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::span<const std::byte> data, bool) {
  if (data.empty() || data.size() % sizeof(float) != 0)
    base::raise("NNNeuronDescriptor.cnnNeuronPReLUDescriptor: " + std::to_string(data.size()) +
                " bytes of slopes; give one float32 (4 bytes) per feature channel");
  auto d = cnnNeuronDescriptor(CNNNeuronType::PReLU, 0, 0, 0);
  d->setData(data);
  return d;
}

Ref<NNNeuronDescriptor> NNNeuronDescriptor::copy() const {
  return Ref<NNNeuronDescriptor>(new NNNeuronDescriptor(*this));
}

}  // namespace kovar::MPS
