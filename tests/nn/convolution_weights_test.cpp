// The weights of convolutions: loading, folding, export and reload in every order, states, copies.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "backend/cpu/backend.hpp"
#include "convolution_support.hpp"
#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
#include "runtime/access.hpp"
#include "runtime/device_registry.hpp"
#include "runtime/list_plan.hpp"

namespace kovar::test {
namespace {

/// What a 1 x 1 convolution of one channel makes of 1 and of 0: weight + bias, and bias.
struct Probe {
  Ref<MPS::Image> src, dst;
  Probe() {
    Tensor t(1, 1, 2, 1);
    t.v = {1, 0};
    src = imageOf(t);
    dst = imageOf(Tensor(1, 1, 2, 1));
  }
  void encode(MPS::CNNConvolution& kernel, const Ref<MTL::CommandBuffer>& commands) const {
    kernel.encode(commands, src, dst);
  }
  double weight() const { return tensorOf(*dst).v[0] - tensorOf(*dst).v[1]; }
  double bias() const { return tensorOf(*dst).v[1]; }
};

Ref<MPS::CNNConvolutionWeightsAndBiasesState> stateWith(float weight, float bias) {
  auto state = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(
      cpuDevice(), MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 1));
  std::memcpy(state->weights()->contents(), &weight, sizeof(weight));
  std::memcpy(state->biases()->contents(), &bias, sizeof(bias));
  return state;
}

// --- every order
// --------------------------------------------------------------------------------------------------------

// Kernels, copies of kernels and states change hands in random order, over several command buffers in flight; each
// encode must see what the calls before it left, whatever ran when.
TEST(ConvolutionWeights, EncodesSeeTheValuesOfTheirTime) {
  forCases(60, [&](Case& c) {
    Random& r = c.random;
    const bool folded = r.chance(0.4);
    struct Value {
      float weight = 0, bias = 0;
    };
    auto source = std::make_shared<AnySource>();
    source->biases = {1};
    if (folded) {
      const float mean = 1, variance = 3, gamma = 4, beta = 5;  // (x - 1) * 2 + 5
      source->described->setBatchNormalizationParametersForInference(&mean, &variance, &gamma, &beta, 1);
    }
    struct Kernel {
      Ref<MPS::CNNConvolution> object;
      Value value;
    };
    std::vector<Kernel> kernels{{std::make_shared<MPS::CNNConvolution>(cpuDevice(), source), {2, 1}}};
    std::vector<std::pair<Ref<MPS::CNNConvolutionWeightsAndBiasesState>, Value>> states;
    std::vector<std::pair<std::unique_ptr<Probe>, Value>> probes;
    std::vector<std::pair<std::unique_ptr<Probe>, Value>> sources;
    float next = 3;
    Ref<MTL::CommandBuffer> commands = cpuQueue()->commandBuffer(), last;
    for (int step = 0; step < 40; ++step) {
      Kernel& k = kernels[r.size(0, kernels.size() - 1)];
      switch (r.integer(0, 6)) {
        case 0:  // the data source has changed
          source->values = {next++};
          source->biases = {next++};
          k.object->reloadWeightsAndBiasesFromDataSource();
          k.value = {source->values[0], source->biases[0]};
          c.text += " host";
          break;
        case 1:
          states.emplace_back(stateWith(next, next + 1), Value{next, next + 1});
          next += 2;
          k.object->reloadWeightsAndBiases(commands, states.back().first);
          k.value = states.back().second;
          c.text += " device";
          break;
        case 2:
          states.emplace_back(k.object->exportWeightsAndBiases(commands, false), k.value);
          c.text += " export";
          break;
        case 3: {
          if (states.empty()) break;
          const auto& s = states[r.size(0, states.size() - 1)];
          k.object->reloadWeightsAndBiases(commands, s.first);
          k.value = s.second;
          c.text += " again";
          break;
        }
        case 4: {
          if (kernels.size() == 4) break;
          kernels.push_back({std::static_pointer_cast<MPS::CNNConvolution>(k.object->copy(nullptr)), k.value});
          c.text += " copy";
          break;
        }
        case 5:
          commands->commit();
          last = commands;
          commands = cpuQueue()->commandBuffer();
          c.text += " |";
          break;
        default:
          probes.emplace_back(std::make_unique<Probe>(), k.value);
          probes.back().first->encode(*k.object, commands);
          c.text += " run";
      }
    }
    commands->commit();
    commands->waitUntilCompleted();
    ASSERT_FALSE(commands->error()) << commands->error()->what();
    for (const auto& [probe, value] : probes) {
      EXPECT_EQ(probe->weight(), folded ? value.weight * 2 : value.weight);
      EXPECT_EQ(probe->bias(), folded ? (value.bias - 1) * 2 + 5 : value.bias);
    }
    for (const auto& [state, value] : states) {
      EXPECT_EQ(readFloats(state->weights())[0], value.weight) << "exported values are those before folding";
      EXPECT_EQ(readFloats(state->biases())[0], value.bias);
    }
  });
}

TEST(ConvolutionWeights, AGradientKernelHasValuesOfItsOwn) {
  auto source = std::make_shared<AnySource>();
  MPS::CNNConvolutionGradient backward(cpuDevice(), source);
  backward.setGradientOption(MPS::CNNConvolutionGradientOption::GradientWithData);
  const Probe probe;
  const auto gradientOf1 = [&](const std::function<void(const Ref<MTL::CommandBuffer>&)>& before) {
    runOnCpu([&](const auto& commands) {
      before(commands);
      backward.encode(commands, probe.src, probe.src, nullptr, probe.dst);
    });
    return probe.weight();
  };
  EXPECT_EQ(gradientOf1([](const auto&) {}), 2);
  source->values = {7};
  EXPECT_EQ(gradientOf1([](const auto&) {}), 2);
  backward.reloadWeightsAndBiasesFromDataSource();
  EXPECT_EQ(gradientOf1([](const auto&) {}), 7);
  EXPECT_EQ(gradientOf1([&](const auto& commands) { backward.reloadWeightsAndBiases(commands, stateWith(9, 0)); }), 9);
  const auto copy = std::static_pointer_cast<MPS::CNNConvolutionGradient>(backward.copy(nullptr));
  EXPECT_EQ(copy->gradientOption(), backward.gradientOption());
  EXPECT_EQ(copy->dataSource(), source) << "a source without copy() is shared";
}

TEST(ConvolutionWeights, SkippedReloadsChangeNothing) {
  for (const bool copied : {false, true}) {
    auto source = std::make_shared<AnySource>();
    auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
    Ref<MPS::Kernel> copy;
    if (copied) copy = kernel->copy(nullptr);
    const auto never = std::make_shared<MPS::Predicate>(cpuDevice());  // 0
    const Probe before, after;
    runOnCpu([&](const auto& commands) {
      const auto conditional = MPS::CommandBuffer::commandBuffer(commands);
      conditional->setPredicate(never);
      kernel->reloadWeightsAndBiases(conditional, stateWith(50, 60));
      conditional->setPredicate(nullptr);
      after.encode(*kernel, conditional);
    });
    EXPECT_EQ(after.weight(), 2);
    EXPECT_EQ(after.bias(), 0);
  }
}

// Export, step and reload of a training graph run in place: no copy is left.
TEST(ConvolutionWeights, AnUpdateOfExportedWeightsRunsInPlace) {
  auto source = std::make_shared<AnySource>();
  source->biases = {1};
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  auto sgd = std::make_shared<MPS::NNOptimizerStochasticGradientDescent>(cpuDevice(), 0.5f);
  const Probe probe;
  const auto gradient = kernel->resultState(probe.src, {}, probe.dst);
  const float one = 1;
  std::memcpy(gradient->gradientForWeights()->contents(), &one, sizeof(one));
  runOnCpu([&](const auto& commands) {
    const auto weights = kernel->exportWeightsAndBiases(commands, true);
    EXPECT_TRUE(weights->isTemporary());
    weights->setReadCount(2);
    sgd->encode(commands, gradient, weights, std::vector<Ref<MPS::Vector>>(), weights);
    EXPECT_EQ(weights->readCount(), 1u);
    kernel->reloadWeightsAndBiases(commands, weights);
    EXPECT_EQ(weights->readCount(), 0u);
    expectError([&] { kernel->reloadWeightsAndBiases(commands, weights); },
                {"reloadWeightsAndBiases: the state is used up"});
    const auto plan = rt::planList(*rt::Access::state(cpuDevice()), rt::Access::state(commands)->list());
    ASSERT_TRUE(plan.ok()) << plan.failure().text;
    EXPECT_EQ((*plan)->stats.encoded, 6u);
    EXPECT_EQ((*plan)->stats.run, 2u) << "one step for weights, one for biases";
  });
  runOnCpu([&](const auto& commands) { probe.encode(*kernel, commands); });
  EXPECT_EQ(probe.weight(), 1.5);
  EXPECT_EQ(probe.bias(), 1);
}

TEST(ConvolutionWeights, ReloadsWhileAnotherThreadEncodes) {
  auto source = std::make_shared<AnySource>();
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  std::thread handler([&] {
    for (int i = 0; i < 200; ++i) kernel->reloadWeightsAndBiasesFromDataSource();
  });
  const Probe probe;
  for (int i = 0; i < 50; ++i) {
    runOnCpu([&](const auto& commands) { probe.encode(*kernel, commands); });
    EXPECT_EQ(probe.weight(), 2);
  }
  handler.join();
}

// --- loading
// --------------------------------------------------------------------------------------------------------------

TEST(ConvolutionWeights, LoadsOnceAndPurgesWhatItLoaded) {
  auto source = std::make_shared<AnySource>();
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  EXPECT_EQ(kernel->label(), "layer");
  EXPECT_EQ(source->loaded, 1);
  EXPECT_EQ(source->purged, 1);
  kernel->reloadWeightsAndBiases(Ref<MPS::CNNConvolutionDataSource>());
  EXPECT_EQ(source->loaded, 2);
  EXPECT_EQ(source->purged, 2);
  source->loads = false;
  expectError(
      [&] { kernel->reloadWeightsAndBiasesFromDataSource(); },
      {"CNNConvolution \"layer\".reloadWeightsAndBiasesFromDataSource: the data source's load() returned false"});
  expectError([&] { MPS::CNNConvolution(cpuDevice(), source); },
              {"CNNConvolution: the data source's load() returned false", "return true"});
  EXPECT_EQ(source->purged, 2);
}

TEST(ConvolutionWeights, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::function<void(AnySource&)>& change, const std::vector<std::string>& texts) {
    auto source = std::make_shared<AnySource>();
    change(*source);
    expectError([&] { MPS::CNNConvolution(cpuDevice(), source); }, texts);
    EXPECT_EQ(source->loaded, source->purged) << texts[0];
  };
  const std::string who = "CNNConvolution \"layer\": ";
  const auto refused8 = [&](MPS::CNNWeightsQuantizationType quantization, const std::string& text) {
    refused(
        [&](AnySource& s) {
          s.type = MPS::DataType::UInt8;
          s.codes = {7};
          s.quantization = quantization;
        },
        {who + text});
  };
  refused8(MPS::CNNWeightsQuantizationType::None,
           "the data source's dataType() is UInt8 and nothing says what the codes stand for; return "
           "rangesForUInt8Kernel() or lookupTableForUInt8Kernel()");
  refused8(MPS::CNNWeightsQuantizationType::Linear,
           "weightsQuantizationType() is Linear and rangesForUInt8Kernel() is null");
  refused8(MPS::CNNWeightsQuantizationType::LookupTable,
           "weightsQuantizationType() is LookupTable and lookupTableForUInt8Kernel() is null");
  refused([](AnySource& s) { s.type = MPS::DataType::UInt32; }, {who + "the data source's dataType() is UInt32"});
  refused([](AnySource& s) { s.withWeights = false; }, {who + "the data source's weights() is null after load()"});
  refused([](AnySource& s) { s.described = nullptr; }, {who + "the data source's descriptor() is null"});
  const auto descriptor = [&](const std::function<void(MPS::CNNConvolutionDescriptor&)>& change,
                              const std::string& text) {
    refused([&](AnySource& s) { change(*s.described); }, {who + text});
  };
  descriptor([](auto& d) { d.setKernelWidth(0); }, "the descriptor's kernelWidth is 0; it must be at least 1");
  descriptor([](auto& d) { d.setKernelHeight(0); }, "the descriptor's kernelHeight is 0");
  descriptor([](auto& d) { d.setStrideInPixelsX(0); }, "the descriptor's strideInPixelsX is 0");
  descriptor([](auto& d) { d.setStrideInPixelsY(0); }, "the descriptor's strideInPixelsY is 0");
  descriptor([](auto& d) { d.setDilationRateX(0); }, "the descriptor's dilationRateX is 0");
  descriptor([](auto& d) { d.setDilationRateY(0); }, "the descriptor's dilationRateY is 0");
  descriptor([](auto& d) { d.setInputFeatureChannels(0); }, "the descriptor's inputFeatureChannels is 0");
  descriptor([](auto& d) { d.setOutputFeatureChannels(0); }, "the descriptor's outputFeatureChannels is 0");
  descriptor([](auto& d) { d.setGroups(0); }, "the descriptor's groups is 0");
  descriptor([](auto& d) { d.setKernelWidth(std::size_t{1} << 60); },
             "the descriptor's kernelWidth is 1152921504606846976; it must be at least 1 and at most 16777216");
  descriptor(
      [](auto& d) {
        for (auto set :
             {&MPS::CNNConvolutionDescriptor::setKernelWidth, &MPS::CNNConvolutionDescriptor::setKernelHeight,
              &MPS::CNNConvolutionDescriptor::setInputFeatureChannels,
              &MPS::CNNConvolutionDescriptor::setOutputFeatureChannels})
          (d.*set)(std::size_t{1} << 24);
      },
      "the descriptor asks for more weights than any memory holds");
  descriptor(
      [](auto& d) {
        d.setKernelWidth(3);
        d.setDilationRateX(std::size_t{1} << 24);
      },
      "the dilated window of 3 taps, 16777216 apart along x, is larger than any image");
  descriptor(
      [](auto& d) {
        d.setInputFeatureChannels(8);
        d.setOutputFeatureChannels(6);
        d.setGroups(2);
      },
      "6 outputFeatureChannels in 2 groups; with more than one group each must have a multiple of 4 channels");
  descriptor(
      [](auto& d) {
        d.setInputFeatureChannels(9);
        d.setOutputFeatureChannels(8);
        d.setGroups(2);
      },
      "9 inputFeatureChannels in 2 groups");
  descriptor(
      [](auto& d) {
        const float v = 1;
        d.setBatchNormalizationParametersForInference(&v, &v, nullptr, nullptr, 0);
        d.setOutputFeatureChannels(4);
      },
      "batch normalisation was set for 1 output channels, the descriptor now has 4; set it after "
      "outputFeatureChannels");
  descriptor(
      [](auto& d) {
        const float v = 1;
        d.setNeuronToPReLU(std::as_bytes(std::span(&v, 1)));
        d.setOutputFeatureChannels(4);
      },
      "the PReLU has 1 slopes for 4 output channels");

  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 2);
  const float two[2] = {1, 2};
  expectError(
      [&] {
        d->setFusedNeuronDescriptor(
            MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(two)), false));
      },
      {"CNNConvolutionDescriptor.fusedNeuronDescriptor: a PReLU has one slope per output channel; use "
       "setNeuronToPReLU"});
  expectError([&] { d->setNeuronToPReLU(std::as_bytes(std::span(two, 1))); },
              {"setNeuronToPReLU: 4 bytes of slopes for 2 output channels"});
  expectError([&] { d->setBatchNormalizationParametersForInference(two, nullptr, nullptr, nullptr, 0); },
              {"variance is null"});
  expectError([&] { MPS::CNNConvolution(nullptr, std::make_shared<AnySource>()); }, {"CNNConvolution: device is null"});
  expectError([&] { MPS::CNNConvolution(cpuDevice(), nullptr); }, {"CNNConvolution: weights is null"});
  expectError([&] { MPS::CNNConvolution(cpuDevice(), d, nullptr, nullptr, MPS::CNNConvolutionFlags::None); },
              {"CNNConvolution: kernelWeights is null"});

  auto source = std::make_shared<AnySource>();
  MPS::CNNConvolution kernel(cpuDevice(), source);
  source->described->setKernelWidth(2);
  expectError([&] { kernel.reloadWeightsAndBiasesFromDataSource(); },
              {"the data source's descriptor has other sizes than when the kernel was made"});
}

