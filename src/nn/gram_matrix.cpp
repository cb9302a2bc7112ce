#include "kovar/MPS/NN/NNGramMatrix.hpp"

#include <string>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {
namespace {

struct GramRecord final : nn::ForwardRecord {
  float alpha = 1;
};

const GramRecord* recordOf(const std::string& who, const Ref<State>& state) {
  if (!state) return nullptr;
  const auto* typed = dynamic_cast<const NNGradientState*>(state.get());
  const auto* record = typed ? dynamic_cast<const GramRecord*>(nn::Access::record(*typed).get()) : nullptr;
  if (!record)
    base::raise(who +
                ": the gradient state was made by a kernel of another class; use the state of the forward "
                "NNGramMatrixCalculation");
  return record;
}

void checkWhole(const std::string& who, const Offset& offset, const MTL::Region& clip) {
  const MTL::Region& all = RectNoClip;
  if (offset.x != 0 || offset.y != 0 || clip.origin.x != 0 || clip.origin.y != 0 || clip.size.width != all.size.width ||
      clip.size.height != all.size.height)
    base::raise(who + ".encode: a Gram matrix is one of whole images; leave offset and clipRect at their defaults");
}

/// Pixels by channels: the image itself where its rows follow one another, else a copy.
nn::Tensor asMatrix(nn::Call& call, const nn::Tensor& image) {
  nn::Tensor t = image;
  if (t.h() > 1 && t.view.stride(1) != t.w() * t.view.stride(2)) {
    t = call.list.temporaryImage(image.view.dtype, image.n(), image.h(), image.w(), image.c());
    call.list.op(prim::Copy{}, {image.read(), t.write()});
  }
  const prim::View v = t.view;
  t.view.rank = 2;
  t.view.dims = {v.dim(1) * v.dim(2), v.dim(3)};
  t.view.strides = {v.stride(2), v.stride(3)};
  return t;
}

/// Image n of a tensor of rank 4.
nn::Tensor imageAt(const nn::Tensor& t, std::int64_t n) { return t.slice(0, n, 1); }

void scale(prim::Program& p, float alpha) {
  if (alpha == 1.f) return;
  prim::EwStep s;
  s.op = prim::EwOp::Affine;
  s.p = {alpha, -0.f, 0.f};
  p.push(s);
}

}  // namespace

NNGramMatrixCalculation::NNGramMatrixCalculation(const Ref<MTL::Device>& device, float alpha)
    : CNNKernel(device), alpha_(alpha) {}
NNGramMatrixCalculation::NNGramMatrixCalculation(const Ref<MTL::Device>& device)
    : NNGramMatrixCalculation(device, 1.f) {}

Ref<ImageDescriptor> NNGramMatrixCalculation::doDestinationImageDescriptor(
    const std::vector<Ref<Image>>& sourceImages, const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  sources_[0].offset.x = sources_[0].offset.y = 0;
  d->setWidth(d->featureChannels() - destinationFeatureChannelOffset_);
  d->setHeight(1);
  return d;
}

Ref<State> NNGramMatrixCalculation::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<GramRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->alpha = alpha_;
  auto state = nn::Access::plainGradientState(request);
  nn::Access::setRecord(static_cast<NNGradientState&>(*state), std::move(record));
  return state;
}

void NNGramMatrixCalculation::doEncode(nn::Call& call) {
  checkWhole(described(), sources_[0].offset, clipRect_);
  const nn::Tensor &src = call.sources[0], &dst = call.destination;
  if (dst.h() != 1 || dst.w() != src.c())
    base::raise(described() + ".encode: the destination is " + std::to_string(dst.w()) + " x " +
                std::to_string(dst.h()) + "; the Gram matrix of " + std::to_string(src.c()) + " feature channels is " +
                std::to_string(src.c()) + " x 1");
  prim::Matmul product;
  product.transposeA = true;
  scale(product.post, alpha_);
  for (std::int64_t n = 0; n < src.n(); ++n) {
    const nn::Tensor s = asMatrix(call, imageAt(src, n));
    nn::Tensor d = imageAt(dst, n);
    d.view.rank = 2;
    d.view.dims = {dst.w(), dst.c()};
    d.view.strides = {dst.view.stride(2), dst.view.stride(3)};
    call.list.op(product, {s.read(), s.read(), d.write()});
  }
}

