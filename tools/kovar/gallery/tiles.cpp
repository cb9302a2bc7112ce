#include "kovar/gallery/tiles.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include <kovar/kovar.hpp>
#include "kovar/data_sources.hpp"

namespace kovar::tools {
namespace {

using MPS::ImageEdgeMode;
using Format = MPS::ImageFeatureChannelFormat;
using Pixels = Ref<MPS::Image>;
constexpr auto kLayout = MPS::DataLayout::HeightxWidthxFeatureChannels;
constexpr std::size_t kColours = 3;

/// Encodes kernels over one picture; results are temporary images, read once, unless a kernel writes into an image of
/// its own.
class Studio {
 public:
  Studio(const Ref<MTL::Device>& device, const base::io::Picture& picture)
      : device_(device),
        commands_(device->newCommandQueue()->commandBuffer()),
        width_(static_cast<std::size_t>(picture.width)),
        height_(static_cast<std::size_t>(picture.height)) {
    picture_ = image(width_, height_, kColours);
    std::vector<float> values(picture.pixels.size());
    std::transform(picture.pixels.begin(), picture.pixels.end(), values.begin(),
                   [](std::uint8_t sample) { return static_cast<float>(sample) / 255.f; });
    picture_->writeBytes(values.data(), kLayout, 0);
    gray_ = image(width_, height_, 1);
    convolution(1, kColours, 1, {0.299f, 0.587f, 0.114f})->encode(commands_, picture_, gray_);
  }

  std::vector<Tile> tiles();

 private:
  using Descriptor = Ref<MPS::CNNConvolutionDescriptor>;

  Pixels image(std::size_t width, std::size_t height, std::size_t channels, Format format = Format::Float32) {
    return std::make_shared<MPS::Image>(device_,
                                        MPS::ImageDescriptor::imageDescriptor(format, width, height, channels));
  }
  Pixels withEdges(MPS::CNNKernel& kernel, const Pixels& source, ImageEdgeMode mode = ImageEdgeMode::Clamp) {
    kernel.setEdgeMode(mode);
    return kernel.encode(commands_, source);
  }
  Ref<MPS::CNNConvolution> convolution(std::size_t kernel, std::size_t in, std::size_t out, std::vector<float> weights,
                                       std::vector<float> biases = {},
                                       const std::function<void(MPS::CNNConvolutionDescriptor&)>& set = {}) {
    const Descriptor d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(kernel, kernel, in, out);
    if (set) set(*d);
    return convolution(d, std::move(weights), std::move(biases));
  }
  Ref<MPS::CNNConvolution> convolution(const Descriptor& d, std::vector<float> weights,
                                       std::vector<float> biases = {}) {
    auto kernel = std::make_shared<MPS::CNNConvolution>(
        device_, std::make_shared<ConvolutionWeights>(d, std::move(weights), std::move(biases)));
    kernel->setEdgeMode(ImageEdgeMode::Clamp);
    return kernel;
  }
  Pixels shrunk(const Pixels& source, std::size_t factor) {
    MPS::CNNPoolingAverage pool(device_, factor, factor, factor, factor);
    return withEdges(pool, source);
  }

  Pixels sobel(), sharpened(), relief(), bits(), brightest(), mosaic(), places(), contrast(), hues(), even(),
      halftone(), smooth(), subPixels(), water(), mirrors(), zoom(), dropped(), strongest(), ink();

  Ref<MTL::Device> device_;
  Ref<MTL::CommandBuffer> commands_;
  std::size_t width_, height_;
  Pixels picture_, gray_;
};

Pixels Studio::sobel() {
  const auto edges = convolution(
      3, 1, 2,
      {-1, 0, 1, -2, 0, 2, -1, 0, 1,  //
       -1, -2, -1, 0, 0, 0, 1, 2, 1},
      {}, [](MPS::CNNConvolutionDescriptor& d) {
        d.setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Absolute));
      });
  MPS::NNReduceFeatureChannelsMax larger(device_);
  return larger.encode(commands_, edges->encode(commands_, gray_));
}