TEST(ConvolutionWeights, RefusesEncodesThatCannotWork) {
  Random r(5);
  oracle::Conv conv;
  conv.inputChannels = 5, conv.outputChannels = 6;
  auto kernel = convolution(conv, std::vector<double>(conv.weightCount()), {});
  const auto commands = cpuQueue()->commandBuffer();
  const auto src = imageOf(Tensor(1, 4, 4, 5)), dst = imageOf(Tensor(1, 4, 4, 6));
  expectError([&] { kernel->encode(commands, imageOf(Tensor(1, 4, 4, 4)), dst); },
              {"CNNConvolution.encode: the source gives 4 feature channels, 5 are needed"});
  expectError([&] { kernel->encode(commands, src, imageOf(Tensor(1, 4, 4, 5))); },
              {"CNNConvolution.encode: the destination has 5 feature channels, the kernel writes 6"});
  kernel->setSourceFeatureChannelMaxCount(3);
  expectError([&] { kernel->encode(commands, src, dst); }, {"the source gives 3 feature channels, 5 are needed"});
  kernel->setSourceFeatureChannelMaxCount(100);
  kernel->setOffset({std::ptrdiff_t{1} << 40, 0, 0});
  expectError([&] { kernel->encode(commands, src, dst); }, {"an offset of 1099511627776 pixels lies beyond any image"});
  kernel->setOffset({});
  kernel->setEdgeMode(MPS::ImageEdgeMode::Mirror);
  expectError([&] { kernel->encode(commands, src, dst); }, {"edge mode 2 is not one this kernel knows"});
  EXPECT_TRUE(rt::Access::state(commands)->list().ops.empty()) << "nothing may be left behind";
  kernel->setEdgeMode(MPS::ImageEdgeMode::Zero);
  kernel->encode(commands, src, dst);  // sound again
}

