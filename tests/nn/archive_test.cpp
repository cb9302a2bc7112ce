// Every kernel class: what an archive holds of it is read back as the same class, with the same properties, and
// computes the same bits without its data source. And what archives refuse.

#include "kovar/MPS/Core/Archive.hpp"

#include <cstring>
#include <fstream>
#include <set>
#include <typeinfo>

#include "convolution_support.hpp"
#include "kernel_table.hpp"
#include "kovar/MPS/MPS.hpp"

namespace kovar::test {
namespace {

using MPS::Archive;
using Bytes = std::vector<std::byte>;

/// The allocator that the tests read exact results with is of their own class: it is taken off for the writing.
Bytes written(const Ref<MPS::Kernel>& kernel) {
  const auto base = std::dynamic_pointer_cast<MPS::CNNKernelBase>(kernel);
  const auto before = base ? base->destinationImageAllocator() : nullptr;
  if (base) base->setDestinationImageAllocator(MPS::TemporaryImage::defaultAllocator());
  Archive archive;
  kernel->encodeWithCoder(archive);
  if (base) base->setDestinationImageAllocator(before);
  return archive.data();
}

Ref<MPS::Kernel> readBack(const Bytes& bytes, const Ref<MTL::Device>& device) {
  Archive archive(bytes);
  auto kernel = archive.decodeKernel(device);
  EXPECT_EQ(archive.nextClassName(), "") << "something is left over";
  if (const auto base = std::dynamic_pointer_cast<MPS::CNNKernelBase>(kernel))
    base->setDestinationImageAllocator(float32Images());
  return kernel;
}

TEST(Archives, EveryKernelComputesTheSameBits) {
  const Ref<MTL::Device> here = MTL::deviceNamed("cpu");
  std::set<std::string> seen;
  for (const KernelRow& row : kernelTable()) {
    SCOPED_TRACE(row.name);
    try {
      const Ref<MPS::Kernel> original = row.make(here);
      const Bytes bytes = written(original);
      EXPECT_EQ(Archive(bytes).nextClassName(), row.name);
      seen.insert(row.name);
      EXPECT_EQ(written(original), bytes) << "writing changes nothing";
      const Ref<MPS::Kernel> same = readBack(bytes, here), there = readBack(bytes, distantDevice()),
                             planned = readBack(bytes, MTL::deviceNamed("null"));
      for (const auto& kernel : {same, there, planned}) {
        const MPS::Kernel &a = *original, &b = *kernel;
        EXPECT_EQ(typeid(a), typeid(b)) << typeid(b).name();
        EXPECT_EQ(kernel->label(), original->label());
        EXPECT_EQ(kernel->options(), original->options());
        EXPECT_EQ(written(kernel), bytes) << "what was read is written alike";
      }
      EXPECT_EQ(there->device(), distantDevice());
      const Ref<MPS::Kernel> copied = same->copy(distantDevice());
      const Values wanted = row.run(original, here);
      EXPECT_FALSE(wanted.empty());
      EXPECT_EQ(row.run(same, here), wanted);
      EXPECT_EQ(row.run(there, distantDevice()), wanted);
      EXPECT_EQ(row.run(copied, distantDevice()), wanted) << "a copy of what was read";
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
  // Two base classes compute nothing; the stages of graphs are tested with graphs.
  const std::set<std::string> elsewhere{"CNNPooling",
                                        "CNNPoolingGradient",
                                        "NNConcatenationNode",
                                        "NNConcatenationGradientNode",
                                        "NNReductionSpatialMeanNode",
                                        "NNReductionSpatialMeanGradientNode"};
  for (const std::string& name : Archive::kernelClasses())
    EXPECT_TRUE(seen.count(name) == 1 || elsewhere.count(name) == 1) << name << " has no row in kernelTable()";
}

TEST(Archives, BaseClassesOfPooling) {
  const auto pool = std::make_shared<MPS::CNNPooling>(cpuDevice(), 3, 2, 2, 1);
  Archive forward(written(pool));
  EXPECT_EQ(MPS::CNNPooling(forward, cpuDevice()).kernelWidth(), 3u);
  const auto gradient = std::make_shared<MPS::CNNPoolingGradient>(cpuDevice(), 3, 2, 2, 1);
  gradient->setSourceSize({4, 5, 6});
  Archive backward(written(gradient));
  EXPECT_EQ(MPS::CNNPoolingGradient(backward, cpuDevice()).sourceSize(), (MTL::Size{4, 5, 6}));
}

TEST(Archives, PropertiesOfAllKernels) {
  const auto pool = std::make_shared<MPS::CNNPoolingAverage>(cpuDevice(), 3, 2, 2, 1);
  pool->setLabel("pool \"1\"");
  pool->setOptions(MPS::KernelOptions::AllowReducedPrecision | MPS::KernelOptions::Verbose);
  pool->setOffset({-3, 4, 0});
  pool->setClipRect({{1, 2, 0}, {3, 4, 1}});
  pool->setEdgeMode(MPS::ImageEdgeMode::Clamp);
  pool->setSourceFeatureChannelOffset(4);
  pool->setSourceFeatureChannelMaxCount(7);
  pool->setDestinationFeatureChannelOffset(8);
  pool->setPadding(MPS::NNDefaultPadding::paddingForTensorflowAveragePooling());
  pool->setDestinationImageAllocator(MPS::Image::defaultAllocator());
  pool->setZeroPadSizeX(5);
  Archive w;
  pool->encodeWithCoder(w);
  Archive r(w.data());
  const auto back = std::make_shared<MPS::CNNPoolingAverage>(r, cpuDevice());
  EXPECT_EQ(back->label(), "pool \"1\"");
  EXPECT_EQ(back->options(), pool->options());
  EXPECT_EQ(back->offset(), (MPS::Offset{-3, 4, 0}));
  EXPECT_EQ(back->clipRect(), pool->clipRect());
  EXPECT_EQ(back->edgeMode(), MPS::ImageEdgeMode::Clamp);
  EXPECT_EQ(back->sourceFeatureChannelOffset(), 4u);
  EXPECT_EQ(back->sourceFeatureChannelMaxCount(), 7u);
  EXPECT_EQ(back->destinationFeatureChannelOffset(), 8u);
  EXPECT_EQ(back->padding(), pool->padding()) << "the shared policies are the same objects";
  EXPECT_EQ(back->destinationImageAllocator(), MPS::Image::defaultAllocator());
  EXPECT_EQ(back->kernelWidth(), 3u);
  EXPECT_EQ(back->strideInPixelsX(), 2u);
  EXPECT_EQ(back->zeroPadSizeX(), 5u);
}

TEST(Archives, ConvolutionsOfAllKindsWithFoldedNormalization) {
  using D = MPS::CNNConvolutionDescriptor;
  const std::vector<float> mean{0.5f, 1, 2, 3}, variance{1, 2, 3, 4};
  const auto depthwise = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 4);
  const auto blocks = MPS::CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 4);
  blocks->setSubPixelScaleFactor(2);
  for (const Ref<D>& d : {D::cnnConvolutionDescriptor(3, 3, 4, 4), Ref<D>(depthwise), Ref<D>(blocks)}) {
    d->setBatchNormalizationParametersForInference(mean.data(), variance.data(), nullptr, mean.data(), 0.25f);
    d->setNeuronType(MPS::CNNNeuronType::TanH, 0.5f, 2.f);
    std::vector<float> w(d == depthwise ? 4 * 9 : 4 * 9 * 4);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.1f * static_cast<float>(i % 17) - 0.8f;
    const auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), std::make_shared<ConvolutionWeights>(d, w));
    kernel->setDestinationImageAllocator(float32Images());
    const auto back = std::static_pointer_cast<MPS::CNNConvolution>(readBack(written(kernel), cpuDevice()));
    EXPECT_EQ(back->subPixelScaleFactor(), kernel->subPixelScaleFactor());
    EXPECT_EQ(back->channelMultiplier(), kernel->channelMultiplier());
    EXPECT_EQ(back->fusedNeuronDescriptor()->neuronType(), MPS::CNNNeuronType::TanH);
    Random r(3);
    const auto x = imageOf(randomTensor(r, 1, 5, 5, 4, {-1, 1, false}));
    Ref<MPS::Image> y, z;
    runOnCpu([&](const auto& b) {
      y = kernel->encode(b, x);
      z = back->encode(b, x);
    });
    EXPECT_EQ(tensorOf(*z).v, tensorOf(*y).v);