Pixels Studio::sharpened() {
  const auto d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, kColours, kColours);
  std::vector<float> weights;
  for (std::size_t c = 0; c < kColours; ++c) weights.insert(weights.end(), {-1, -1, -1, -1, 9, -1, -1, -1, -1});
  return convolution(d, weights)->encode(commands_, picture_);
}

Pixels Studio::relief() {
  return convolution(3, 1, 1, {1, 0, 0, 0, 0, 0, 0, 0, -1}, {0.5f},
                     [](MPS::CNNConvolutionDescriptor& d) {
                       d.setDilationRateX(3);
                       d.setDilationRateY(3);
                     })
      ->encode(commands_, gray_);
}

Pixels Studio::bits() {
  // A 7 x 7 window, the left half light and the right half dark: how far the picture, dark or light, agrees with it.
  constexpr std::size_t kSide = 7, kTaps = kSide * kSide;
  std::vector<std::uint32_t> words;
  for (std::size_t tap = 0; tap < kTaps; ++tap) words.push_back(tap % kSide < kSide / 2 + 1 ? 1 : 0);
  const auto weights =
      std::make_shared<BitWeights>(MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(kSide, kSide, 1, 1), words);
  const float scale = 0.5f / kTaps, half = 0.5f, threshold = -0.45f, one = 1;
  MPS::CNNBinaryConvolution convolution(device_, weights, &half, &scale, &threshold, &one,
                                        MPS::CNNBinaryConvolutionType::XNOR, MPS::CNNBinaryConvolutionFlags::None);
  return withEdges(convolution, gray_);
}

Pixels Studio::brightest() {
  MPS::CNNPoolingMax pool(device_, 7, 7);
  return withEdges(pool, picture_);
}

Pixels Studio::mosaic() { return MPS::CNNUpsamplingNearest(device_, 8, 8).encode(commands_, shrunk(picture_, 8)); }

Pixels Studio::places() {
  // The gradient of a maximum goes to the pixel that was largest: every window sends its value there, drawn as a dot.
  MPS::CNNPoolingMax pool(device_, 4, 4, 4, 4), thick(device_, 3, 3);
  pool.setEdgeMode(ImageEdgeMode::Clamp);
  pool.setDestinationImageAllocator(MPS::Image::defaultAllocator());
  Ref<MPS::State> state;
  const Pixels largest = pool.encode(commands_, picture_, &state, true);
  return thick.encode(commands_,
                      MPS::CNNPoolingMaxGradient(device_, 4, 4, 4, 4).encode(commands_, largest, picture_, state));
}

Pixels Studio::contrast() {
  MPS::CNNLocalContrastNormalization kernel(device_, 31, 31);
  kernel.setAlpha(1);
  kernel.setPm(0.5f);
  kernel.setPs(0.2f);
  return withEdges(kernel, picture_);
}

Pixels Studio::hues() {
  MPS::CNNCrossChannelNormalization kernel(device_, 5);
  kernel.setAlpha(5);
  kernel.setBeta(0.5f);
  kernel.setDelta(0.01f);
  return kernel.encode(commands_, picture_);
}

Pixels Studio::even() {
  MPS::CNNInstanceNormalization kernel(device_, std::make_shared<UniformInstance>(kColours, 0.2f, 0.5f));
  return kernel.encode(commands_, picture_);
}