TEST(ConvolutionWeights, TakesHalfWeights) {
  auto source = std::make_shared<AnySource>();
  source->type = MPS::DataType::Float16;
  source->halves = {oracle::toHalfBits(0.2)};
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  const Probe probe;
  runOnCpu([&](const auto& commands) { probe.encode(*kernel, commands); });
  EXPECT_EQ(probe.weight(), oracle::roundToHalf(0.2));
}

// KOVAR_STRICT_FORMATS=1 keeps weights as the original does.
TEST(ConvolutionWeights, StrictFormatsRoundWeightsToHalf) {
  setenv("KOVAR_STRICT_FORMATS", "1", 1);
  const auto device = rt::makeUnlistedDevice("strict", cpu::makeCpuBackend(1));
  unsetenv("KOVAR_STRICT_FORMATS");
  const auto queue = device->newCommandQueue();
  const auto weightOf = [&](MPS::CNNConvolution& kernel, const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& reload) {
    const auto commands = queue->commandBuffer();
    if (reload) kernel.reloadWeightsAndBiases(commands, reload);
    const auto state = kernel.exportWeightsAndBiases(commands, false);
    const auto d = descriptorFor(Tensor(1, 1, 1, 1), Format::Float32, 1);
    const auto src = std::make_shared<MPS::Image>(device, d), dst = std::make_shared<MPS::Image>(device, d);
    writeImage(*src, Tensor(1, 1, 1, 1, 1.0), Format::Float32, 0, 0);
    kernel.encode(commands, src, dst);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_FALSE(commands->error());
    return std::pair{tensorOf(*dst).v[0], static_cast<double>(readFloats(state->weights())[0])};
  };
  const double third = static_cast<double>(1.f / 3), half = oracle::roundToHalf(third),
               fifth = static_cast<double>(0.2f), halfFifth = oracle::roundToHalf(fifth);
  for (const bool folded : {false, true})
    for (const auto precision : {MPS::DataType::Float16, MPS::DataType::Float32}) {
      auto source = std::make_shared<AnySource>();
      source->values = {1.f / 3};
      source->precision = precision;
      const float zero = 0, one = 1;
      if (folded) source->described->setBatchNormalizationParametersForInference(&zero, &one, nullptr, nullptr, 0);
      MPS::CNNConvolution kernel(device, source);
      const bool rounds = precision == MPS::DataType::Float16;
      EXPECT_EQ(weightOf(kernel, nullptr), (std::pair{rounds ? half : third, rounds && !folded ? half : third}));
      auto state = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(device, source->described);
      *static_cast<float*>(state->weights()->contents()) = 0.2f;
      EXPECT_EQ(weightOf(kernel, state),
                (std::pair{rounds ? halfFifth : fifth, rounds && !folded ? halfFifth : fifth}));
    }
  auto source = std::make_shared<AnySource>();
  source->values = {1.f / 3};
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  const Probe probe;
  runOnCpu([&](const auto& commands) { probe.encode(*kernel, commands); });
  // Rounding to half would move it by 8e-5; sums on tensor cores may leave out a float's last bit.
  EXPECT_NEAR(probe.weight(), third, 1e-7) << "not strict: as given";
}

