// NNNeuronDescriptor, the properties of CNNNeuron, and the classes of one function each.

#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"

#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "nn_case.hpp"
#include "oracle/neuron.hpp"

namespace kovar::test {
namespace {

using Descriptor = MPS::NNNeuronDescriptor;
using Type = MPS::CNNNeuronType;

void expectParameters(const Descriptor& d, Type type, float a, float b, float c) {
  EXPECT_EQ(d.neuronType(), type);
  EXPECT_EQ(d.a(), a);
  EXPECT_EQ(d.b(), b);
  EXPECT_EQ(d.c(), c);
}

TEST(NeuronDescriptor, WhatIsNotGivenIsPlain) {
  for (int i = 0; i < oracle::kNeuronTypeCount; ++i) {
    const oracle::Neuron plain = oracle::Neuron::plain(static_cast<oracle::NeuronType>(i));
    SCOPED_TRACE(plain.name());
    const auto type = static_cast<Type>(i);
    const auto a = static_cast<float>(plain.a), b = static_cast<float>(plain.b), c = static_cast<float>(plain.c);
    expectParameters(*Descriptor::cnnNeuronDescriptor(type), type, a, b, c);
    expectParameters(*Descriptor::cnnNeuronDescriptor(type, 7), type, 7, b, c);
    expectParameters(*Descriptor::cnnNeuronDescriptor(type, 7, 8), type, 7, 8, c);
    expectParameters(*Descriptor::cnnNeuronDescriptor(type, 7, 8, 9), type, 7, 8, 9);
    EXPECT_TRUE(Descriptor::cnnNeuronDescriptor(type)->data().empty());
  }
}

TEST(NeuronDescriptor, NumbersAreTheDocumentedOnes) {
  EXPECT_EQ(static_cast<int>(Type::Count), oracle::kNeuronTypeCount);
  EXPECT_EQ(static_cast<int>(Type::PReLU), 10);
  EXPECT_EQ(static_cast<int>(Type::GeLU), 15);
}

TEST(NeuronDescriptor, EveryPropertyIsReadWriteAndCopied) {
  const auto d = Descriptor::cnnNeuronDescriptor(Type::ReLU, 0.5f);
  d->setNeuronType(Type::Power);
  d->setA(2);
  d->setB(3);
  d->setC(4);
  const std::vector<float> slopes{1, 2};
  d->setData(std::as_bytes(std::span(slopes)));
  const auto copy = d->copy();
  d->setA(9);
  d->setData({});
  expectParameters(*copy, Type::Power, 2, 3, 4);
  EXPECT_EQ(copy->data().size(), sizeof(float) * 2);
}

TEST(NeuronDescriptor, AKernelKeepsWhatTheDescriptorHeldWhenItWasMade) {
  const auto d = Descriptor::cnnNeuronDescriptor(Type::Linear, 2, 1);
  MPS::CNNNeuron kernel(cpuDevice(), d);
  MPS::CNNNeuronGradient gradient(cpuDevice(), d);
  d->setA(100);
  d->setNeuronType(Type::Sigmoid);
  EXPECT_EQ(kernel.a(), 2);
  EXPECT_EQ(gradient.a(), 2);
  EXPECT_EQ(gradient.b(), 1);
  EXPECT_EQ(gradient.c(), 0);
  EXPECT_EQ(gradient.neuronType(), Type::Linear);
  const auto y = imageOf(Tensor(1, 1, 1, 1));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(Tensor(1, 1, 1, 1, 3.0)), y); });
  EXPECT_EQ(tensorOf(*y).v[0], 7);
}

TEST(NeuronDescriptor, ErrorsTellWhatIsWrong) {
  expectError([] { Descriptor::cnnNeuronDescriptor(static_cast<Type>(16)); },
              {"NNNeuronDescriptor.cnnNeuronDescriptor", "type 16 is not a CNNNeuronType"});
  expectError([] { Descriptor::cnnNeuronDescriptor(static_cast<Type>(-1), 1, 2, 3); }, {"type -1"});
  expectError([] { Descriptor::cnnNeuronPReLUDescriptor({}, false); }, {"0 bytes of slopes", "one float32"});
  const std::byte five[5] = {};
  expectError([&] { Descriptor::cnnNeuronPReLUDescriptor(five, false); }, {"5 bytes of slopes"});
  expectError([] { MPS::CNNNeuron(cpuDevice(), nullptr); }, {"CNNNeuron: neuronDescriptor is null"});
  expectError([] { MPS::CNNNeuronGradient(cpuDevice(), nullptr); }, {"CNNNeuronGradient: neuronDescriptor is null"});
  expectError([] { MPS::CNNNeuron(nullptr, Descriptor::cnnNeuronDescriptor(Type::ReLU)); }, {"device is null"});
  expectError([] { MPS::CNNNeuron(cpuDevice(), Descriptor::cnnNeuronDescriptor(Type::PReLU)); },
              {"a PReLU without slopes", "cnnNeuronPReLUDescriptor"});
  const auto odd = Descriptor::cnnNeuronDescriptor(Type::ReLU);
  odd->setNeuronType(static_cast<Type>(99));
  expectError([&] { MPS::CNNNeuron(cpuDevice(), odd); }, {"neuron type 99 is not a CNNNeuronType"});
  expectError([] { MPS::CNNNeuronPReLU(cpuDevice(), nullptr, 3); }, {"CNNNeuronPReLU: no slopes given"});
}

