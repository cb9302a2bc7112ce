#pragma once
// The weights of a convolution on a device, in versions: what kernels made from one data source share, and how they are
// loaded, folded, reloaded and exported.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

/// What a batch normalisation of a descriptor folds in. gamma and beta may be empty (all 1, all 0).
struct BatchNormConstants {
  std::vector<float> mean, variance, gamma, beta;
  float epsilon = 0;
};

/// Sizes of the weights of one convolution, [outputs][kernelHeight][kernelWidth][inputs / groups]. A depthwise one has
/// as many groups as inputs.
struct ConvolutionShape {
  std::int64_t outputs = 0, inputs = 0, kernelHeight = 1, kernelWidth = 1, groups = 1;
  std::int64_t channelMultiplier = 0;  ///< filters of one input channel; 0: not depthwise
  std::int64_t subPixelScale = 1;

  std::int64_t inputsPerFilter() const { return inputs / groups; }
  std::int64_t outputsPerInput() const { return outputs / groups; }
  /// Channels that the destination receives.
  std::int64_t writtenChannels() const { return outputs / (subPixelScale * subPixelScale); }
  std::int64_t taps() const { return kernelHeight * kernelWidth * inputsPerFilter(); }
  std::size_t weightBytes() const { return static_cast<std::size_t>(outputs * taps()) * sizeof(float); }
  std::size_t biasBytes() const { return static_cast<std::size_t>(outputs) * sizeof(float); }
  /// The weights in storage, from a byte offset on.
  prim::View weightsView(std::size_t byteOffset = 0) const {
    return prim::View::contiguous(prim::DType::F32, {outputs, kernelHeight, kernelWidth, inputsPerFilter()},
                                  static_cast<std::int64_t>(byteOffset / sizeof(float)));
  }
  prim::View biasView(std::size_t byteOffset = 0) const {
    return prim::View::contiguous(prim::DType::F32, {outputs}, static_cast<std::int64_t>(byteOffset / sizeof(float)));
  }
  bool operator==(const ConvolutionShape&) const = default;
};

/// The sizes of a descriptor, checked. `who` begins the message of the Error thrown when they do not fit together.
ConvolutionShape shapeOf(const MPS::CNNConvolutionDescriptor& descriptor, const std::string& who);

/// Holds a data source loaded. Throws Error when it does not load.
class LoadedWeights {
 public:
  LoadedWeights(MPS::CNNConvolutionDataSource& source, const std::string& who);
  ~LoadedWeights() { source_.purge(); }
  LoadedWeights(const LoadedWeights&) = delete;
  LoadedWeights& operator=(const LoadedWeights&) = delete;

 private:
  MPS::CNNConvolutionDataSource& source_;
};

/// The weights of a loaded source as float32, in the order of the source: halves widened, 8-bit ones decoded. Throws
/// Error when the source gives none, or none that a convolution takes.
std::vector<float> decodedWeights(MPS::CNNConvolutionDataSource& source, const ConvolutionShape& shape,
                                  const std::string& who);
/// The name of a type of weights, for messages.
const char* nameOf(MPS::DataType type);

/// How kernels read the weights in use. Turned: [inputs][kernelHeight][kernelWidth][outputs / groups], rotated by 180
/// degrees, as transposed convolutions do.
enum class WeightsForm : std::uint8_t { AsGiven, Turned };

/// Writes turned weights from given ones: one copy a tap.
void turn(Recorder& list, const ConvolutionShape& shape, const Tensor& given, const Tensor& turned);
/// The same on the host.
std::vector<float> turnedValues(const ConvolutionShape& shape, const std::vector<float>& given);

/// One set of values. Device-side reloads write it in queue order; host-side ones replace it.
struct WeightsVersion {
  rt::StorageRef weights, biases;        ///< as used: folded, rounded, turned
  rt::StorageRef rawWeights, rawBiases;  ///< as given; the same storages where they are used as given
  std::atomic<bool> hasBiases{false};    ///< false: none were given, the raw biases are all 0
  std::atomic<bool> shared{false};       ///< some other cell looks at it: never written again
};

/// What one encode binds.
struct WeightsInUse {
  Tensor weights, biases;  ///< folded and rounded, in the cell's form
  Tensor rawWeights;       ///< before a batch normalisation is folded in
  bool hasBiases = false;  ///< false: biases are all 0
};

/// What never changes after loading.
struct WeightsConstants {
  Ref<MTL::Device> device;
  Ref<MPS::CNNConvolutionDescriptor> descriptor;
  std::string label;
  ConvolutionShape shape;
  WeightsForm form = WeightsForm::AsGiven;
  bool roundsToHalf = false;
  std::vector<float> scaleValues, shiftValues;  ///< batch normalisation as a factor and a summand
  rt::StorageRef scale, shift, slopes;
};

/// Safe for an encoding thread and a handler that reloads at the same time.
class WeightsCell {
 public:
  /// Loads the data source. `who` names the class for messages. Throws Error; purges the source either way.
  static std::shared_ptr<WeightsCell> load(const Ref<MTL::Device>& device,
                                           const Ref<MPS::CNNConvolutionDataSource>& source, const char* who,
                                           WeightsForm form = WeightsForm::AsGiven);

  const Ref<MTL::Device>& device() const { return constants_.device; }
  const Ref<MPS::CNNConvolutionDataSource>& source() const { return source_; }
  const std::string& label() const { return constants_.label; }
  /// The cell's own copy; nobody changes it.
  const MPS::CNNConvolutionDescriptor& descriptor() const { return *constants_.descriptor; }
  const ConvolutionShape& shape() const { return constants_.shape; }
  bool foldsBatchNorm() const { return constants_.scale != nullptr; }
  /// A PReLU's slopes, one per output channel; null for other activations.
  const rt::StorageRef& slopes() const { return constants_.slopes; }

