#include "backend/cuda/conv.hpp"

#include <memory>
#include <optional>

#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "backend/cuda/reduce.hpp"
#ifdef KOVAR_HAS_CUDA
#include "backend/cuda/vendor/versions.hpp"
#endif

namespace kovar::cuda {

using prim::Direction;
using prim::View;

ConvShape describe(const prim::Conv& desc, std::span<const View> views) {
  ConvShape s;
  s.desc = desc;
  s.own = 3 + (desc.bias ? 1u : 0u);
  s.srcArg = desc.direction == Direction::Data ? 2 : 0;
  s.weightsArg = desc.direction == Direction::Weights ? 2 : 1;
  s.dstArg = desc.direction == Direction::Forward ? s.own - 1 : desc.direction == Direction::Data ? 0 : 1;
  s.biasArg = desc.direction == Direction::Weights ? 3 : 2;
  s.resultArg = desc.direction == Direction::Forward ? s.dstArg : 2;
  s.src = views[s.srcArg];
  s.dst = views[s.dstArg];
  s.weights = views[s.weightsArg];
  if (desc.bias) s.bias = views[s.biasArg];
  return s;
}

bool hasCudnn() {
#ifdef KOVAR_HAS_CUDA
  return !cudnnVersion().empty();
#else
  return false;
#endif
}

namespace {

ConvParams paramsOf(const ConvShape& s) {
  ConvParams p;
  p.y = s.desc.y;
  p.x = s.desc.x;
  p.images = s.src.dim(0), p.hs = s.src.dim(1), p.ws = s.src.dim(2), p.ci = s.src.dim(3);
  p.hd = s.dst.dim(1), p.wd = s.dst.dim(2), p.co = s.dst.dim(3);
  p.groups = s.desc.groups;
  p.accumulate = s.desc.accumulate;
  p.weights = stridedOf(s.weights);
  return p;
}

/// Four channels can be read at once.
bool inFoursOfEither(const View& v) {
  return (v.dtype == prim::DType::F32 || v.dtype == prim::DType::F16) && channelsInFours(v);
}

}  // namespace

base::Status prepareDepthwise(Device&, const prim::Conv& desc, std::span<const View> views,
                              const prim::PrepareOptions& options, CudaPlan& plan) {
  const ConvShape s = describe(desc, views);
  if (desc.direction != Direction::Data) return base::Failure{"only the gradient by the data"};
  if (desc.groups != s.src.dim(3) || desc.groups != s.dst.dim(3)) return base::Failure{"not one channel a group"};
  if (desc.y.stride == 1 && desc.x.stride == 1 && options.only.empty() && hasCudnn())
    return base::Failure{"cuDNN is faster without a stride"};
  const auto simple = [](const prim::Window& w) { return w.stride == 1 || w.dilation == 1; };
  if (!simple(desc.y) || !simple(desc.x)) return base::Failure{"a stride with a dilation"};
  const Epilogue epilogue(desc.post, views, s.resultArg, s.own, {}, plan);
  const View target = epilogue.target();
  if (!inFoursOfEither(s.dst) || !inFoursOfEither(target)) return base::Failure{"channels do not come in fours"};
  ConvParams p = paramsOf(s);
  p.src = stridedOf(target), p.dst = stridedOf(s.dst);
  plan.body = [p, s, epilogue, target](const Context& context, const prim::Invocation& inv) {
    ConvParams now = p;
    now.src.data = epilogue.targetData(inv) + target.offset * bytesOf(target);
    now.dst.data = at(inv, s.dstArg, s.dst);
    now.weights.data = at(inv, s.weightsArg, s.weights);
    const bool fours = alignedTo16({epilogue.targetData(inv), inv.args[s.dstArg].data});
    const cudaError_t e = fours ? runDepthwiseData(now, context.stream) : runConvData(now, context.stream);
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "depthwise convolution");
  };
  return {};
}

base::Status prepareConvThreads(Device& device, const prim::Conv& desc, std::span<const View> views,
                                const prim::PrepareOptions&, CudaPlan& plan) {
  const ConvShape s = describe(desc, views);
  ConvParams p = paramsOf(s);
  if (desc.direction == Direction::Weights) {
    p.src = stridedOf(s.src);
    p.dst = stridedOf(s.dst);
    std::shared_ptr<const PreparedReduce> bias;
    View to;
    if (desc.bias) {
      to = s.bias;
      to.rank = 4;
      to.dims = {1, 1, 1, s.bias.dim(0)};
      to.strides = {0, 0, 0, s.bias.stride(0)};
      const prim::Reduce sum{prim::ReduceKind::Sum, 1.f, desc.accumulate};
      bias = std::make_shared<const PreparedReduce>(sum, s.dst, to, device.multiprocessors(), plan);
    }
    plan.body = [p, s, bias](const Context& context, const prim::Invocation& inv) {
      ConvParams now = p;
      now.src.data = at(inv, s.srcArg, s.src);
      now.dst.data = at(inv, s.dstArg, s.dst);
      now.weights.data = at(inv, s.weightsArg, s.weights);
      cudaError_t e = runConvWeights(now, context.stream);
      if (e == cudaSuccess && bias != nullptr)
        e = bias->run(context.stream, inv.args[s.dstArg].data, inv.args[s.biasArg].data, inv.scratch);
      return check(e, "weight gradient of a convolution");
    };
    return {};
  }
  const Epilogue epilogue(desc.post, views, s.resultArg, s.own, {}, plan);
  const View target = epilogue.target();
  const bool forward = desc.direction == Direction::Forward;
  p.src = stridedOf(forward ? s.src : target);
  p.dst = stridedOf(forward ? target : s.dst);
  if (desc.bias) p.bias = stridedOf(s.bias);
  plan.body = [p, s, epilogue, target, forward](const Context& context, const prim::Invocation& inv) {
    ConvParams now = p;
    std::byte* result = epilogue.targetData(inv) + target.offset * bytesOf(target);
    now.src.data = forward ? at(inv, s.srcArg, s.src) : result;
    now.dst.data = forward ? result : at(inv, s.dstArg, s.dst);
    now.weights.data = at(inv, s.weightsArg, s.weights);
    if (s.desc.bias) now.bias.data = at(inv, s.biasArg, s.bias);
    const cudaError_t e = forward ? runConvForward(now, context.stream) : runConvData(now, context.stream);
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "convolution");
  };
  return {};
}

std::span<const Candidate<prim::Conv>> convCandidates() {
  static constexpr Candidate<prim::Conv> kList[] = {
      {"cuda:conv:depthwise", prepareDepthwise},
      {"cuda:conv:tiles", prepareConvTiles},
#ifdef KOVAR_HAS_CUDA
      {"cuda:conv:cudnn", prepareConvCudnn},
#endif
      {"cuda:conv:threads", prepareConvThreads},
  };
  return kList;
}

}  // namespace kovar::cuda
