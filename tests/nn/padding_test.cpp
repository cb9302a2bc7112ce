// Padding policies: the size and offset of results that kernels make themselves, every factory method, policies and
// allocators that users write.

#include "oracle/padding.hpp"

#include <stdexcept>

#include "convolution_support.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"

namespace kovar::test {
namespace {

using Method = MPS::NNPaddingMethod;
namespace bits = oracle::padding;

/// A kernel with this window; the weights do not matter.
Ref<MPS::CNNConvolution> windowed(const oracle::Conv& conv) {
  return convolution(conv, std::vector<double>(conv.weightCount(), 1.0), {});
}

TEST(Padding, EveryMethodGivesTheDocumentedSizeAndOffset) {
  forCases(500, [](Case& c) {
    Random& r = c.random;
    oracle::Conv conv;
    conv.kernelWidth = r.integer(1, 5), conv.kernelHeight = r.integer(1, 5);
    conv.strideX = r.integer(1, 4), conv.strideY = r.integer(1, 4);
    conv.dilationX = r.integer(1, 3), conv.dilationY = r.integer(1, 3);
    const std::uint32_t method = r.pick({bits::kValidOnly, bits::kSame, bits::kFull}) |
                                 r.pick({bits::kAlignCentred, bits::kAlignTopLeft, bits::kAlignBottomRight}) |
                                 r.pick({0u, bits::kRemainderRight}) | r.pick({0u, bits::kRemainderBottom});
    const long w = r.integer(1, 15), h = r.integer(1, 15);
    c.text = std::to_string(w) + "x" + std::to_string(h) + " method " + std::to_string(method);
    const auto x = oracle::forwardPadding(method, false, w, conv.strideX, conv.extentX()),
               y = oracle::forwardPadding(method, true, h, conv.strideY, conv.extentY());
    const auto kernel = windowed(conv);
    kernel->setPadding(MPS::NNDefaultPadding::padding(static_cast<Method>(method)));
    const auto source = imageOf(Tensor(2, static_cast<std::size_t>(h), static_cast<std::size_t>(w), 1));
    if (x.size < 1 || y.size < 1) {
      expectError([&] { kernel->destinationImageDescriptor({source}, {}); },
                  {"CNNConvolution: a window of", "finds no place in a source of", "use size same or a larger source"});
      return;
    }
    kernel->setOffset({99, 99, 0});
    kernel->setDestinationFeatureChannelOffset(8);
    const auto d = kernel->destinationImageDescriptor({source}, {});
    EXPECT_EQ(d->width(), static_cast<std::size_t>(x.size));
    EXPECT_EQ(d->height(), static_cast<std::size_t>(y.size));
    EXPECT_EQ(d->featureChannels(), 8u + 1) << "what is written, from the channel offset on";
    EXPECT_EQ(d->numberOfImages(), 2u);
    EXPECT_EQ(d->channelFormat(), MPS::ImageFeatureChannelFormat::Float16);
    EXPECT_EQ(kernel->offset(), (MPS::Offset{x.offset, y.offset, 0}));
  });
}

// Rows of the documented table: source, stride, kernel, method -> size, offset.
TEST(Padding, WorkedExamples) {
  struct Row {
    std::size_t in;
    long stride, kernel;
    Method size;
    std::size_t out;
    long far, near;
  };
  for (const Row& row : {Row{224, 2, 3, Method::SizeSame, 112, 1, 0}, Row{5, 1, 2, Method::SizeSame, 5, 1, 0},
                         Row{8, 2, 2, Method::SizeSame, 4, 1, 1}, Row{7, 1, 4, Method::SizeSame, 7, 1, 0},
                         Row{10, 2, 3, Method::SizeValidOnly, 4, 1, 1}, Row{8, 3, 1, Method::SizeSame, 3, 0, 0},
                         Row{12, 4, 1, Method::SizeValidOnly, 3, 1, 1}, Row{6, 1, 3, Method::SizeFull, 8, -1, -1}})
    for (const bool far : {true, false}) {
      oracle::Conv conv;
      conv.kernelWidth = conv.kernelHeight = row.kernel;
      conv.strideX = conv.strideY = row.stride;
      const auto kernel = windowed(conv);
      kernel->setPadding(MPS::NNDefaultPadding::padding(
          row.size | (far ? Method::AddRemainderToBottomRight : Method::AddRemainderToTopLeft)));
      const auto d = kernel->destinationImageDescriptor({imageOf(Tensor(1, row.in, row.in, 1))}, {});
      EXPECT_EQ(d->width(), row.out);
      EXPECT_EQ(kernel->offset().x, far ? row.far : row.near) << row.in << " " << row.kernel;
    }
}

TEST(Padding, ReadyMadePolicies) {
  using P = MPS::NNDefaultPadding;
  const auto same = P::padding(Method::SizeSame);
  EXPECT_EQ(same, P::padding(Method::SizeSame)) << "one object per method";
  EXPECT_NE(same, P::padding(Method::SizeFull));
  EXPECT_EQ(same->paddingMethod(), Method::SizeSame);
  EXPECT_EQ(same->label(), "same, centred");
  EXPECT_EQ(P::padding(Method::SizeFull | Method::AlignTopLeft)->label(), "full, top left");
  const auto method = [](const Ref<MPS::NNPadding>& p) { return p->paddingMethod(); };
  EXPECT_EQ(method(same->inverse()), Method::SizeSame);
  EXPECT_EQ(method(P::padding(Method::SizeValidOnly)->inverse()), Method::SizeFull);
  EXPECT_EQ(method(P::padding(Method::SizeFull | Method::AddRemainderToTopRight | Method::AlignBottomRight)->inverse()),
            Method::SizeValidOnly | Method::AddRemainderToTopRight | Method::AlignBottomRight);
  const auto tensorflow = P::paddingForTensorflowAveragePooling(),
             valid = P::paddingForTensorflowAveragePoolingValidOnly();
  EXPECT_EQ(tensorflow->paddingMethod(), Method::SizeSame | Method::AddRemainderToBottomRight | Method::Custom);
  EXPECT_EQ(valid->paddingMethod(), Method::SizeValidOnly | Method::AddRemainderToBottomRight | Method::Custom);
  EXPECT_EQ(tensorflow, P::paddingForTensorflowAveragePooling());
  expectError([] { P::padding(Method::Align_reserved); }, {"NNDefaultPadding.padding: method 3 has reserved"});
  expectError([] { P::padding(Method::Size_reserved); }, {"method 48 has reserved"});
}

// TensorFlow's average pooling divides by the pixels that exist.
TEST(Padding, TensorflowPolicySetsTheEdgeMode) {
  Tensor s(1, 2, 2, 1);
  s.v = {1, 2, 3, 4};
  MPS::CNNPoolingAverage pool(cpuDevice(), 2, 2);
  pool.setDestinationImageAllocator(float32Images());
  pool.setPadding(MPS::NNDefaultPadding::paddingForTensorflowAveragePooling());
  Ref<MPS::Image> same, valid;
  runOnCpu([&](const auto& buffer) {
    same = pool.encode(buffer, imageOf(s));
    EXPECT_EQ(pool.edgeMode(), MPS::ImageEdgeMode::Clamp);
    pool.setPadding(MPS::NNDefaultPadding::paddingForTensorflowAveragePoolingValidOnly());
    valid = pool.encode(buffer, imageOf(s));
  });
  EXPECT_EQ(tensorOf(*same).v, (std::vector<double>{2.5, 3, 3.5, 4}));
  EXPECT_EQ(tensorOf(*valid).v, (std::vector<double>{2.5}));
}

/// A policy of a user's: one row of the result, read from the third source row on, and a wider descriptor.
class OneRow : public MPS::NNPadding {
 public:
  Method paddingMethod() override { return method; }
  std::string label() override { return "one row"; }
  Ref<MPS::ImageDescriptor> destinationImageDescriptor(const std::vector<Ref<MPS::Image>>& sourceImages,
                                                       const std::vector<Ref<MPS::State>>& sourceStates,
                                                       const Ref<MPS::Kernel>& kernel,
                                                       const Ref<MPS::ImageDescriptor>& suggested) override {
    ++asked;
    EXPECT_EQ(sourceImages.size(), 1u);
    EXPECT_TRUE(sourceStates.empty());
    EXPECT_EQ(suggested->width(), sourceImages[0]->width());
    const auto unary = std::dynamic_pointer_cast<MPS::CNNKernel>(kernel);
    if (!unary) throw std::runtime_error("no unary kernel");
    if (fail) throw std::runtime_error("not today");
    if (nothing) return nullptr;
    unary->setOffset({0, 2, 0});
    unary->setClipRect({{1, 0, 0}, {2, 1, 1}});
    suggested->setHeight(1);
    suggested->setChannelFormat(MPS::ImageFeatureChannelFormat::Float32);
    return suggested;
  }
  Method method = Method::SizeSame | Method::Custom;
  int asked = 0;
  bool fail = false, nothing = false;
};

TEST(Padding, APolicyOfTheUsersHasTheLastWord) {
  Tensor s(1, 3, 4, 1);
  for (std::size_t i = 0; i < s.size(); ++i) s.v[i] = static_cast<double>(i);
  const auto policy = std::make_shared<OneRow>();
  const auto kernel = std::make_shared<MPS::CNNNeuron>(
      cpuDevice(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::None));
  kernel->setPadding(policy);
  kernel->setDestinationImageAllocator(MPS::Image::defaultAllocator());
  Ref<MPS::Image> result;
  runOnCpu([&](const auto& buffer) { result = kernel->encode(buffer, imageOf(s)); });
  EXPECT_EQ(policy->asked, 1);
  EXPECT_EQ(result->featureChannelFormat(), MPS::ImageFeatureChannelFormat::Float32);
  EXPECT_EQ(tensorOf(*result).v, (std::vector<double>{0, 8, 9, 0}));
  EXPECT_EQ(kernel->clipRect().origin.x, 1u);

  // Without the bit it is not asked; with a destination of the caller's neither.
  policy->method = Method::SizeSame;
  runOnCpu([&](const auto& buffer) { kernel->encode(buffer, imageOf(s)); });
  policy->method = Method::SizeSame | Method::Custom;
  runOnCpu([&](const auto& buffer) { kernel->encode(buffer, imageOf(s), imageOf(s)); });
  EXPECT_EQ(policy->asked, 1);
  EXPECT_EQ(policy->inverse(), nullptr);
}

TEST(Padding, APolicyThatFailsLeavesEverythingAsItWas) {
  const auto policy = std::make_shared<OneRow>();
  const auto kernel = std::make_shared<MPS::CNNNeuron>(
      cpuDevice(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::None));
  kernel->setPadding(policy);
  kernel->setOffset({5, 6, 7});
  const auto buffer = cpuQueue()->commandBuffer();
  const auto source = temporariesOf(buffer, {imageOf(Tensor(1, 3, 4, 1))});
  policy->fail = true;
  EXPECT_THROW(kernel->encode(buffer, source[0]), std::runtime_error) << "what user code throws comes through";
  policy->fail = false;
  policy->nothing = true;
  expectError([&] { kernel->encode(buffer, source[0]); },
              {"CNNNeuron: the padding policy returned no descriptor", "return the suggested one"});
  EXPECT_EQ(kernel->offset(), (MPS::Offset{5, 6, 7}));
  EXPECT_EQ(kernel->clipRect(), MPS::RectNoClip);
  EXPECT_EQ(readCounts(source), (std::vector<std::size_t>{1}));
  expectError([&] { kernel->setPadding(nullptr); }, {"CNNNeuron.padding: null"});
  expectError([&] { kernel->setDestinationImageAllocator(nullptr); }, {"CNNNeuron.destinationImageAllocator: null"});
  expectError([&] { kernel->destinationImageDescriptor({}, {}); },
              {"CNNNeuron.destinationImageDescriptor: 0 source images given, the kernel reads 1"});
  expectError([&] { kernel->destinationImageDescriptor({nullptr}, {}); }, {"a source image is null"});
}

/// An allocator that remembers what it was asked for, and may misbehave.
class Allocator final : public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>& kernel) override {
    asked.push_back(kernel->label());
    if (nothing) return nullptr;
    const auto d = descriptor->copy();
    if (tooSmall) d->setFeatureChannels(1);
    return std::make_shared<MPS::Image>(commandBuffer->device(), d);
  }
  std::vector<std::string> asked;
  bool nothing = false, tooSmall = false;
};