NNGramMatrixCalculationGradient::NNGramMatrixCalculationGradient(const Ref<MTL::Device>& device, float alpha)
    : CNNGradientKernel(device), alpha_(alpha) {}
NNGramMatrixCalculationGradient::NNGramMatrixCalculationGradient(const Ref<MTL::Device>& device)
    : NNGramMatrixCalculationGradient(device, 1.f) {}

void NNGramMatrixCalculationGradient::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(r, sourceImages);
  sources_[0].offset = {};
  sources_[0].valid = RectNoClip;
}

std::size_t NNGramMatrixCalculationGradient::doDestinationChannels(const std::vector<std::size_t>& used) {
  if (used.size() > 1 && used[0] != used[1])
    base::raise(described() + ".encode: the source gradient gives " + std::to_string(used[0]) +
                " feature channels, the source image " + std::to_string(used[1]) +
                "; a Gram matrix has as many as its source");
  return used[0];
}

void NNGramMatrixCalculationGradient::doEncode(nn::Call& call) {
  checkWhole(described(), sources_[1].offset, clipRect_);
  const nn::Tensor &g = call.sources[0], &src = call.sources[1], &dst = call.destination;
  if (g.h() != 1 || g.w() != src.c() || dst.h() != src.h() || dst.w() != src.w())
    base::raise(described() + ".encode: a gradient of " + std::to_string(g.w()) + " x " + std::to_string(g.h()) +
                " and a destination of " + std::to_string(dst.w()) + " x " + std::to_string(dst.h()) + "; wanted " +
                std::to_string(src.c()) + " x 1 and the source's " + std::to_string(src.w()) + " x " +
                std::to_string(src.h()));
  const std::int64_t channels = src.c();
  // Both halves of the matrix in one: g + transposed g.
  const nn::Tensor sum = call.list.temporary(prim::DType::F32, {g.n(), channels, channels});
  const auto matrix = [&](const nn::Tensor& t, std::int64_t rows, std::int64_t columns) {
    nn::Tensor m = t;
    m.view.rank = 3;
    m.view.dims = {t.n(), channels, channels};
    m.view.strides = {t.view.stride(0), rows, columns};
    return m;
  };
  prim::Elementwise add;
  prim::EwStep load, both, store;
  load.op = prim::EwOp::Load;
  add.program.push(load);
  load.dst = load.arg = 1;
  add.program.push(load);
  both.op = prim::EwOp::Add;
  both.b = 1;
  add.program.push(both);
  store.op = prim::EwOp::Store;
  store.arg = 2;
  add.program.push(store);
  const std::int64_t f = g.view.stride(2), c = g.view.stride(3);
  call.list.op(add, {matrix(g, f, c).read(), matrix(g, c, f).read(), sum.write()});
  for (std::int64_t n = 0; n < src.n(); ++n) {
    const GramRecord* r = nullptr;
    if (!call.states.empty())
      r = recordOf(described(), call.states[call.states.size() > 1 ? static_cast<std::size_t>(n) : 0]);
    prim::Matmul product;
    scale(product.post, r ? r->alpha : alpha_);
    nn::Tensor m = sum.slice(0, n, 1);
    m.view = prim::View::contiguous(prim::DType::F32, {channels, channels}, m.view.offset);
    const nn::Tensor to = imageAt(dst, n);
    const bool dense = to.h() == 1 || to.view.stride(1) == to.w() * to.view.stride(2);
    const nn::Tensor into = dense ? to : call.list.temporaryImage(prim::DType::F32, 1, to.h(), to.w(), to.c());
    call.list.op(product, {asMatrix(call, imageAt(src, n)).read(), m.read(), asMatrix(call, into).write()});
    if (!dense) call.list.op(prim::Copy{}, {into.read(), to.write()});
  }
}

}  // namespace kovar::MPS
