// Weight gradients by oneDNN. Threads share blocks of output channels, and parts of the batch whose gradients are added
// in order; both are cut by shape alone. The bias gradient is our own sum.
#if KOVAR_HAS_ONEDNN

#include <algorithm>

#include "backend/cpu/conv_onednn.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

using base::Failure;
using base::Status;
using prim::Invocation;
using prim::View;

/// Floats of a gradient that one chunk adds up.
constexpr std::size_t kSumFloats = 8192;

struct Primitive {
  dnnl::convolution_backward_weights primitive;
  dnnl::memory::desc src, dst, weights, scratch;
};

struct Call {
  std::size_t primitive = 0;
  View src, dst;
  bool gatherSrc = false, gatherDst = false;
  std::size_t resultOffset = 0;  // bytes, in the plan's scratch
};

/// One block of output channels: its parts lie one after another, `stride` bytes apart.
struct Block {
  std::size_t resultOffset = 0, stride = 0;
  std::int64_t weightOffset = 0;
  SplitReorder unpack;
};

struct DnnlConvWeights {
  ConvShape shape;
  std::vector<Primitive> primitives;
  std::vector<Call> calls;
  std::vector<Block> blocks;
  std::size_t batchParts = 1;
  std::vector<std::pair<std::size_t, std::size_t>> sums;     // block, first float
  std::vector<std::pair<std::size_t, std::size_t>> unpacks;  // block, part
};

FailureFlag::Reason runCall(const DnnlConvWeights& plan, const Call& call, const Invocation& inv) {
  const Primitive& p = plan.primitives[call.primitive];
  const auto bytesOf = [](bool needed, const View& v) {
    return needed ? roundUp(static_cast<std::size_t>(imageFloats(v)) * sizeof(float), 64) : 0;
  };
  const std::size_t vendorBytes = roundUp(p.scratch.get_size(), 64);
  const std::size_t srcBytes = bytesOf(call.gatherSrc, call.src), dstBytes = bytesOf(call.gatherDst, call.dst);
  std::byte* scratch = threadScratch(vendorBytes + srcBytes + dstBytes);
  if (scratch == nullptr) return FailureFlag::kMemory;
  auto* src = const_cast<float*>(at<const float>(inv, plan.shape.srcArg, call.src));
  auto* dst = const_cast<float*>(at<const float>(inv, plan.shape.dstArg, call.dst));
  if (call.gatherSrc) {
    auto* dense = reinterpret_cast<float*>(scratch + vendorBytes);
    gatherImage(src, call.src, dense);
    src = dense;
  }
  if (call.gatherDst) {
    auto* dense = reinterpret_cast<float*>(scratch + vendorBytes + srcBytes);
    gatherImage(dst, call.dst, dense);
    dst = dense;
  }
  const bool good = execute(p.primitive, {{DNNL_ARG_SRC, &p.src, src},
                                          {DNNL_ARG_DIFF_DST, &p.dst, dst},
                                          {DNNL_ARG_DIFF_WEIGHTS, &p.weights, inv.scratch + call.resultOffset},
                                          {DNNL_ARG_SCRATCHPAD, &p.scratch, scratch}});
  return good ? FailureFlag::kNone : FailureFlag::kVendor;
}

/// Adds the parts of a block in order, into the first.
void sumParts(const DnnlConvWeights& plan, std::byte* scratch, std::size_t blockIndex, std::size_t first) {
  const Block& block = plan.blocks[blockIndex];
  auto* sum = reinterpret_cast<float*>(scratch + block.resultOffset);
  const std::size_t last = std::min(first + kSumFloats, block.stride / sizeof(float));
  for (std::size_t part = 1; part < plan.batchParts; ++part) {
    const auto* from = reinterpret_cast<const float*>(scratch + block.resultOffset + part * block.stride);
    for (std::size_t i = first; i < last; ++i) sum[i] += from[i];
  }
}