TEST(ImageAllocator, MakesTheResults) {
  const auto allocator = std::make_shared<Allocator>();
  MPS::CNNPoolingMax pool(cpuDevice(), 2, 2);
  pool.setLabel("p");
  pool.setDestinationImageAllocator(allocator);
  const auto images = imagesOf(Tensor(3, 4, 4, 2, 1.0), Format::Float32, Arrangement::Separate);
  MPS::ImageBatch made;
  runOnCpu([&](const auto& buffer) { made = pool.encodeBatch(buffer, images); });
  EXPECT_EQ(made.size(), 3u);
  EXPECT_EQ(allocator->asked, (std::vector<std::string>{"p", "p", "p"})) << "imageBatch asks for each image";
  EXPECT_EQ(tensorOf(made).v, Tensor(3, 4, 4, 2, 1.0).v);
  const auto buffer = cpuQueue()->commandBuffer();
  allocator->tooSmall = true;
  expectError([&] { pool.encode(buffer, images[0]); },
              {"CNNPoolingMax \"p\".encode", "the destination has 1 feature channels, the kernel writes 2"});
  allocator->nothing = true;
  expectError([&] { pool.encode(buffer, images[0]); }, {"CNNPoolingMax \"p\"", "null"});
  expectError([&] { pool.encodeBatch(buffer, images); }, {"CNNPoolingMax \"p\"", "null"});
}

// Into an image of the caller's, or into one of the kernel's own with the same geometry: the same values.
TEST(ImageAllocator, ReturnedAndGivenImagesAgree) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    oracle::Conv conv;
    conv.kernelWidth = r.integer(1, 4), conv.kernelHeight = r.integer(1, 4);
    conv.strideX = r.integer(1, 2), conv.strideY = r.integer(1, 2);
    conv.inputChannels = r.size(1, 6), conv.outputChannels = r.size(1, 6);
    const auto kernel = convolution(conv, randomValues(r, conv.weightCount(), {-1, 1}), {});
    kernel->setDestinationImageAllocator(float32Images());
    const auto source = imageOf(randomTensor(r, 1, r.size(4, 8), r.size(4, 8), conv.inputChannels, {-1, 1}));
    Ref<MPS::Image> own, given;
    runOnCpu([&](const auto& buffer) {
      own = kernel->encode(buffer, source);
      given = imageOf(Tensor(1, own->height(), own->width(), own->featureChannels(), 5.0));
      kernel->encode(buffer, source, given);  // the offset was left behind
    });
    EXPECT_EQ(tensorOf(*own).v, tensorOf(*given).v);
  });
}

}  // namespace
}  // namespace kovar::test