    Archive bare;
    d->encodeWithCoder(bare);
    Archive r2(bare.data());
    EXPECT_EQ(r2.nextClassName().substr(0, 3), "CNN");
  }
}

TEST(Archives, HoldTheWeightsThatTrainingMade) {
  const auto source = std::make_shared<AnySource>();
  const auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
  kernel->setDestinationImageAllocator(float32Images());
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> state;
  runOnCpu([&](const auto& b) { state = kernel->exportWeightsAndBiases(b, false); });
  static_cast<float*>(state->weights()->contents())[0] = 7.f;
  runOnCpu([&](const auto& b) { kernel->reloadWeightsAndBiases(b, state); });
  const auto back = std::static_pointer_cast<MPS::CNNConvolution>(readBack(written(kernel), cpuDevice()));
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> read;
  runOnCpu([&](const auto& b) { read = back->exportWeightsAndBiases(b, false); });
  EXPECT_EQ(static_cast<const float*>(read->weights()->contents())[0], 7.f) << "not the data source's 2";
  EXPECT_EQ(read->biases(), nullptr) << "none were given";

  EXPECT_EQ(back->dataSource(), nullptr);
  expectError([&] { back->reloadWeightsAndBiasesFromDataSource(); }, {"has no data source", "read from an archive"});
  runOnCpu([&](const auto& b) { back->reloadWeightsAndBiases(b, state); });
}

