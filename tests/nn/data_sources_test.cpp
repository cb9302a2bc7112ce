// Ready-made data sources: memory and safetensors.

#include <gtest/gtest.h>

#include <cstdint>

#include "base/io/safetensors.hpp"
#include "convolution_support.hpp"
#include "unit/io/temporary_folder.hpp"

namespace kovar::test {
namespace {

using base::io::SafetensorsWriter;
using base::io::TemporaryFolder;

Ref<MPS::CNNConvolutionDescriptor> descriptor(std::size_t width, std::size_t height, std::size_t inputs,
                                              std::size_t outputs) {
  return MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(width, height, inputs, outputs);
}

std::vector<float> loaded(MPS::CNNConvolutionDataSource& source, std::size_t count) {
  EXPECT_TRUE(source.load());
  const auto* p = static_cast<const float*>(source.weights());
  std::vector<float> values(p, p + count);
  source.purge();
  return values;
}

TEST(DataSources, MemoryHoldsWhatItWasGiven) {
  auto d = descriptor(2, 1, 1, 2);
  auto source =
      std::make_shared<ConvolutionWeights>(d, std::vector<float>{1, 2, 3, 4}, std::vector<float>{5, 6}, "conv");
  d->setKernelWidth(9);  // a copy was taken
  EXPECT_EQ(source->descriptor()->kernelWidth(), 2u);
  EXPECT_EQ(source->label(), "conv");
  EXPECT_EQ(loaded(*source, 4), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(source->biasTerms()[1], 6.f);
  const auto copy = source->copy(nullptr);
  source->weightValues()[0] = 9;
  source->biasValues()[0] = 7;
  EXPECT_EQ(loaded(*source, 1)[0], 9.f);
  EXPECT_EQ(source->biasTerms()[0], 7.f);
  EXPECT_EQ(loaded(*copy, 1)[0], 1.f);
  EXPECT_EQ(ConvolutionWeights(descriptor(1, 1, 1, 1), {1}).biasTerms(), nullptr);
}

TEST(DataSources, MemoryRefusesWrongCounts) {
  expectError([] { ConvolutionWeights(descriptor(2, 3, 4, 5), std::vector<float>(7), {}, "conv"); },
              {"ConvolutionWeights \"conv\": 7 weights given, the descriptor needs 120 (output channels 5 x height 3 x "
               "width 2 x input channels of a group 4)"});
  expectError([] { ConvolutionWeights(descriptor(1, 1, 1, 5), std::vector<float>(5), std::vector<float>(4)); },
              {"ConvolutionWeights: 4 biases given for 5 output channels; give one for each, or none"});
  expectError([] { ConvolutionWeights(nullptr, {}); }, {"ConvolutionWeights: descriptor is null"});
}

class Safetensors : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_.file("model.safetensors");
  // [output 2][input 3][height 1][width 2]: each value names its place
  const std::vector<float> oihw_{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121};
  const std::vector<float> ohwi_{0, 10, 20, 1, 11, 21, 100, 110, 120, 101, 111, 121};
  const std::vector<float> bias_{7, 8};

  Ref<SafetensorsFile> file(const std::function<void(SafetensorsWriter&)>& more = {}) {
    SafetensorsWriter writer;
    EXPECT_TRUE(writer.add("conv.weight", {2, 3, 1, 2}, std::span<const float>(oihw_)).ok());
    EXPECT_TRUE(writer.add("conv.bias", {2}, std::span<const float>(bias_)).ok());
    EXPECT_TRUE(writer.add("native", {2, 1, 2, 3}, std::span<const float>(ohwi_)).ok());
    EXPECT_TRUE(writer.add("linear", {2, 6}, std::span<const float>(oihw_)).ok());
    if (more) more(writer);
    EXPECT_TRUE(writer.save(path_).ok());
    return std::make_shared<SafetensorsFile>(path_);
  }
};

TEST_F(Safetensors, ReadsWeightsOfEitherOrder) {
  using Source = SafetensorsConvolutionWeights;
  const auto f = file();
  EXPECT_TRUE(f->contains("native"));
  EXPECT_FALSE(f->contains("nothing"));
  EXPECT_EQ(f->tensorNames().size(), 4u);
  EXPECT_EQ(f->shape("linear"), (std::vector<std::size_t>{2, 6}));
  const auto d = descriptor(2, 1, 3, 2);
  Source torch(f, d, "conv.weight", "conv.bias"), native(f, d, "native", "", Source::Layout::OHWI),
      linear(f, d, "linear");
  EXPECT_EQ(loaded(torch, 12), ohwi_);
  EXPECT_EQ(loaded(native, 12), ohwi_);
  EXPECT_EQ(loaded(linear, 12), ohwi_);
  EXPECT_EQ(loaded(*torch.copy(nullptr), 12), ohwi_);
  EXPECT_EQ(torch.label(), "conv.weight");
  EXPECT_EQ(native.biasTerms(), nullptr);
  EXPECT_EQ(torch.biasTerms(), nullptr) << "dropped by purge";
  // Two kernels may hold it loaded at once.
  torch.load();
  torch.load();
  torch.purge();
  EXPECT_EQ(torch.biasTerms()[1], 8.f);
  torch.purge();
  EXPECT_EQ(torch.biasTerms(), nullptr);
}

TEST_F(Safetensors, ReadsHalves) {
  const std::vector<std::uint16_t> halves{oracle::toHalfBits(0.2), oracle::toHalfBits(-3)};
  const auto f = file([&](SafetensorsWriter& w) {
    EXPECT_TRUE(w.add("half", base::io::TensorType::F16, {2, 1, 1, 1},
                      {reinterpret_cast<const std::uint8_t*>(halves.data()), 4})
                    .ok());
  });
  SafetensorsConvolutionWeights source(f, descriptor(1, 1, 1, 2), "half");
  EXPECT_EQ(loaded(source, 2), (std::vector<float>{static_cast<float>(oracle::roundToHalf(0.2)), -3}));
}

TEST_F(Safetensors, FeedsAKernel) {
  const auto d = descriptor(2, 1, 3, 2);
  const auto source = std::make_shared<SafetensorsConvolutionWeights>(file(), d, "conv.weight", "conv.bias");
  MPS::CNNFullyConnected kernel(cpuDevice(), source);
  EXPECT_EQ(kernel.label(), "conv.weight");
  Tensor t(1, 1, 2, 3);
  t.v = {1, 0, 0, 0, 0, 2};  // channel 0 of pixel 0, twice channel 2 of pixel 1
  const auto src = imageOf(t), dst = imageOf(Tensor(1, 1, 1, 2));
  runOnCpu([&](const auto& commands) { kernel.encode(commands, src, dst); });
  EXPECT_EQ(tensorOf(*dst).v, (std::vector<double>{0 + 2 * 21 + 7, 100 + 2 * 121 + 8}));
}

TEST_F(Safetensors, SaysWhatIsWrongWithTheFile) {
  const std::vector<std::int64_t> whole(2);  // the writer keeps no copy
  const auto f = file([&](SafetensorsWriter& w) {
    EXPECT_TRUE(w.add("whole", {2, 1, 1, 1}, std::span<const std::int64_t>(whole)).ok());
  });
  const auto kernel = [&](const std::string& weights, const std::string& bias,
                          const Ref<MPS::CNNConvolutionDescriptor>& d) {
    MPS::CNNConvolution(cpuDevice(), std::make_shared<SafetensorsConvolutionWeights>(f, d, weights, bias));
  };
  const auto good = descriptor(2, 1, 3, 2);
  expectError([&] { kernel("missing", "", good); }, {"there is no tensor \"missing\"", path_});
  expectError([&] { kernel("conv.weight", "missing", good); }, {"there is no tensor \"missing\""});
  expectError(
      [&] { kernel("conv.weight", "", descriptor(1, 2, 3, 2)); },
      {"\"conv.weight\" of " + path_ +
       ": the tensor is [2, 3, 1, 2], the descriptor needs [2, 3, 2, 1] or [2, 6]; check descriptor and layout"});
  expectError([&] { kernel("conv.weight", "linear", good); },
              {"the biases \"linear\" are [2, 6], the descriptor needs [2]"});
  expectError([&] { kernel("whole", "", descriptor(1, 1, 1, 2)); }, {"whole", "I64"});
  expectError([&] { SafetensorsFile(folder_.file("none")); }, {"none"});
  expectError([&] { SafetensorsConvolutionWeights(nullptr, good, "w"); }, {"file is null"});
  expectError([&] { SafetensorsConvolutionWeights(f, nullptr, "w"); }, {"descriptor is null"});
}

}  // namespace
}  // namespace kovar::test
