#include "kovar/Support/DataSources.hpp"

#include <utility>

#include "base/edge.hpp"
#include "base/io/safetensors.hpp"
#include "nn/convolution_geometry.hpp"

namespace kovar {
namespace {

std::string text(const std::vector<std::size_t>& shape) {
  std::string s = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

std::vector<float> hwiFromIhw(const std::vector<float>& from, const nn::ConvolutionShape& s) {
  const auto outputs = static_cast<std::size_t>(s.outputs), inputs = static_cast<std::size_t>(s.inputsPerFilter()),
             pixels = static_cast<std::size_t>(s.kernelHeight * s.kernelWidth);
  std::vector<float> to(from.size());
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t i = 0; i < inputs; ++i)
      for (std::size_t p = 0; p < pixels; ++p) to[(o * pixels + p) * inputs + i] = from[(o * inputs + i) * pixels + p];
  return to;
}

}  // namespace

// --- ConvolutionWeights
// -----------------------------------------------------------------------------------------------

ConvolutionWeights::ConvolutionWeights(const Ref<MPS::CNNConvolutionDescriptor>& descriptor, std::vector<float> weights,
                                       std::vector<float> biases, std::string label)
    : weights_(std::move(weights)), biases_(std::move(biases)), label_(std::move(label)) {
  const std::string who = label_.empty() ? "ConvolutionWeights" : "ConvolutionWeights \"" + label_ + "\"";
  if (!descriptor) base::raise(who + ": descriptor is null");
  descriptor_ = descriptor->copy();
  const nn::ConvolutionShape s = nn::shapeOf(*descriptor_, who);
  const auto wanted = static_cast<std::size_t>(s.outputs * s.taps());
  if (weights_.size() != wanted)
    base::raise(who + ": " + std::to_string(weights_.size()) + " weights given, the descriptor needs " +
                std::to_string(wanted) + " (output channels " + std::to_string(s.outputs) + " x height " +
                std::to_string(s.kernelHeight) + " x width " + std::to_string(s.kernelWidth) +
                " x input channels of a group " + std::to_string(s.inputsPerFilter()) + ")");
  if (!biases_.empty() && biases_.size() != static_cast<std::size_t>(s.outputs))
    base::raise(who + ": " + std::to_string(biases_.size()) + " biases given for " + std::to_string(s.outputs) +
                " output channels; give one for each, or none");
}

Ref<MPS::CNNConvolutionDataSource> ConvolutionWeights::copy(const Ref<MTL::Device>&) {
  return Ref<ConvolutionWeights>(new ConvolutionWeights(*this));
}

// --- SafetensorsFile
// --------------------------------------------------------------------------------------------------

struct SafetensorsFile::Contents {
  base::io::Safetensors tensors;
};

SafetensorsFile::SafetensorsFile(const std::string& path)
    : path_(path), contents_(new Contents{base::unwrap(base::io::Safetensors::open(path))}) {}

SafetensorsFile::~SafetensorsFile() = default;

std::vector<std::string> SafetensorsFile::tensorNames() const {
  std::vector<std::string> names;
  for (const auto& t : contents_->tensors.tensors()) names.push_back(t.name);
  return names;
}

bool SafetensorsFile::contains(std::string_view tensor) const { return contents_->tensors.find(tensor) != nullptr; }

std::vector<std::size_t> SafetensorsFile::shape(std::string_view tensor) const {
  const base::io::TensorInfo* info = contents_->tensors.find(tensor);
  if (!info) base::raise("SafetensorsFile " + path_ + ": there is no tensor \"" + std::string(tensor) + "\"");
  return {info->shape.begin(), info->shape.end()};
}

std::vector<float> SafetensorsFile::floats(std::string_view tensor) const {
  const std::vector<std::size_t> dims = shape(tensor);
  return base::unwrap(contents_->tensors.floats(tensor, {dims.begin(), dims.end()}));
}

// --- SafetensorsConvolutionWeights
// ------------------------------------------------------------------------------------

SafetensorsConvolutionWeights::SafetensorsConvolutionWeights(const Ref<SafetensorsFile>& file,
                                                             const Ref<MPS::CNNConvolutionDescriptor>& descriptor,
                                                             std::string weightTensor, std::string biasTensor,
                                                             Layout layout)
    : file_(file), weightTensor_(std::move(weightTensor)), biasTensor_(std::move(biasTensor)), layout_(layout) {
  const std::string who = "SafetensorsConvolutionWeights \"" + weightTensor_ + "\"";
  if (!file) base::raise(who + ": file is null; open one with SafetensorsFile(path)");
  if (!descriptor) base::raise(who + ": descriptor is null");
  nn::shapeOf(*descriptor, who);
  descriptor_ = descriptor->copy();
}

bool SafetensorsConvolutionWeights::load() {
  std::scoped_lock lock(mutex_);
  if (loads_ == 0) read();
  ++loads_;
  return true;
}

void SafetensorsConvolutionWeights::read() {
  const std::string who = "SafetensorsConvolutionWeights \"" + weightTensor_ + "\" of " + file_->path();
  const nn::ConvolutionShape s = nn::shapeOf(*descriptor_, who);
  const auto n = [](std::int64_t v) { return static_cast<std::size_t>(v); };
  const std::vector<std::size_t> wanted =
      layout_ == Layout::OHWI
          ? std::vector<std::size_t>{n(s.outputs), n(s.kernelHeight), n(s.kernelWidth), n(s.inputsPerFilter())}
          : std::vector<std::size_t>{n(s.outputs), n(s.inputsPerFilter()), n(s.kernelHeight), n(s.kernelWidth)};
  const std::vector<std::size_t> flat{n(s.outputs), n(s.taps())}, found = file_->shape(weightTensor_);
  if (found != wanted && found != flat)
    base::raise(who + ": the tensor is " + text(found) + ", the descriptor needs " + text(wanted) + " or " +
                text(flat) + "; check descriptor and layout");
  std::vector<float> weights = file_->floats(weightTensor_), biases;
  if (layout_ == Layout::OIHW) weights = hwiFromIhw(weights, s);
  if (!biasTensor_.empty()) {
    const std::vector<std::size_t> biasShape = file_->shape(biasTensor_);
    if (biasShape != std::vector<std::size_t>{n(s.outputs)})
      base::raise(who + ": the biases \"" + biasTensor_ + "\" are " + text(biasShape) + ", the descriptor needs " +
                  text({n(s.outputs)}));
    biases = file_->floats(biasTensor_);
  }
  weights_ = std::move(weights);
  biases_ = std::move(biases);
}

void SafetensorsConvolutionWeights::purge() {
  std::scoped_lock lock(mutex_);
  if (--loads_ > 0) return;
  weights_ = {};
  biases_ = {};
}

Ref<MPS::CNNConvolutionDataSource> SafetensorsConvolutionWeights::copy(const Ref<MTL::Device>&) {
  return std::make_shared<SafetensorsConvolutionWeights>(file_, descriptor_, weightTensor_, biasTensor_, layout_);
}

}  // namespace kovar

namespace kovar::nn {

Ref<MPS::CNNConvolutionDataSource> sourceOver(const char* who, const Ref<MPS::CNNConvolutionDescriptor>& descriptor,
                                              const float* weights, const float* biases) {
  const std::string name = who;
  if (!descriptor) base::raise(name + ": convolutionDescriptor is null");
  if (!weights) base::raise(name + ": kernelWeights is null");
  const ConvolutionShape s = shapeOf(*descriptor, name);
  return std::make_shared<ConvolutionWeights>(
      descriptor, std::vector<float>(weights, weights + s.outputs * s.taps()),
      biases ? std::vector<float>(biases, biases + s.outputs) : std::vector<float>());
}

}  // namespace kovar::nn
