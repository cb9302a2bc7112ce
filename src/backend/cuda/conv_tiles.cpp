// Convolutions in float32 by tiles of our own, in all directions: deterministic, channels last as they lie, bias and
// rectifier on the way.

#include <algorithm>
#include <vector>

#include "backend/cuda/conv.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "maths/neuron.hpp"
#ifdef KOVAR_HAS_CUDA
#include "backend/cuda/vendor/versions.hpp"
#endif

namespace kovar::cuda {
namespace {

using prim::View;

/// What a tile size costs: everything that it computes, the small one at half the speed.
struct TileCost {
  std::int64_t rows, columns, slowness;
  std::int64_t of(const ConvWeightsParams& p) const {
    return (p.rows + rows - 1) / rows * rows * ((p.columns + columns - 1) / columns * columns) * slowness;
  }
  std::int64_t tiles(const ConvWeightsParams& p) const {
    return (p.rows + rows - 1) / rows * ((p.columns + columns - 1) / columns);
  }
};
constexpr TileCost kLarge{64, 128, 1}, kSmall{32, 32, 2};

bool hasCudnn() {
#ifdef KOVAR_HAS_CUDA
  return !cudnnVersion().empty();
#else
  return false;
#endif
}

bool readable(const View& v) { return v.dtype == prim::DType::F32 && (v.stride(3) == 1 || v.dim(3) == 1); }

base::Status prepareWeights(Device& device, const ConvShape& s, CudaPlan& plan) {
  const prim::Conv& desc = s.desc;
  const DenseOperand src(s.src, s.srcArg, readable(s.src), plan), dst(s.dst, s.dstArg, readable(s.dst), plan);
  ConvWeightsParams p;
  p.y = desc.y, p.x = desc.x;
  p.hs = static_cast<std::uint32_t>(s.src.dim(1)), p.ws = static_cast<std::uint32_t>(s.src.dim(2));
  p.hd = s.dst.dim(1), p.wd = s.dst.dim(2);
  p.groups = desc.groups;
  p.rows = s.dst.dim(3) / p.groups;
  p.inputs = s.src.dim(3) / p.groups;
  p.columns = p.inputs * desc.y.kernel * desc.x.kernel;
  p.positions = s.dst.dim(0) * p.hd * p.wd;
  p.accumulate = desc.accumulate;
  p.small = kSmall.of(p) < kLarge.of(p);
  const TileCost& tile = p.small ? kSmall : kLarge;
  constexpr std::int64_t kMostWaste = 16;
  if (tile.of(p) > kMostWaste * p.rows * p.columns) return base::Failure{"so few channels leave most of a tile empty"};
  // Enough blocks for the device; sums in float32 over a few thousand positions at most.
  constexpr std::int64_t kLongest = 4096, kStep = 16;
  const std::int64_t wanted = 4 * device.multiprocessors() / (tile.tiles(p) * p.groups);
  p.splits = std::max({std::int64_t{1}, wanted, (p.positions + kLongest - 1) / kLongest});
  p.perSplit = std::max(8 * kStep, ((p.positions + p.splits - 1) / p.splits + kStep - 1) / kStep * kStep);
  p.splits = (p.positions + p.perSplit - 1) / p.perSplit;
  if (p.groups * p.splits > 65535) return base::Failure{"too many groups and positions for a grid"};
  constexpr std::int64_t kMostFloats = INT32_MAX;
  if (src.view().end() > kMostFloats || dst.view().end() > kMostFloats) return base::Failure{"more than 2^31 floats"};
  p.src = stridedOf(src.view()), p.dst = stridedOf(dst.view()), p.weights = stridedOf(s.weights);
  if (desc.bias) p.bias = stridedOf(s.bias);
  const auto shares = static_cast<std::size_t>(p.groups * p.splits * p.rows);
  const std::size_t partials = plan.reserve(shares * static_cast<std::size_t>(p.columns) * sizeof(float));
  const std::size_t biasPartials = desc.bias ? plan.reserve(shares * sizeof(double)) : 0;
  plan.body = [p, s, src, dst, partials, biasPartials](const Context& context,
                                                       const prim::Invocation& inv) -> base::Status {
    ConvWeightsParams now = p;
    KOVAR_TRY_ASSIGN(now.src.data, src.start(context.stream, inv));
    KOVAR_TRY_ASSIGN(now.dst.data, dst.start(context.stream, inv));
    now.weights.data = at(inv, s.weightsArg, s.weights);
    now.partials = reinterpret_cast<float*>(inv.scratch + partials);
    if (s.desc.bias) {
      now.bias.data = at(inv, s.biasArg, s.bias);
      now.biasPartials = reinterpret_cast<double*>(inv.scratch + biasPartials);
    }
    return check(runConvWeightsTiles(now, context.stream), "weight gradient of a convolution");
  };
  return {};
}

/// The program is a rectifier and nothing else.
bool isRectifier(const prim::Program& post) {
  const prim::EwStep& s = post.steps[0];
  return post.count == 1 && s.op == prim::EwOp::Neuron && s.dst == 0 && s.a == 0 &&
         static_cast<maths::NeuronType>(s.code) == maths::NeuronType::ReLU;
}

/// The gradient by the data as a convolution of the gradient: windows turned over.
prim::Window turned(const prim::Window& w) { return {w.kernel, 1, w.dilation, w.extent() - 1 - w.pad}; }

base::Status prepareForward(Device& device, const ConvShape& s, std::span<const View> views, CudaPlan& plan) {
  const prim::Conv& desc = s.desc;
  const bool forward = desc.direction == prim::Direction::Forward;
  if (!forward && (desc.y.stride != 1 || desc.x.stride != 1)) return base::Failure{"the gradient of a stride"};
  const View& given = forward ? s.src : s.dst;
  const DenseOperand read(given, forward ? s.srcArg : s.dstArg, readable(given), plan);
  const View from = read.view();
  ConvTilesParams p;
  p.rectified = isRectifier(desc.post);
  if (p.rectified) p.slope = desc.post.steps[0].p[0];
  EpilogueNeeds needs;
  needs.floatsOnly = true;
  needs.accumulate = desc.accumulate;
  const Epilogue epilogue(p.rectified ? prim::Program{} : desc.post, views, s.resultArg, s.own, needs, plan);
  const View to = epilogue.target();
  p.groups = desc.groups;
  p.inputs = from.dim(3) / p.groups;
  p.outputs = to.dim(3) / p.groups;
  if (p.outputs < 8) return base::Failure{"so few channels leave most of a tile empty"};
  if (p.groups > 65535) return base::Failure{"more than 65535 groups do not fit a grid"};
  p.y = forward ? desc.y : turned(desc.y), p.x = forward ? desc.x : turned(desc.x);
  p.hs = static_cast<std::uint32_t>(from.dim(1)), p.ws = static_cast<std::uint32_t>(from.dim(2));
  p.hd = to.dim(1), p.wd = to.dim(2);
  p.positions = to.dim(0) * p.hd * p.wd;
  p.depth = p.inputs * desc.y.kernel * desc.x.kernel;
  p.src = stridedOf(from), p.dst = stridedOf(to);
  const Strided w = stridedOf(s.weights);
  std::int64_t weightsAt = 0;
  if (forward) {
    p.weightOutput = w.step[0], p.weightY = w.step[1], p.weightX = w.step[2], p.weightInput = w.step[3];
    p.weightGroup = p.outputs * w.step[0];
  } else {
    p.weightOutput = w.step[3], p.weightY = -w.step[1], p.weightX = -w.step[2], p.weightInput = w.step[0];
    p.weightGroup = p.inputs * w.step[0];
    weightsAt = (desc.y.kernel - 1) * w.step[1] + (desc.x.kernel - 1) * w.step[2];
  }
  p.alongInputs = p.weightInput == 4;
  const bool fours = inFours(std::vector<View>{from});
  p.whole = p.inputs % 16 == 0 && fours;
  p.vectors = p.outputs % 4 == 0 && inFours(std::vector<View>{to});
  p.narrow = p.outputs <= 32;
  const std::int64_t columns = p.narrow ? 32 : 64;
  p.low = (p.positions + 127) / 128 * ((p.outputs + columns - 1) / columns) * p.groups < 2 * device.multiprocessors();
  if (desc.bias) p.biasStep = s.bias.stride(0);
  plan.body = [p, s, epilogue, to, read, weightsAt](const Context& context,
                                                    const prim::Invocation& inv) -> base::Status {
    ConvTilesParams now = p;
    KOVAR_TRY_ASSIGN(now.src.data, read.start(context.stream, inv));
    now.dst.data = epilogue.targetData(inv) + to.offset * bytesOf(to);
    now.weights = at(inv, s.weightsArg, s.weights) + weightsAt;
    if (s.desc.bias) now.bias = reinterpret_cast<const float*>(at(inv, s.biasArg, s.bias));
    now.whole = p.whole && alignedTo16({now.src.data});
    now.vectors = p.vectors && alignedTo16({now.dst.data});
    const cudaError_t e = runConvTiles(now, context.stream);
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "convolution");
  };
  return {};
}

}  // namespace

base::Status prepareConvTiles(Device& device, const prim::Conv& desc, std::span<const View> views,
                              const prim::PrepareOptions& options, CudaPlan& plan) {
  if (desc.reducedPrecision) return base::Failure{"tensor cores may be used"};
  const bool winograd = desc.y == desc.x && desc.x.kernel == 3 && desc.x.stride == 1 && desc.x.dilation == 1;
  if (winograd && options.only.empty() && hasCudnn()) return base::Failure{"cuDNN has Winograd's algorithm for it"};
  const ConvShape s = describe(desc, views);
  return desc.direction == prim::Direction::Weights ? prepareWeights(device, s, plan)
                                                    : prepareForward(device, s, views, plan);
}

}  // namespace kovar::cuda
