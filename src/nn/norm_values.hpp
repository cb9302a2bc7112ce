#pragma once
// What normalizations by region share: pairs of values per feature channel (gamma and beta, mean and variance), and
// instance and group normalization, which differ in their regions only.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "kovar/MPS/NN/CNNNormalizationWeights.hpp"
#include "kovar/MPS/NN/GradientState.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

/// Two float32 vectors of a kernel, in versions as convolution weights are: a reload by the host replaces them for
/// later encodes, one in a command buffer writes them in queue order. Safe for an encoding and a reloading thread.
class ChannelPair {
 public:
  /// Null vectors stand for the given constants.
  ChannelPair(const Ref<MTL::Device>& device, std::size_t channels, float firstDefault, float secondDefault);

  std::size_t channels() const { return channels_; }
  void set(const float* first, const float* second);
  /// Appends the copies of the buffers into the vectors in force; lowers the state's read count. `names` for messages,
  /// e.g. "gamma and beta".
  void reload(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::State>& state, const Ref<MTL::Buffer>& first,
              const Ref<MTL::Buffer>& second, const std::string& who, const char* names);
  /// The vectors in force, each [1, 1, 1, channels].
  Tensor first() const { return tensorOf(current()->first); }
  Tensor second() const { return tensorOf(current()->second); }
  Ref<MTL::Buffer> firstBuffer() const { return bufferOf(current()->first); }
  Ref<MTL::Buffer> secondBuffer() const { return bufferOf(current()->second); }
  /// The same values, which change on their own from here on; on another device read back, not shared.
  std::shared_ptr<ChannelPair> copyFor(const Ref<MTL::Device>& device) const;
  /// The vectors in force, read back.
  std::pair<std::vector<float>, std::vector<float>> values() const;

 private:
  struct Version {
    rt::StorageRef first, second;
    std::atomic<bool> shared{false};  ///< another pair looks at it: never written again
  };
  std::shared_ptr<Version> current() const {
    std::scoped_lock lock(mutex_);
    return current_;
  }
  std::shared_ptr<Version> newVersion() const;
  Tensor tensorOf(const rt::StorageRef& storage) const;
  Ref<MTL::Buffer> bufferOf(const rt::StorageRef& storage) const;

  Ref<MTL::Device> device_;
  std::size_t channels_;
  float firstDefault_, secondDefault_;
  mutable std::mutex mutex_;
  std::shared_ptr<Version> current_;  // behind the mutex
};

/// Holds a data source loaded; `load` says whether that went well.
template <class S>
class LoadedSource {
 public:
  LoadedSource(S& source, const std::string& who);
  ~LoadedSource() { source_.purge(); }
  LoadedSource(const LoadedSource&) = delete;
  LoadedSource& operator=(const LoadedSource&) = delete;

 private:
  S& source_;
};

[[noreturn]] void refuseLoad(const std::string& who);
template <class S>
LoadedSource<S>::LoadedSource(S& source, const std::string& who) : source_(source) {
  if (!source.load()) refuseLoad(who);
}

/// Values per feature channel in a buffer, as [1, 1, 1, channels].
Tensor channelBuffer(const Ref<MTL::Buffer>& buffer, std::size_t channels);

/// Refuses an epsilon below 0 or NaN.
float checkedEpsilon(const std::string& who, float epsilon);

/// What instance and group normalization keep for the gradient of the images of one state.
struct RegionRecord {
  std::shared_ptr<ChannelPair> values;  ///< gamma and beta
  std::size_t groups = 1;
  float epsilon = 0;
  rt::StorageRef moments;  ///< means of all images of the encode, then variances; null before the forward encode
  std::int64_t firstImage = 0, images = 0, allImages = 0;
  std::uint64_t count = 0;  ///< values of one region
};

/// A state's record and its buffers for the sums.
struct RegionState {
  RegionRecord* record = nullptr;
  MPS::State* state = nullptr;
  Ref<MTL::Buffer> gamma, beta;
};

/// D = (S - mean) gamma / deviation + beta, with the moments of whole source images in `groups` groups of channels.
/// `states` gets what the gradient needs: none, one for all images, or one per image. `hold(i, storage)` keeps storage
/// as long as temporary state i is in use.
void encodeRegions(Call& call, const std::shared_ptr<ChannelPair>& values, std::size_t groups, float epsilon,
                   const std::vector<RegionState>& states, bool temporary,
                   const std::function<void(std::size_t, const rt::StorageRef&)>& hold);

/// The gradient of the above; the states' buffers get their images' sums.
void encodeRegionsGradient(Call& call, const std::vector<RegionState>& states, const MPS::Kernel& who);

/// Where a gradient stands for a forward kernel without a window: `given` lies as `source` does. On the automatic path
/// of a forward kernel that was translated or clipped that is its own region, `translated`; carryBack brings a gradient
/// from there to the source's pixels.
struct Alignment {
  bool translated = false;
  Tensor given, source;
  const ForwardRecord* record = nullptr;

  static Alignment of(Call& call, const ForwardRecord* record);
  /// The gradient at the source's pixels: `h`, or a temporary of the destination's extents.
  Tensor carryBack(Call& call, const Tensor& h) const;
};

}  // namespace kovar::nn
