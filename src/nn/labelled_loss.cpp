#include "nn/labelled_loss.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/core/encoder.hpp"

namespace kovar::nn {
namespace {

using MPS::CNNLossLabels;
using MPS::Image;

std::string text(const MTL::Size& s) {
  return std::to_string(s.width) + " x " + std::to_string(s.height) + " x " + std::to_string(s.depth);
}
MTL::Size sizeOf(const Image& image) { return {image.width(), image.height(), image.featureChannels()}; }

Tensor whole(const Image& image) { return {Access::storage(image), Access::view(image)}; }

/// The tensors of all images copied into one. Sides of 1 stay 1 where all have them.
Tensor together(Recorder& list, const std::vector<Tensor>& parts) {
  std::array<std::int64_t, 4> dims{static_cast<std::int64_t>(parts.size()), 1, 1, 1};
  for (const Tensor& p : parts)
    for (int axis = 1; axis < 4; ++axis)
      dims[static_cast<std::size_t>(axis)] = std::max(dims[static_cast<std::size_t>(axis)], p.view.dim(axis));
  Tensor all = list.temporaryImage(prim::DType::F32, dims[0], dims[1], dims[2], dims[3]);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Tensor p = parts[i];
    for (std::size_t axis = 1; axis < 4; ++axis)
      if (p.view.dims[axis] != dims[axis]) {
        p.view.dims[axis] = dims[axis];
        p.view.strides[axis] = 0;
      }
    list.op(prim::Copy{}, {p.read(), all.slice(0, static_cast<std::int64_t>(i), 1).write()});
  }
  return all;
}

}  // namespace

MPS::StateBatch LabelAccess::checked(const MPS::Kernel& who, const char* method, const MPS::CNNLossLabelsBatch& labels,
                                     std::size_t images) {
  const auto refuse = [&](const std::string& text) {
    base::raise(Access::described(who) + "." + method + ": " + text);
  };
  if (labels.size() != images)
    refuse(std::to_string(labels.size()) + " labels for " + std::to_string(images) +
           " images; give one CNNLossLabels per image");
  for (const auto& l : labels)
    if (!l) refuse("labels are null");
  return labels;
}

void LabelAccess::encode(Call& call, const std::string& where, const prim::Scalars& scalars,
                         const std::function<LabelledPrim(bool weighted, bool single)>& make) {
  const std::int64_t n = call.destination.n(), h = call.destination.h(), w = call.destination.w(),
                     c = call.destination.c();
  const auto y0 = call.geometry[0].offsetY, x0 = call.geometry[0].offsetX;
  if (call.states.empty()) base::raise(where + "needs labels; use the forms that take CNNLossLabels");
  if (static_cast<std::int64_t>(call.states.size()) != n)
    base::raise(where + std::to_string(n) +
                " images for one CNNLossLabels; encode them as a batch, see Image::batchRepresentation");
  if (y0 < 0 || x0 < 0 || y0 + h > call.sources[0].h() || x0 + w > call.sources[0].w())
    base::raise(where + "the region of " + std::to_string(w) + " x " + std::to_string(h) + " at (" +
                std::to_string(x0) + ", " + std::to_string(y0) + ") reaches outside the source of " +
                std::to_string(call.sources[0].w()) + " x " + std::to_string(call.sources[0].h()) +
                "; set clipRect and offset");

  std::vector<CNNLossLabels*> labels;
  for (const auto& s : call.states) {
    labels.push_back(dynamic_cast<CNNLossLabels*>(s.get()));
    if (!labels.back()) base::raise(where + "needs labels; the state given is not a CNNLossLabels");
  }
  const Tensor& source = call.sources[0];
  // The part of labels or weights that belongs to the pixels read.
  const auto cutToPart = [&](Tensor& t, const Image& image, const char* what, bool stretches) {
    const std::int64_t start[4] = {0, y0, x0, 0}, length[4] = {n, h, w, c};
    const std::int64_t need[4] = {n, source.h(), source.w(), c};
    for (int axis = 1; axis < 4; ++axis) {
      if (stretches && t.view.dim(axis) == 1) continue;
      if (t.view.dim(axis) < need[axis])
        base::raise(where + what + " are " + text(sizeOf(image)) + ", the prediction " + std::to_string(need[2]) +
                    " x " + std::to_string(need[1]) + " x " + std::to_string(need[3]) +
                    "; they must be at least as large");
      t.view.cut(axis, start[axis], length[axis]);
    }
  };
  const auto imagesOf = [&](Ref<Image> CNNLossLabels::*which) {
    std::vector<Ref<Image>> images;
    images.reserve(labels.size());
    for (CNNLossLabels* l : labels) images.push_back(l->*which);
    return images;
  };
  // One tensor over those of all images: as they lie, or copied together.
  const auto read = [&](Ref<Image> CNNLossLabels::*which, const char* what, bool stretches) {
    const std::vector<Ref<Image>> images = imagesOf(which);
    if (std::optional<Tensor> all = joined(images)) {
      cutToPart(*all, *images[0], what, stretches);
      return std::move(*all);
    }
    std::vector<Tensor> parts;
    for (const auto& image : images) cutToPart(parts.emplace_back(whole(*image)), *image, what, stretches);
    return together(call.list, parts);
  };

  const bool weighted =
      std::any_of(labels.begin(), labels.end(), [](const CNNLossLabels* l) { return l->hasWeights_; });
  const bool single = sizeOf(*labels[0]->lossImage_) == MTL::Size{1, 1, 1};
  const std::vector<Ref<Image>> lossImages = imagesOf(&CNNLossLabels::lossImage_);
  for (const auto& image : lossImages) {
    const MTL::Size wanted = single
                                 ? MTL::Size{1, 1, 1}
                                 : MTL::Size{static_cast<std::size_t>(source.w()), static_cast<std::size_t>(source.h()),
                                             static_cast<std::size_t>(source.c())};
    if (!(sizeOf(*image) == wanted))
      base::raise(where + "lossImageSize is " + text(sizeOf(*image)) + ", the prediction " +
                  std::to_string(source.w()) + " x " + std::to_string(source.h()) + " x " + std::to_string(source.c()) +
                  "; use {1, 1, 1} or the prediction's size, the same for all images");
  }
  const LabelledPrim loss = make(weighted, single);

  const auto cutToRegion = [&](Tensor& t) {
    if (single) return;
    t.view.cut(1, y0, h);
    t.view.cut(2, x0, w);
  };
  std::vector<rt::Operand> operands{call.aligned(0).read(), read(&CNNLossLabels::labelsImage_, "labels", false).read()};
  if (weighted) operands.push_back(read(&CNNLossLabels::weightsImage_, "weights", true).read());
  std::optional<Tensor> inPlace = joined(lossImages);
  if (inPlace) cutToRegion(*inPlace);
  const Tensor values = inPlace  ? std::move(*inPlace)
                        : single ? call.list.temporary(prim::DType::F32, {n, 1, 1, 1})
                                 : call.list.temporaryImage(prim::DType::F32, n, h, w, c);
  operands.push_back(values.write());
  operands.push_back(call.destination.write());
  operands.insert(operands.end(), loss.further.begin(), loss.further.end());
  call.list.op(loss.prim, operands, scalars);
  for (std::int64_t i = 0; !inPlace && i < n; ++i) {
    Tensor to = whole(*lossImages[static_cast<std::size_t>(i)]);
    cutToRegion(to);
    call.list.op(prim::Copy{}, {values.slice(0, i, 1).read(), to.write()});
  }
}

}  // namespace kovar::nn