TEST(Archives, SeveralObjectsInTheOrderOfWriting) {
  Archive w;
  const auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 5, 4, 8);
  d->setGroups(2);
  d->encodeWithCoder(w);
  std::make_shared<MPS::CNNSoftMax>(cpuDevice())->encodeWithCoder(w);
  double note = 2.5;
  w.code("note", note);
  Archive r(w.data());
  EXPECT_TRUE(r.isReading());
  EXPECT_EQ(r.nextClassName(), "CNNConvolutionDescriptor");
  const MPS::CNNConvolutionDescriptor first(r);
  EXPECT_EQ(first.kernelHeight(), 5u);
  EXPECT_EQ(first.groups(), 2u);
  const MPS::CNNSoftMax second(r, cpuDevice());
  note = 0;
  r.code("note", note);
  EXPECT_EQ(note, 2.5);
  EXPECT_EQ(r.nextClassName(), "");
  expectError([&] { r.decodeKernel(cpuDevice()); }, {"at its end"});
}

TEST(Archives, AnErrorLeavesTheArchiveAsItWas) {
  class Policy final : public Object, public MPS::NNPadding {
   public:
    MPS::NNPaddingMethod paddingMethod() override { return MPS::NNPaddingMethod::SizeSame; }
  };
  Archive w;
  const auto soft = std::make_shared<MPS::CNNSoftMax>(cpuDevice());
  soft->encodeWithCoder(w);
  const Bytes before = w.data();
  soft->setPadding(std::make_shared<Policy>());
  expectError([&] { soft->encodeWithCoder(w); }, {"CNNSoftMax.encodeWithCoder", "padding policy"});
  EXPECT_EQ(w.data(), before);
  Archive r(before);
  expectError([&] { MPS::CNNPoolingMax(r, cpuDevice()); }, {"the archive holds a CNNSoftMax here"});
  EXPECT_NO_THROW(MPS::CNNSoftMax(r, cpuDevice())) << "the object can still be read as what it is";
}

// --- bytes that are none of ours

/// Reads everything; only an Error may come out.
void expectRefused(const Bytes& bytes, const std::string& what) {
  try {
    Archive archive(bytes);
    while (!archive.nextClassName().empty()) archive.decodeKernel(cpuDevice());
    ADD_FAILURE() << what << " was read";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  } catch (const std::exception& e) {
    ADD_FAILURE() << what << ": " << e.what();
  }
}

/// The archive with another payload and a checksum that fits.
Bytes sealed(Bytes bytes) {
  constexpr std::size_t kHeader = 32;
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t i = kHeader; i < bytes.size(); ++i)
    hash = (hash ^ static_cast<std::uint64_t>(bytes[i])) * 0x100000001b3u;
  const std::uint64_t size = bytes.size() - kHeader;
  std::memcpy(bytes.data() + 16, &size, sizeof size);
  std::memcpy(bytes.data() + 24, &hash, sizeof hash);
  return bytes;
}

std::vector<Bytes> someArchives() {
  std::vector<Bytes> all;
  for (const KernelRow& row : kernelTable())
    if (row.name == "CNNConvolution" || row.name == "CNNPoolingMax" || row.name == "CNNBatchNormalization" ||
        row.name == "CNNYOLOLoss" || row.name == "NNCropAndResizeBilinear" || row.name == "CNNBinaryConvolution")
      all.push_back(written(row.make(cpuDevice())));
  return all;
}

TEST(Archives, EveryPrefixIsRefused) {
  for (const Bytes& bytes : someArchives())
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      expectRefused(cut, "a prefix of " + std::to_string(n) + " bytes");
      // The same with a header that fits: the fields themselves must tell. None at all is an empty archive.
      if (n > 32) expectRefused(sealed(cut), "a sealed prefix of " + std::to_string(n) + " bytes");
    }
}

TEST(Archives, AnyChangedByteIsRefused) {
  Random r(11);
  for (const Bytes& bytes : someArchives())
    for (int i = 0; i < 400; ++i) {
      Bytes changed = bytes;
      const std::size_t at = r.size(0, bytes.size() - 1);
      changed[at] ^= static_cast<std::byte>(1u << r.size(0, 7));
      expectRefused(changed, "byte " + std::to_string(at) + " changed");
    }
}

TEST(Archives, ForgedValuesAreReadOrRefused) {
  // With a checksum that fits a changed number may well be a good one; then the kernel is made, and nothing else may
  // happen but an Error.
  Random r(12);
  for (const Bytes& bytes : someArchives())
    for (int i = 0; i < 2000; ++i) {
      Bytes changed = bytes;
      const std::size_t at = r.size(32, bytes.size() - 1);
      changed[at] = static_cast<std::byte>(r.pick({0, 1, 255, 127, 128}));
      try {
        Archive archive(sealed(changed));
        archive.decodeKernel(cpuDevice());
      } catch (const Error&) {
      } catch (const std::exception& e) {
        ADD_FAILURE() << "byte " << at << ": " << e.what();
      }
    }
}

}  // namespace
}  // namespace kovar::test
