#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

base::Status prepareBits(Device&, const prim::BinaryConv& desc, std::span<const View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  const std::size_t dst = desc.transform ? 4 : 2;
  const Epilogue epilogue(desc.post, views, dst, dst + 1, {}, plan);
  const View &src = views[0], &weights = views[1], target = epilogue.target();
  BinaryConvParams p;
  p.y = desc.y, p.x = desc.x;
  p.images = src.dim(0), p.hs = src.dim(1), p.ws = src.dim(2), p.ci = src.dim(3);
  p.hd = target.dim(1), p.wd = target.dim(2), p.co = target.dim(3);
  p.words = weights.dim(3);
  if (p.co > 65535 * std::int64_t{64}) return base::Failure{"more than 4194240 filters do not fit a grid"};
  p.src = stridedOf(src);
  p.dst = stridedOf(target);
  for (int a = 0; a < 4; ++a) p.weightStep[a] = weights.stride(a);
  if (desc.transform) p.biasStep = views[2].stride(0), p.scaleStep = views[3].stride(0);
  p.common = desc.kind == prim::BinaryKind::And;
  // Pairs that differ are counted: N - 2 * those.
  p.factor = p.common ? 1.f : -2.f;
  p.summand = p.common ? 0.f : static_cast<float>(p.ci * desc.y.kernel * desc.x.kernel);
  const std::size_t bits =
      plan.reserve(static_cast<std::size_t>(p.images * p.hs * p.ws * p.words) * sizeof(std::uint32_t));
  const std::vector<View> given(views.begin(), views.begin() + static_cast<std::ptrdiff_t>(dst));
  plan.body = [p, given, epilogue, target, bits](const Context& context, const prim::Invocation& inv) {
    BinaryConvParams now = p;
    now.src.data = at(inv, 0, given[0]);
    now.dst.data = epilogue.targetData(inv) + target.offset * bytesOf(target);
    now.weights = reinterpret_cast<const std::uint32_t*>(at(inv, 1, given[1]));
    if (given.size() > 3) {
      now.inputBias = reinterpret_cast<const float*>(at(inv, 2, given[2]));
      now.inputScale = reinterpret_cast<const float*>(at(inv, 3, given[3]));
    }
    now.bits = reinterpret_cast<std::uint32_t*>(inv.scratch + bits);
    const cudaError_t e = runBinaryConv(now, context.stream);
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "binary convolution");
  };
  return {};
}

constexpr Candidate<prim::BinaryConv> kCandidates[] = {{"cuda:binary:bits", prepareBits}};

}  // namespace

std::span<const Candidate<prim::BinaryConv>> binaryConvCandidates() { return kCandidates; }

}  // namespace kovar::cuda