Pixels Studio::halftone() {
  // Every pixel of the small picture stamps a round dot, as bright as the pixel.
  constexpr std::size_t kSide = 8;
  constexpr std::ptrdiff_t kBegin = kSide / 2 - kSide + 1;
  std::vector<float> dot;
  for (std::size_t y = 0; y < kSide; ++y)
    for (std::size_t x = 0; x < kSide; ++x) {
      const float r = std::hypot(static_cast<float>(x) - 3.5f, static_cast<float>(y) - 3.5f);
      dot.push_back(std::clamp(4.3f - r, 0.f, 1.f) * 1.25f);
    }
  const auto d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(kSide, kSide, kColours, kColours);
  d->setStrideInPixelsX(kSide);
  d->setStrideInPixelsY(kSide);
  std::vector<float> weights;
  for (std::size_t c = 0; c < kColours; ++c) weights.insert(weights.end(), dot.begin(), dot.end());
  MPS::CNNConvolutionTranspose stamp(device_, std::make_shared<ConvolutionWeights>(d, weights));
  // A pixel of the small picture becomes the block of kSide x kSide that begins at kSide times its place.
  stamp.setKernelOffsetX(kBegin);
  stamp.setKernelOffsetY(kBegin);
  Pixels stamped = image(width_, height_, kColours);
  stamp.encode(commands_, shrunk(picture_, kSide), stamped);
  return stamped;
}

Pixels Studio::smooth() {
  MPS::CNNUpsamplingBilinear kernel(device_, 8, 8);
  return withEdges(kernel, shrunk(picture_, 8));
}

Pixels Studio::subPixels() {
  // A parabola through three neighbours, in both directions, read at the middles of 4 x 4 parts of a pixel.
  constexpr std::size_t kFactor = 4;
  const auto through = [](std::size_t part, std::size_t tap) {
    const float t = (static_cast<float>(part) + 0.5f) / kFactor - 0.5f;
    return tap == 0 ? t * (t - 1) / 2 : tap == 1 ? 1 - t * t : t * (t + 1) / 2;
  };
  std::vector<float> weights;
  for (std::size_t part = 0; part < kFactor * kFactor; ++part)
    for (std::size_t c = 0; c < kColours; ++c)
      for (std::size_t tap = 0; tap < 9; ++tap)
        for (std::size_t from = 0; from < kColours; ++from)
          weights.push_back(from == c ? through(part / kFactor, tap / 3) * through(part % kFactor, tap % 3) : 0.f);
  const auto d =
      MPS::CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, kColours, kColours * kFactor * kFactor);
  d->setSubPixelScaleFactor(kFactor);
  return convolution(d, weights)->encode(commands_, shrunk(picture_, kFactor));
}

Pixels Studio::water() {
  const Pixels grid = image(width_, height_, 2);
  std::vector<float> shifts;
  for (std::size_t y = 0; y < height_; ++y)
    for (std::size_t x = 0; x < width_; ++x) {
      shifts.push_back(5 * std::sin(static_cast<float>(y) / 9.f));
      shifts.push_back(5 * std::sin(static_cast<float>(x) / 13.f));
    }
  grid->writeBytes(shifts.data(), kLayout, 0);
  MPS::NNGridSample kernel(device_);
  kernel.setUseGridValueAsInputCoordinate(false);
  kernel.setPrimaryEdgeMode(ImageEdgeMode::Clamp);
  return kernel.encode(commands_, picture_, grid);
}

Pixels Studio::mirrors() {
  const std::size_t x = width_ / 4, y = height_ / 4;
  MPS::NNPad kernel(device_, {x, y, 0}, {width_ - width_ / 2 - x, height_ - height_ / 2 - y, 0});
  return withEdges(kernel, shrunk(picture_, 2), ImageEdgeMode::MirrorWithEdge);
}

Pixels Studio::zoom() {
  return MPS::NNCropAndResizeBilinear(device_, width_, height_, {MPS::Region{{0.35, 0.35, 0}, {0.3, 0.3, 1}}})
      .encode(commands_, picture_);
}

Pixels Studio::dropped() { return MPS::CNNDropout(device_, 0.6f, 7, {1, 1, 0}).encode(commands_, picture_); }

Pixels Studio::strongest() {
  MPS::CNNNeuronLinear louder(device_, 12, 0);
  return MPS::CNNSoftMax(device_).encode(commands_, louder.encode(commands_, even()));
}

Pixels Studio::ink() {
  MPS::CNNPoolingAverage around(device_, 25, 25);
  MPS::NNCompare kernel(device_);
  kernel.setComparisonType(MPS::NNComparisonType::GreaterOrEqual);
  kernel.setThreshold(0.03f);
  return kernel.encode(commands_, gray_, withEdges(around, gray_));
}

