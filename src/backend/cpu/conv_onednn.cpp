// Convolution and its data gradient by oneDNN: one call a piece, post-ops by our own code while the piece is in cache.
#if KOVAR_HAS_ONEDNN

#include "backend/cpu/conv_onednn.hpp"

#include <algorithm>

#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {

using base::Failure;
using base::Status;
using prim::Invocation;
using prim::View;

std::int64_t imageFloats(const View& v) { return v.dim(0) * v.dim(1) * v.dim(2) * v.dim(3); }

void gatherImage(const float* from, const View& v, float* to) {
  for (std::int64_t n = 0; n < v.dim(0); ++n)
    for (std::int64_t y = 0; y < v.dim(1); ++y) {
      const float* row = from + n * v.stride(0) + y * v.stride(1);
      for (std::int64_t x = 0; x < v.dim(2); ++x, to += v.dim(3)) std::copy_n(row + x * v.stride(2), v.dim(3), to);
    }
}

void scatterImage(const float* from, float* to, const View& v) {
  for (std::int64_t n = 0; n < v.dim(0); ++n)
    for (std::int64_t y = 0; y < v.dim(1); ++y) {
      float* row = to + n * v.stride(0) + y * v.stride(1);
      for (std::int64_t x = 0; x < v.dim(2); ++x, from += v.dim(3)) std::copy_n(from, v.dim(3), row + x * v.stride(2));
    }
}

Status onednnTakes(const ConvShape& s, const ConvPiece& piece) {
  if (s.src.stride(3) != 1 || s.dst.stride(3) != 1) return Failure{"channels do not lie beside each other"};
  if (piece.padTop < 0 || piece.padLeft < 0) return Failure{"negative padding"};
  if (piece.padBottom <= -s.desc.y.stride || piece.padRight <= -s.desc.x.stride)
    return Failure{"windows end more than a stride before the source does"};
  if (s.groups > 1 && s.weights.stride(0) * s.weights.dim(0) > INT64_MAX / 2) return Failure{"weights too far apart"};
  for (const View* v : {&s.src, &s.dst, &s.weights})
    for (int a = 0; a < 4; ++a)
      if (v->dim(a) > INT32_MAX) return Failure{"an extent does not fit 32 bits"};
  return {};
}

DnnlConvDescs::DnnlConvDescs(const ConvShape& s, const ConvPiece& p)
    : src({p.n, p.ci, p.hs, s.ws}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nhwc),
      dst({p.n, p.co, p.hd, s.wd}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nhwc),
      strides{s.desc.y.stride, s.desc.x.stride},
      dilates{s.desc.y.dilation - 1, s.desc.x.dilation - 1},
      padLow{p.padTop, p.padLeft},
      padHigh{p.padBottom, p.padRight} {
  const auto f32 = dnnl::memory::data_type::f32;
  const View& w = s.weights;
  const std::int64_t cig = p.ci / p.groups, cog = p.co / p.groups;
  if (p.groups == 1) {
    const dnnl::memory::dims dims = {cog, cig, s.kh, s.kw};
    plainWeights = {dims, f32, dnnl::memory::dims{w.stride(0), w.stride(3), w.stride(1), w.stride(2)}};
    anyWeights = {dims, f32, dnnl::memory::format_tag::any};
  } else {
    const dnnl::memory::dims dims = {p.groups, cog, cig, s.kh, s.kw};
    plainWeights = {dims, f32,
                    dnnl::memory::dims{cog * w.stride(0), w.stride(0), w.stride(3), w.stride(1), w.stride(2)}};
    anyWeights = {dims, f32, dnnl::memory::format_tag::any};
  }
  weightOffset = p.firstDstChannel * w.stride(0) + (p.groups == 1 ? p.firstSrcChannel * w.stride(3) : 0);
}

dnnl::convolution_forward::primitive_desc DnnlConvDescs::forward(const dnnl::memory::desc& weights, bool bias) const {
  const auto f32 = dnnl::memory::data_type::f32;
  const auto kind = dnnl::prop_kind::forward_training;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  if (!bias)
    return {dnnlEngine(), kind, algorithm, src, weights, dst, strides, dilates, padLow, padHigh, userScratchpad()};
  const dnnl::memory::desc biasDesc({dst.get_dims()[1]}, f32, dnnl::memory::format_tag::x);
  return {dnnlEngine(), kind,    algorithm, src,    weights, biasDesc,
          dst,          strides, dilates,   padLow, padHigh, userScratchpad()};
}

