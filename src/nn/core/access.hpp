#pragma once
// The door between MPS objects and the code of this layer.

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MPS/Core/State.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

prim::DType dtypeOf(MPS::ImageFeatureChannelFormat format);

/// States that are known to be of a derived class, as a batch of that.
template <class S>
MPS::Batch<S> batchOf(const MPS::StateBatch& states) {
  MPS::Batch<S> batch;
  batch.reserve(states.size());
  for (const auto& s : states) batch.push_back(std::static_pointer_cast<S>(s));
  return batch;
}

/// Calls fn(object, first index) once for each distinct object that has to be looked at, until fn returns false.
/// Returns how many distinct objects there are. Null entries are left out.
template <class T, class Fn>
std::size_t forEachDistinct(std::span<const Ref<T>> items, Fn&& fn) {
  constexpr std::size_t kFew = 8;
  std::unordered_set<const T*> seen;
  if (items.size() > kFew) seen.reserve(items.size());
  std::size_t distinct = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i]) continue;
    const bool before = items.size() > kFew ? !seen.insert(items[i].get()).second
                                            : std::find(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(i),
                                                        items[i]) != items.begin() + static_cast<std::ptrdiff_t>(i);
    if (before) continue;
    ++distinct;
    if (!fn(items[i], i)) break;
  }
  return distinct;
}
template <class T, class Fn>
std::size_t forEachDistinct(const MPS::BatchView<T>& batch, Fn&& fn) {
  const std::size_t looked = forEachDistinct(batch.looks(), fn);
  return batch.isSeries() && !batch.isRepeated() ? batch.size() : looked;
}

struct Access {
  using Placement = MPS::Image::Placement;

  static const rt::StorageRef& storage(const MPS::Image& image) { return image.storage_; }
  /// The image as a temporary one, or null when it is not (or null).
  static MPS::TemporaryImage* temporary(MPS::Image* image) {
    return image && image->temporary_ ? static_cast<MPS::TemporaryImage*>(image) : nullptr;
  }
  static const MPS::TemporaryImage* temporary(const MPS::Image* image) {
    return image && image->temporary_ ? static_cast<const MPS::TemporaryImage*>(image) : nullptr;
  }
  static const Placement& placement(const MPS::Image& image) { return image.placement_; }
  static std::string described(const MPS::Image& image) { return image.described(); }
  static std::string described(const MPS::State& state) { return state.described(); }
  static std::string described(const MPS::Kernel& kernel) { return kernel.described(); }
  static const Ref<MTL::Device>& device(const MPS::State& state) { return state.device_; }

  /// All images and channels of an image.
  static prim::View view(const MPS::Image& image);

  /// Temporaries of one storage, one image each; the elements of a batch result.
  static MPS::ImageBatch temporaryBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                        const Ref<MPS::ImageDescriptor>& descriptor, std::size_t count);
  /// Ordinary images over one storage.
  static MPS::ImageBatch imageBatch(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                    std::size_t count);
  /// An image over memory that `storage` gives for so many bytes. Throws Error, `who` first, for a bad descriptor.
  static Ref<MPS::Image> imageOver(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                   const char* who, const std::function<rt::StorageRef(std::size_t bytes)>& storage);
  /// A view of an image, ordinary or temporary as its parent is.
  static Ref<MPS::Image> makeView(const Ref<MPS::Image>& parent, Ref<MPS::ImageDescriptor> descriptor,
                                  Placement placement);

  /// Lowers the read count of each distinct temporary image, by one.
  static void chargeRead(Images batch);
  /// As imageBatchIncrementReadCount, without the count of images, which takes a look at each.
  static void addReads(const MPS::ImageBatch& batch, std::ptrdiff_t amount);
  static void chargeRead(const MPS::StateBatch& batch);

  /// How often a dropout has encoded: where its sequence of masks goes on.
  static void setSequence(MPS::CNNDropout& dropout, std::uint64_t encodes) { dropout.sequence_ = encodes; }

  static const std::shared_ptr<const ForwardRecord>& record(const MPS::NNGradientState& state) { return state.record_; }
  static void setRecord(MPS::NNGradientState& state, std::shared_ptr<const ForwardRecord> record) {
    state.record_ = std::move(record);
  }
  /// Whether the states of a batch's other images can be told from that of the first, and one of them.
  static bool hasSiblings(const MPS::State& first) { return first.doHasSiblings(); }
  static Ref<MPS::State> sibling(const Ref<MPS::State>& first, std::size_t i);
  /// A gradient state that carries nothing but the record.
  static Ref<MPS::State> plainGradientState(const StateRequest& request);
  /// The same with a record of the class's own; it serves all images of a batch.
  static Ref<MPS::State> plainGradientState(const StateRequest& request, std::shared_ptr<const ForwardRecord> record);
  template <class S, class... A>
  static Ref<S> make(A&&... args) {
    return Ref<S>(new S(std::forward<A>(args)...));
  }
};

}  // namespace kovar::nn