std::vector<Tile> Studio::tiles() {
  const struct {
    const char *title, *note;
    Pixels result;
  } shown[] = {
      {"The picture", "as the kernels get it", picture_},
      {"CNNConvolution", "Sobel in 2 directions, the larger", sobel()},
      {"CNNConvolution", "dilated: taps 3 pixels apart", relief()},
      {"CNNConvolution", "depthwise: each colour sharpened", sharpened()},
      {"CNNConvolutionTranspose", "a dot for every eighth pixel", halftone()},
      {"CNNConvolution", "sub-pixel: 4 x 4 of 1, curved", subPixels()},
      {"CNNUpsamplingBilinear", "8 x 8 of 1, CNNPoolingAverage's", smooth()},
      {"CNNUpsamplingNearest", "8 x 8 of 1, from the same", mosaic()},
      {"CNNPoolingMax", "7 x 7, at every pixel", brightest()},
      {"CNNPoolingMaxGradient", "where 4 x 4 pixels are brightest", places()},
      {"CNNBinaryConvolution", "XNOR 7 x 7, light beside dark", bits()},
      {"NNCompare", "with the mean of 25 x 25 around", ink()},
      {"CNNLocalContrastNormalization", "31 x 31 around every pixel", contrast()},
      {"CNNCrossChannelNormalization", "colours without their brightness", hues()},
      {"CNNInstanceNormalization", "each colour: mean 0.5, spread 0.2", even()},
      {"CNNSoftMax", "which colour is strongest here", strongest()},
      {"NNGridSample", "read along waves", water()},
      {"NNCropAndResizeBilinear", "the middle, 3.3 times as large", zoom()},
      {"NNPad", "half as large, between mirrors", mirrors()},
      {"CNNDropout", "6 of 10 pixels kept", dropped()},
  };
  std::vector<Pixels> seen;
  for (const auto& s : shown) {
    // As bytes: values below 0 become black, above 1 white.
    seen.push_back(image(width_, height_, s.result->featureChannels(), Format::Unorm8));
    MPS::CNNNeuronLinear(device_, 1, 0).encode(commands_, s.result, seen.back());
  }
  commands_->commit();
  commands_->waitUntilCompleted();
  if (const auto error = commands_->error()) throw *error;
  std::vector<Tile> tiles;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    base::io::Picture p{
        static_cast<int>(width_), static_cast<int>(height_), static_cast<int>(seen[i]->featureChannels()), {}};
    p.pixels.resize(width_ * height_ * seen[i]->featureChannels());
    seen[i]->readBytes(p.pixels.data(), kLayout, 0);
    tiles.push_back({shown[i].title, shown[i].note, std::move(p)});
  }
  return tiles;
}

}  // namespace

base::io::Picture preparedForTiles(const base::io::Picture& picture) {
  const double scale = double{kTileSide} / std::max(picture.width, picture.height);
  const auto side = [&](int pixels) {
    return std::clamp(static_cast<int>(std::lround(pixels * scale / 8)) * 8, 64, kTileSide);
  };
  base::io::Picture sized = base::io::resize(picture, side(picture.width), side(picture.height));
  base::io::Picture colours{sized.width, sized.height, static_cast<int>(kColours), {}};
  const auto n = static_cast<std::size_t>(sized.channels);
  for (std::size_t at = 0; at < sized.pixels.size(); at += n) {
    const unsigned alpha = n % 2 == 0 ? sized.pixels[at + n - 1] : 255u;
    for (std::size_t c = 0; c < kColours; ++c) {
      const unsigned v = sized.pixels[at + (n >= kColours ? c : 0)];
      colours.pixels.push_back(static_cast<std::uint8_t>((v * alpha + 255u * (255u - alpha) + 127u) / 255u));
    }
  }
  return colours;
}

std::vector<Tile> tilesOf(const Ref<MTL::Device>& device, const base::io::Picture& picture) {
  return Studio(device, picture).tiles();
}

}  // namespace kovar::tools