namespace {

/// One piece made ready: what to call, on which parts of the views, and what follows.
struct Call {
  std::size_t primitive = 0, block = 0;
  View src, dst;  // parts of the whole views
  std::int64_t biasOffset = 0;
  bool gather = false, scatter = false;  // through dense scratch
  PostOps post;
};

struct Primitive {
  dnnl::primitive primitive;
  dnnl::memory::desc src, weights, dst, bias, scratch;
};

struct DnnlConv {
  ConvShape shape;
  bool forward = true;
  std::vector<Primitive> primitives;
  std::vector<Call> calls;
  PackedWeights weights;
};

Primitive makePrimitive(const ConvShape& s, const DnnlConvDescs& d, const dnnl::memory::desc& weights,
                        std::string& name) {
  const bool forward = s.desc.direction == prim::Direction::Forward;
  const auto hint = d.forward(weights, forward && s.desc.bias);
  Primitive p;
  p.src = d.src, p.dst = d.dst;
  if (forward) {
    p.primitive = dnnl::convolution_forward(hint);
    p.weights = hint.weights_desc(), p.scratch = hint.scratchpad_desc();
    if (s.desc.bias) p.bias = hint.bias_desc();
    name = hint.impl_info_str();
  } else {
    const dnnl::convolution_backward_data::primitive_desc pd(dnnlEngine(), dnnl::algorithm::convolution_direct, d.src,
                                                             weights, d.dst, d.strides, d.dilates, d.padLow, d.padHigh,
                                                             hint, userScratchpad());
    p.primitive = dnnl::convolution_backward_data(pd);
    p.weights = pd.weights_desc(), p.scratch = pd.scratchpad_desc();
    name = pd.impl_info_str();
  }
  return p;
}

/// Runs one piece on the calling thread.
FailureFlag::Reason runCall(const DnnlConv& plan, const Call& call, const Invocation& inv, const std::byte* weights) {
  const Primitive& p = plan.primitives[call.primitive];
  const View &from = plan.forward ? call.src : call.dst, &to = plan.forward ? call.dst : call.src;
  const std::size_t fromArg = plan.forward ? plan.shape.srcArg : plan.shape.dstArg;
  const std::size_t toArg = plan.forward ? plan.shape.dstArg : plan.shape.srcArg;
  const std::size_t vendorBytes = roundUp(p.scratch.get_size(), 64);
  const std::size_t gatherBytes =
      call.gather ? roundUp(static_cast<std::size_t>(imageFloats(from)) * sizeof(float), 64) : 0;
  const std::size_t scatterBytes = call.scatter ? static_cast<std::size_t>(imageFloats(to)) * sizeof(float) : 0;
  std::byte* scratch = threadScratch(vendorBytes + gatherBytes + scatterBytes);
  if (scratch == nullptr) return FailureFlag::kMemory;
  const auto* input = at<const float>(inv, fromArg, from);
  auto* output = at<float>(inv, toArg, to);
  auto* gathered = reinterpret_cast<float*>(scratch + vendorBytes);
  auto* scattered = reinterpret_cast<float*>(scratch + vendorBytes + gatherBytes);
  if (call.gather) gatherImage(input, from, gathered);
  void* in = call.gather ? gathered : const_cast<float*>(input);
  void* out = call.scatter ? scattered : output;
  void* w = const_cast<std::byte*>(weights + plan.weights.offsetOf(call.block));
  bool good = false;
  if (plan.forward) {
    const bool bias = plan.shape.desc.bias;
    void* b = bias ? const_cast<float*>(at<const float>(inv, plan.shape.biasArg, plan.shape.bias)) + call.biasOffset
                   : nullptr;
    good = execute(p.primitive, {{DNNL_ARG_SRC, &p.src, in},
                                 {DNNL_ARG_WEIGHTS, &p.weights, w},
                                 {DNNL_ARG_BIAS, &p.bias, b},
                                 {DNNL_ARG_DST, &p.dst, out},
                                 {DNNL_ARG_SCRATCHPAD, &p.scratch, scratch}});
  } else {
    good = execute(p.primitive, {{DNNL_ARG_DIFF_DST, &p.dst, in},
                                 {DNNL_ARG_WEIGHTS, &p.weights, w},
                                 {DNNL_ARG_DIFF_SRC, &p.src, out},
                                 {DNNL_ARG_SCRATCHPAD, &p.scratch, scratch}});
  }
  if (!good) return FailureFlag::kVendor;
  if (call.scatter) scatterImage(scattered, output, to);
  if (!call.post.empty()) call.post.applyBlock(inv, reinterpret_cast<float*>(inv.args[toArg].data), 0, to.dim(0));
  return FailureFlag::kNone;
}

/// The post-op arguments cut like the piece.
std::vector<View> sliceArgs(std::span<const View> views, std::size_t own, const ConvPiece& p, bool forward) {
  std::vector<View> cut(views.begin(), views.end());
  for (std::size_t i = own; i < cut.size(); ++i) cut[i] = forward ? p.dstOf(cut[i]) : p.srcOf(cut[i]);
  return cut;
}

Status prepareF32(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions&, CpuPlan& plan) {
  auto conv = std::make_shared<DnnlConv>();
  conv->shape = describe(desc, views);
  const ConvShape& s = conv->shape;
  conv->forward = desc.direction == prim::Direction::Forward;
  if (desc.bias && s.bias.stride(0) != 1) return Failure{"the bias is not dense"};
  const std::vector<ConvPiece> pieces = resultPieces(s);
  const OneDnnlThread one;
  try {
    std::vector<ConvPiece> kinds;
    std::vector<dnnl::memory::desc> blockWeights;
    for (const ConvPiece& piece : pieces) {
      KOVAR_TRY(onednnTakes(s, piece));
      const DnnlConvDescs descs(s, piece);
      Call call;
      call.block = piece.block;
      call.src = piece.srcOf(s.src), call.dst = piece.dstOf(s.dst);
      const bool srcDense = call.src.dense(), dstDense = call.dst.dense();
      call.gather = conv->forward ? !srcDense : !dstDense;
      call.scatter = conv->forward ? !dstDense : !srcDense;
      call.biasOffset = piece.firstDstChannel;
      call.post = PostOps(desc.post, conv->forward ? call.dst : call.src,
                          sliceArgs(views, s.ownArgs, piece, conv->forward), s.ownArgs);
      const bool newBlock = piece.block == blockWeights.size();
      const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const ConvPiece& k) { return k.sameWork(piece); });
      call.primitive = static_cast<std::size_t>(kind - kinds.begin());
      if (kind == kinds.end()) {
        std::string name;
        conv->primitives.push_back(
            makePrimitive(s, descs, newBlock ? descs.anyWeights : blockWeights[piece.block], name));
        kinds.push_back(piece);
        if (isReference(name.c_str())) return Failure{"oneDNN has only " + name};
      }
      const dnnl::memory::desc& packed = conv->primitives[call.primitive].weights;
      if (newBlock) {
        blockWeights.push_back(packed);
        conv->weights.add(descs.plainWeights, descs.weightOffset, packed);
      } else if (packed != blockWeights[piece.block]) {
        return Failure{"oneDNN wants several formats of the weights"};
      }
      conv->calls.push_back(std::move(call));
    }
  } catch (const dnnl::error& e) {
    return Failure{std::string("oneDNN: ") + e.what()};
  }
  conv->weights.finish(s.weights);
  plan.cacheBytes += conv->calls.size() * sizeof(Call) + conv->primitives.size() * 65536 + 2 * conv->weights.bytes();
  plan.body = [conv](Context& context, const Invocation& inv) -> Status {
    KOVAR_TRY_ASSIGN(const std::shared_ptr<const std::byte> weights,
                     conv->weights.get(context, inv.args[conv->shape.weightsArg]));
    FailureFlag failure;
    context.pool.run(conv->calls.size(), [&](std::size_t i) {
      if (const auto reason = runCall(*conv, conv->calls[i], inv, weights.get()); reason != FailureFlag::kNone)
        failure.raise(reason);
    });
    return failure.status("cpu:conv:onednn");
  };
  return {};
}

}  // namespace

Status prepareConvOnednn(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions& options,
                         CpuPlan& plan) {
  if (options.only.empty() && depthwiseIsFaster(describe(desc, views))) return Failure{"depthwise: our own is faster"};
  const auto inner = desc.direction == prim::Direction::Weights ? prepareConvWeightsOnednnF32 : prepareF32;
  return viaF32(desc, views, options, plan, convAccess(desc), inner);
}

}  // namespace kovar::cpu
#endif  // KOVAR_HAS_ONEDNN