// --- copies and states
// ------------------------------------------------------------------------------------------------------

TEST(ConvolutionWeights, CopiesOfKernelsStandAlone) {
  auto source = std::make_shared<AnySource>();
  source->copied = std::make_shared<AnySource>();
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  kernel->setOffset({1, 0, 0});
  kernel->setLabel("mine");
  const auto copy = std::dynamic_pointer_cast<MPS::CNNConvolution>(kernel->copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(source->copies, 1);
  EXPECT_EQ(copy->dataSource(), source->copied);
  EXPECT_EQ(copy->offset().x, 1);
  EXPECT_EQ(copy->label(), "mine");
  EXPECT_EQ(source->copied->loaded, 0) << "on the same device the values are taken over";
  const auto elsewhere = std::dynamic_pointer_cast<MPS::CNNConvolution>(kernel->copy(otherDevice()));
  ASSERT_TRUE(elsewhere);
  EXPECT_EQ(elsewhere->device(), otherDevice());
  EXPECT_EQ(source->copied->loaded, 1);
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { elsewhere->reloadWeightsAndBiases(commands, stateWith(1, 1)); },
              {"belongs to another device than the kernel's, null"});
  expectError([&] { elsewhere->exportWeightsAndBiases(commands, true); },
              {"the kernel belongs to device null, the command buffer to " + cpuDevice()->identifier()});
}

