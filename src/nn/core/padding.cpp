#include "kovar/MPS/Core/Padding.hpp"

#include <map>
#include <mutex>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"
#include "maths/geometry.hpp"

namespace kovar::MPS {

Ref<ImageDescriptor> NNPadding::destinationImageDescriptor(const std::vector<Ref<Image>>&,
                                                           const std::vector<Ref<State>>&, const Ref<Kernel>&,
                                                           const Ref<ImageDescriptor>& suggestedDescriptor) {
  return suggestedDescriptor;
}

namespace {

constexpr NNPaddingMethod kTensorflow =
    NNPaddingMethod::AlignCentered | NNPaddingMethod::AddRemainderToBottomRight | NNPaddingMethod::Custom;

}  // namespace

Ref<NNDefaultPadding> NNDefaultPadding::padding(NNPaddingMethod method) {
  if (!maths::validPaddingBits(static_cast<std::uint32_t>(method)))
    base::raise("NNDefaultPadding.padding: method " + std::to_string(static_cast<std::size_t>(method)) +
                " has reserved alignment or size bits; combine the named NNPaddingMethod values");
  static std::mutex mutex;
  static std::map<NNPaddingMethod, Ref<NNDefaultPadding>> shared;
  std::scoped_lock lock(mutex);
  Ref<NNDefaultPadding>& p = shared[method];
  if (!p) p.reset(new NNDefaultPadding(method));
  return p;
}

Ref<NNDefaultPadding> NNDefaultPadding::paddingForTensorflowAveragePooling() {
  return padding(kTensorflow | NNPaddingMethod::SizeSame);
}

Ref<NNDefaultPadding> NNDefaultPadding::paddingForTensorflowAveragePoolingValidOnly() {
  return padding(kTensorflow | NNPaddingMethod::SizeValidOnly);
}

std::string NNDefaultPadding::label() {
  static constexpr const char* kAlign[] = {"centred", "top left", "bottom right", "reserved"};
  static constexpr const char* kSize[] = {"valid", "same", "full", "reserved"};
  const auto bits = static_cast<std::size_t>(method_);
  return std::string(kSize[bits >> 4 & 3]) + ", " + kAlign[bits & 3];
}

Ref<ImageDescriptor> NNDefaultPadding::destinationImageDescriptor(const std::vector<Ref<Image>>&,
                                                                  const std::vector<Ref<State>>&,
                                                                  const Ref<Kernel>& kernel,
                                                                  const Ref<ImageDescriptor>& suggestedDescriptor) {
  if ((method_ & NNPaddingMethod::Custom) != NNPaddingMethod::Custom) return suggestedDescriptor;
  if (auto unary = std::dynamic_pointer_cast<CNNKernel>(kernel)) unary->setEdgeMode(ImageEdgeMode::Clamp);
  return suggestedDescriptor;
}

Ref<NNPadding> NNDefaultPadding::inverse() {
  const auto bits = static_cast<std::uint32_t>(method_);
  const maths::PaddingSize size = maths::inverse(maths::paddingAxisX(bits).size);
  const auto sizeBits = static_cast<std::uint32_t>(static_cast<int>(size) + 1) << 4;
  return padding(static_cast<NNPaddingMethod>((bits & ~std::uint32_t{0x30}) | sizeBits));
}

}  // namespace kovar::MPS