Status run(const DnnlConvWeights& plan, Context& context, const Invocation& inv) {
  FailureFlag failure;
  context.pool.run(plan.calls.size(), [&](std::size_t i) {
    if (const auto reason = runCall(plan, plan.calls[i], inv); reason != FailureFlag::kNone) failure.raise(reason);
  });
  KOVAR_TRY(failure.status("cpu:conv:onednn"));
  context.pool.run(plan.sums.size(),
                   [&](std::size_t i) { sumParts(plan, inv.scratch, plan.sums[i].first, plan.sums[i].second); });
  auto* weights = at<float>(inv, plan.shape.weightsArg, plan.shape.weights);
  context.pool.run(plan.unpacks.size(), [&](std::size_t i) {
    const Block& block = plan.blocks[plan.unpacks[i].first];
    if (!block.unpack.run(plan.unpacks[i].second, reinterpret_cast<const float*>(inv.scratch + block.resultOffset),
                          weights + block.weightOffset))
      failure.raise(FailureFlag::kVendor);
  });
  KOVAR_TRY(failure.status("cpu:conv:onednn"));
  if (plan.shape.desc.bias)
    biasGradient(context, plan.shape, at<const float>(inv, plan.shape.dstArg, plan.shape.dst),
                 at<float>(inv, plan.shape.biasArg, plan.shape.bias));
  return {};
}

}  // namespace

Status prepareConvWeightsOnednnF32(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions&,
                                   CpuPlan& plan) {
  auto conv = std::make_shared<DnnlConvWeights>();
  conv->shape = describe(desc, views);
  const ConvShape& s = conv->shape;
  const WeightPieces grid = weightPieces(s);
  conv->batchParts = grid.batchParts;
  std::size_t scratchBytes = 0;
  const OneDnnlThread one;
  try {
    std::vector<ConvPiece> kinds;
    for (std::size_t i = 0; i < grid.pieces.size(); ++i) {
      const ConvPiece& piece = grid.pieces[i];
      KOVAR_TRY(onednnTakes(s, piece));
      const DnnlConvDescs d(s, piece);
      Call call;
      call.src = piece.srcOf(s.src), call.dst = piece.dstOf(s.dst);
      call.gatherSrc = !call.src.dense(), call.gatherDst = !call.dst.dense();
      const bool newBlock = i % grid.batchParts == 0;
      const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const ConvPiece& k) { return k.sameWork(piece); });
      call.primitive = static_cast<std::size_t>(kind - kinds.begin());
      if (kind == kinds.end()) {
        const dnnl::memory::desc weights =
            newBlock ? d.anyWeights : conv->primitives[conv->calls[i - i % grid.batchParts].primitive].weights;
        const dnnl::convolution_backward_weights::primitive_desc pd(
            dnnlEngine(), dnnl::algorithm::convolution_direct, d.src, weights, d.dst, d.strides, d.dilates, d.padLow,
            d.padHigh, d.forward(d.anyWeights, false), userScratchpad());
        if (isReference(pd.impl_info_str())) return Failure{std::string("oneDNN has only ") + pd.impl_info_str()};
        conv->primitives.push_back(
            {dnnl::convolution_backward_weights(pd), d.src, d.dst, pd.diff_weights_desc(), pd.scratchpad_desc()});
        kinds.push_back(piece);
      }
      const dnnl::memory::desc& packed = conv->primitives[call.primitive].weights;
      if (newBlock) {
        Block block;
        block.resultOffset = scratchBytes;
        block.stride = roundUp(packed.get_size(), 64);
        block.weightOffset = d.weightOffset;
        block.unpack = SplitReorder(packed, d.plainWeights, desc.accumulate);
        for (std::size_t part = 0; part < block.unpack.parts(); ++part)
          conv->unpacks.emplace_back(conv->blocks.size(), part);
        for (std::size_t f = 0; grid.batchParts > 1 && f < block.stride / sizeof(float); f += kSumFloats)
          conv->sums.emplace_back(conv->blocks.size(), f);
        scratchBytes += block.stride * grid.batchParts;
        conv->blocks.push_back(std::move(block));
      }
      const Block& block = conv->blocks.back();
      if (roundUp(packed.get_size(), 64) != block.stride) return Failure{"oneDNN wants several formats of the weights"};
      call.resultOffset = block.resultOffset + i % grid.batchParts * block.stride;
      conv->calls.push_back(call);
    }
  } catch (const dnnl::error& e) {
    return Failure{std::string("oneDNN: ") + e.what()};
  }
  plan.scratchBytes = scratchBytes;
  plan.cacheBytes += conv->calls.size() * sizeof(Call) + conv->primitives.size() * 65536;
  plan.body = [conv](Context& context, const Invocation& inv) { return run(*conv, context, inv); };
  return {};
}

}  // namespace kovar::cpu
#endif  // KOVAR_HAS_ONEDNN