TEST(ConvolutionWeights, WithoutBiasesNoneAreExported) {
  auto source = std::make_shared<AnySource>();
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  const Probe probe;
  runOnCpu([&](const auto& commands) {
    EXPECT_FALSE(kernel->exportWeightsAndBiases(commands, false)->biases());
    kernel->reloadWeightsAndBiases(commands, stateWith(3, 4));
    EXPECT_TRUE(kernel->exportWeightsAndBiases(commands, false)->biases());
    const auto weights = cpuDevice()->newBuffer(4);
    *static_cast<float*>(weights->contents()) = 5;
    kernel->reloadWeightsAndBiases(commands,
                                   std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(weights, nullptr));
    probe.encode(*kernel, commands);
  });
  EXPECT_EQ(probe.weight(), 5);
  EXPECT_EQ(probe.bias(), 4) << "a state without biases leaves them alone";
}

TEST(ConvolutionWeights, StatesLieWhereTheirOffsetsSay) {
  oracle::Conv conv;
  conv.inputChannels = 2, conv.outputChannels = 3, conv.kernelWidth = conv.kernelHeight = 1;
  auto d = descriptorOf(conv);
  const auto buffer = cpuDevice()->newBuffer(64);
  auto* p = static_cast<float*>(buffer->contents());
  for (int i = 0; i < 16; ++i) p[i] = static_cast<float>(i);
  const auto state = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(buffer, 16, buffer, 48, d);
  EXPECT_EQ(state->weightsOffset(), 16u);
  EXPECT_EQ(state->biasesOffset(), 48u);
  EXPECT_EQ(state->weights(), buffer);
  EXPECT_EQ(state->biases(), buffer);
  EXPECT_FALSE(state->isTemporary());
  auto kernel = convolution(conv, std::vector<double>(6), std::vector<double>(3));
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> out;
  runOnCpu([&](const auto& commands) {
    kernel->reloadWeightsAndBiases(commands, state);
    out = kernel->exportWeightsAndBiases(commands, false);
  });
  EXPECT_EQ(readFloats(out->weights()), (std::vector<float>{4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(readFloats(out->biases()), (std::vector<float>{12, 13, 14}));

  using State = MPS::CNNConvolutionWeightsAndBiasesState;
  const std::string who = "CNNConvolutionWeightsAndBiasesState: ";
  expectError([&] { State(nullptr, buffer); }, {who + "weights is null; only biases may be"});
  expectError([&] { State(buffer, 2, buffer, 0, d); },
              {who + "weightsOffset 2 with 24 bytes of weights behind it in a buffer of 64 bytes", "multiple of 4"});
  expectError([&] { State(buffer, 44, buffer, 0, d); }, {"weightsOffset 44"});
  expectError([&] { State(buffer, 0, buffer, 56, d); }, {"biasesOffset 56 with 12 bytes"});
  expectError([&] { State(buffer, 0, buffer, 0, nullptr); }, {who + "cnnConvolutionDescriptor is null"});
  expectError([&] { State(buffer, otherDevice()->newBuffer(12)); },
              {who + "weights and biases belong to different devices"});
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { kernel->reloadWeightsAndBiases(commands, std::make_shared<State>(buffer, nullptr)); },
              {"the state has 64 bytes of weights, the kernel 24"});
  const auto weights = cpuDevice()->newBuffer(24), biases = cpuDevice()->newBuffer(8);
  expectError([&] { kernel->reloadWeightsAndBiases(commands, std::make_shared<State>(weights, biases)); },
              {"the state has 8 bytes of biases, the kernel 12"});
  expectError([&] { kernel->reloadWeightsAndBiases(commands, nullptr); },
              {"CNNConvolution.reloadWeightsAndBiases: state is null"});
  expectError([&] { kernel->reloadWeightsAndBiases(nullptr, state); }, {"commandBuffer is null"});
  expectError([&] { kernel->exportWeightsAndBiases(nullptr, true); },
              {"CNNConvolution.exportWeightsAndBiases: commandBuffer is null"});
  const auto temporary = State::temporaryCNNConvolutionWeightsAndBiasesState(commands, d);
  EXPECT_TRUE(temporary->isTemporary());
  EXPECT_EQ(temporary->readCount(), 1u);
  EXPECT_EQ(temporary->bufferSize(0), 24u);
  EXPECT_EQ(temporary->bufferSize(1), 12u);
}

}  // namespace
}  // namespace kovar::test