TEST(NeuronDescriptor, ClassesOfOneFunctionAreTheFunction) {
  const auto& d = cpuDevice();
  const auto sameAs = [&](const Ref<MPS::CNNNeuron>& kernel, Type type, float a = 0, float b = 0, float c = 0) {
    SCOPED_TRACE(static_cast<int>(type));
    EXPECT_EQ(kernel->neuronType(), type);
    EXPECT_EQ(kernel->a(), a);
    EXPECT_EQ(kernel->b(), b);
    EXPECT_EQ(kernel->c(), c);
    Random r(static_cast<std::uint64_t>(type) + 1);
    const Tensor x = randomTensor(r, 1, 2, 3, 2, {0.1, 3, false});
    const auto one = imageOf(x), y = imageOf(x);
    const std::vector<std::byte> slopes = kernel->data();
    MPS::CNNNeuron plain(d, slopes.empty() ? Descriptor::cnnNeuronDescriptor(type, a, b, c)
                                           : Descriptor::cnnNeuronPReLUDescriptor(slopes, false));
    const auto wanted = imageOf(x);
    runOnCpu([&](const auto& buffer) {
      kernel->encode(buffer, one, y);
      plain.encode(buffer, one, wanted);
    });
    EXPECT_EQ(tensorOf(*y).v, tensorOf(*wanted).v);
  };
  sameAs(std::make_shared<MPS::CNNNeuronLinear>(d, 2.f, 3.f), Type::Linear, 2, 3);
  sameAs(std::make_shared<MPS::CNNNeuronReLU>(d, 2.f), Type::ReLU, 2);
  sameAs(std::make_shared<MPS::CNNNeuronSigmoid>(d), Type::Sigmoid);
  sameAs(std::make_shared<MPS::CNNNeuronHardSigmoid>(d, 2.f, 3.f), Type::HardSigmoid, 2, 3);
  sameAs(std::make_shared<MPS::CNNNeuronTanH>(d, 2.f, 3.f), Type::TanH, 2, 3);
  sameAs(std::make_shared<MPS::CNNNeuronAbsolute>(d), Type::Absolute);
  sameAs(std::make_shared<MPS::CNNNeuronSoftPlus>(d, 2.f, 3.f), Type::SoftPlus, 2, 3);
  sameAs(std::make_shared<MPS::CNNNeuronSoftSign>(d), Type::SoftSign);
  sameAs(std::make_shared<MPS::CNNNeuronELU>(d, 2.f), Type::ELU, 2);
  sameAs(std::make_shared<MPS::CNNNeuronReLUN>(d, 2.f, 3.f), Type::ReLUN, 2, 3);
  sameAs(std::make_shared<MPS::CNNNeuronPower>(d, 2.f, 3.f, 4.f), Type::Power, 2, 3, 4);
  sameAs(std::make_shared<MPS::CNNNeuronExponential>(d, 2.f, 3.f, 4.f), Type::Exponential, 2, 3, 4);
  sameAs(std::make_shared<MPS::CNNNeuronLogarithm>(d, 2.f, 3.f, 4.f), Type::Logarithm, 2, 3, 4);
  const float slopes[] = {1.f, 2.f};
  sameAs(std::make_shared<MPS::CNNNeuronPReLU>(d, slopes, 2), Type::PReLU);
  // They take a descriptor as well, as their base does.
  EXPECT_EQ(MPS::CNNNeuronReLU(d, Descriptor::cnnNeuronDescriptor(Type::ReLU, 0.25f)).a(), 0.25f);
}

TEST(NeuronDescriptor, CopiesOfKernelsAreIndependent) {
  const float slopes[] = {2.f};
  MPS::CNNNeuronPReLU original(cpuDevice(), slopes, 1);
  original.setLabel("first");
  original.setOffset({1, 0, 0});
  const auto copy = std::dynamic_pointer_cast<MPS::CNNNeuron>(original.copy(nullptr));
  ASSERT_TRUE(copy);
  original.setOffset({0, 0, 0});
  EXPECT_EQ(copy->offset().x, 1);
  EXPECT_EQ(copy->label(), "first");
  EXPECT_EQ(copy->device(), cpuDevice());
  EXPECT_EQ(copy->data(), original.data());
  Tensor x(1, 1, 2, 1);
  x.v = {-1, -3};
  const auto y = imageOf(Tensor(1, 1, 1, 1));
  runOnCpu([&](const auto& buffer) { copy->encode(buffer, imageOf(x), y); });
  EXPECT_EQ(tensorOf(*y).v[0], -6);
}

}  // namespace
}  // namespace kovar::test