  /// The version in force.
  WeightsInUse inUse() const;

  /// Reads the source again into a new version.
  void reload(const std::string& who);
  /// Appends the copies that write the state's values into the version in force.
  void reload(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& state,
              const std::string& who);
  /// Appends the copies of the version in force into a new state.
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> exportState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                            bool temporary, const std::string& who) const;

  /// Writes the values in force, or reads them into a new cell without a data source. `who` names the class.
  static void code(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<WeightsCell>& cell,
                   const char* who, WeightsForm form);

  /// A cell with the same values that changes on its own. On another device it loads the data source's copy, or takes
  /// the values in force where there is none.
  std::shared_ptr<WeightsCell> copyFor(const Ref<MTL::Device>& device, const char* who) const;
  /// The same over a data source that has been copied already; null for none.
  std::shared_ptr<WeightsCell> copyFor(const Ref<MTL::Device>& device, Ref<MPS::CNNConvolutionDataSource> source,
                                       const char* who) const;

 private:
  WeightsCell() = default;
  void prepare(const std::string& who);
  std::shared_ptr<WeightsVersion> current() const;
  std::shared_ptr<WeightsVersion> newVersion() const;
  std::shared_ptr<WeightsVersion> ownVersion(Recorder& list) const;
  std::shared_ptr<WeightsVersion> read(const std::string& who) const;
  /// Folds, rounds and turns; no biases where they are empty.
  std::shared_ptr<WeightsVersion> versionOf(std::vector<float> weights, std::vector<float> biases) const;
  /// Weights and biases as given, read back; no biases where there are none.
  std::pair<std::vector<float>, std::vector<float>> values() const;
  void install(std::shared_ptr<WeightsVersion> version);
  void fold(Recorder& list, const WeightsVersion& v) const;
  void copyRounded(Recorder& list, const Tensor& from, const Tensor& to) const;
  bool turned() const { return constants_.form == WeightsForm::Turned; }
  bool keepsRawWeights() const { return foldsBatchNorm() || turned(); }
  Tensor turnedTensor(const rt::StorageRef& storage) const;
  Tensor weightTensor(const rt::StorageRef& storage, std::size_t byteOffset = 0) const {
    return {storage, shape().weightsView(byteOffset)};
  }
  Tensor biasTensor(const rt::StorageRef& storage, std::size_t byteOffset = 0) const {
    return {storage, shape().biasView(byteOffset)};
  }

  WeightsConstants constants_;
  Ref<MPS::CNNConvolutionDataSource> source_;
  mutable std::mutex mutex_;
  std::shared_ptr<WeightsVersion> current_;  // behind the mutex
};

/// The door to what convolutions keep to themselves.
struct ConvolutionAccess {
  static const BatchNormConstants* batchNorm(const MPS::CNNConvolutionDescriptor& d) { return d.batchNorm_.get(); }
  static const std::shared_ptr<WeightsCell>& cell(const MPS::CNNConvolution& kernel) { return kernel.cell_; }
  static const std::shared_ptr<WeightsCell>& cell(const MPS::CNNConvolutionGradient& kernel) { return kernel.cell_; }
  static const std::shared_ptr<WeightsCell>& cell(const MPS::CNNConvolutionTranspose& kernel) { return kernel.cell_; }
  static const std::shared_ptr<WeightsCell>& cell(const MPS::CNNConvolutionTransposeGradient& kernel) {
    return kernel.cell_;
  }
  /// The state of the convolution that a transposed one undoes, or null.
  static const Ref<MPS::CNNConvolutionGradientState>& coupled(const MPS::CNNConvolutionTransposeGradientState& state) {
    return state.coupled_;
  }
  /// A convolution of any kind or its gradient over weights that other kernels share: a reload of one
  /// is a reload of all.
  template <class K>
  static Ref<K> make(std::shared_ptr<WeightsCell> cell) {
    return Ref<K>(new K(std::move(cell)));
  }
  template <class K>
  // NOLINTNEXTLINE(performance-unnecessary-value-param): moved where the template is used
  static void setCell(K& kernel, std::shared_ptr<WeightsCell> cell) {
    kernel.cell_ = std::move(cell);
  }
  /// A copy of a kernel, over a cell of the device that it is for.
  template <class K>
  static Ref<K> copyWith(const K& kernel, std::shared_ptr<WeightsCell> cell) {
    const Ref<MTL::Device> device = cell->device();
    auto copied = std::static_pointer_cast<K>(K::clone(kernel, device));
    setCell(*copied, std::move(cell));
    return copied;
  }
  static std::size_t weightBytes(const MPS::CNNConvolutionWeightsAndBiasesState& state) { return state.weightBytes_; }
  static std::size_t biasBytes(const MPS::CNNConvolutionWeightsAndBiasesState& state) { return state.biasBytes_; }
  static bool holdsSums(const MPS::CNNConvolutionGradientState& state) { return state.holdsSums_; }
  static void setHoldsSums(MPS::CNNConvolutionGradientState& state) { state.holdsSums_ = true; }
};

/// The descriptor's activation as the last steps of a convolution or product, and the argument they need.
struct FusedNeuron {
  prim::Program post;
  std::vector<rt::Operand> arguments;
};
FusedNeuron fusedNeuron(const WeightsCell& cell, const prim::View& destination);

/// `offset` as the 32-bit number that windows take. Throws Error when it is absurdly large.
std::int64_t checkedOffset(std::ptrdiff_t offset, const MPS::Kernel& who);

}  // namespace kovar::nn
