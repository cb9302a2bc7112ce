// Convolutions in float32 by tiles of our own, in all directions: deterministic, channels last as they lie, bias and
// rectifier on the way.

#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include "backend/cuda/conv.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "maths/neuron.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

/// A tile of weight gradients: everything in it is computed, in the small one at half the speed.
struct WeightsTile {
  std::int64_t rows, columns, slowness;
  std::int64_t tiles(const ConvWeightsParams& p) const {
    return (p.rows + rows - 1) / rows * ((p.columns + columns - 1) / columns);
  }
  std::int64_t cost(const ConvWeightsParams& p) const { return tiles(p) * rows * columns * slowness; }
};
constexpr WeightsTile kLarge{64, 128, 1}, kSmall{32, 32, 2};

/// Into how many shares the positions go: the steps of a block and about eight more for its beginning and end, times
/// the rounds that the device takes with three blocks on each multiprocessor; and the shares must be added up.
std::int64_t splitsFor(const ConvWeightsParams& p, std::int64_t tiles, const Device& device) {
  const std::int64_t steps = (p.positions + kTileStep - 1) / kTileStep, slots = 3 * device.multiprocessors();
  constexpr std::int64_t kAround = 8, kLongest = 256;  // sums in float32 over a few thousand positions at most
  std::int64_t best = 1;
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t splits = (steps + kLongest - 1) / kLongest; splits <= std::max<std::int64_t>(1, steps / kAround);
       ++splits) {
    const std::int64_t rounds = (tiles * splits + slots - 1) / slots;
    const double joining = 2e-6 * static_cast<double>(splits * p.groups * p.rows * p.columns);
    const double cost = static_cast<double>(((steps + splits - 1) / splits + kAround) * rounds) + joining;
    if (cost < least) least = cost, best = splits;
    if (rounds > 8) break;
  }
  return best;
}

bool readable(const View& v) { return v.dtype == prim::DType::F32 && (v.stride(3) == 1 || v.dim(3) == 1); }

/// Steps in floats: offsets in a kernel are 32-bit numbers.
std::int32_t stepOf(const View& v, int axis) { return static_cast<std::int32_t>(v.stride(axis)); }

/// Whether all offsets are; windows may reach as far again before an image as it is large.
bool isSmall(const View& v) { return v.end() < std::int64_t{1} << 30; }

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
  p.small = kSmall.cost(p) < kLarge.cost(p);
  const WeightsTile& tile = p.small ? kSmall : kLarge;
  constexpr std::int64_t kMostWaste = 16;
  if (tile.cost(p) > kMostWaste * p.rows * p.columns)
    return base::Failure{"so few channels leave most of a tile empty"};
  const std::int64_t wanted = splitsFor(p, tile.tiles(p) * p.groups, device);
  p.perSplit = std::max(std::int64_t{8} * kTileStep,
                        ((p.positions + wanted - 1) / wanted + kTileStep - 1) / kTileStep * kTileStep);
  p.splits = (p.positions + p.perSplit - 1) / p.perSplit;
  if (p.groups * p.splits > 65535) return base::Failure{"too many groups and positions for a grid"};
  const View from = src.view(), gradient = dst.view();
  if (!isSmall(from) || !isSmall(gradient)) return base::Failure{"more than 2^30 floats"};
  p.stepImages = static_cast<std::int32_t>(kTileStep / (p.hd * p.wd));
  p.stepRows = static_cast<std::int32_t>(kTileStep % (p.hd * p.wd) / p.wd);
  p.stepColumns = static_cast<std::int32_t>(kTileStep % p.wd);
  p.sourceImage = stepOf(from, 0), p.sourceY = stepOf(from, 1), p.sourceX = stepOf(from, 2);
  p.gradientImage = stepOf(gradient, 0), p.gradientY = stepOf(gradient, 1), p.gradientX = stepOf(gradient, 2);
  p.fours = p.rows % 4 == 0 && p.inputs % 4 == 0 && inFours(std::vector<View>{from, gradient});
  p.weights = stridedOf(s.weights);
  if (desc.bias) p.bias = stridedOf(s.bias);
  const auto shares = static_cast<std::size_t>(p.groups * p.splits * p.rows);
  const std::size_t partials = plan.reserve(shares * static_cast<std::size_t>(p.columns) * sizeof(float));
  const std::size_t biasPartials = desc.bias ? plan.reserve(shares * sizeof(double)) : 0;
  plan.body = [p, s, src, dst, partials, biasPartials](const Context& context,
                                                       const prim::Invocation& inv) -> base::Status {
    ConvWeightsParams now = p;
    KOVAR_TRY_ASSIGN(const std::byte* const source, src.start(context.stream, inv));
    KOVAR_TRY_ASSIGN(const std::byte* const gradients, dst.start(context.stream, inv));
    now.source = reinterpret_cast<const float*>(source), now.gradient = reinterpret_cast<const float*>(gradients);
    now.fours = p.fours && alignedTo16({source, gradients});
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

/// What one launch computes along an axis: the results first, first + every, and so on, from taps of the filter that
/// lie `step` apart; `at` is the tap that the window's first one meets.
struct Part {
  prim::Window window;
  std::int64_t first = 0, every = 1, at = 0, step = 1;
};

/// The gradient by the data as convolutions of the gradient with windows turned over: results that lie `stride` apart
/// meet the same taps. Source y meets tap k where y + pad - k dilation is a multiple of the stride.
std::vector<Part> turned(const prim::Window& w) {
  std::vector<Part> parts;
  for (int r = 0; r < w.stride; ++r) {
    const int tap = ((r + w.pad) % w.stride + w.stride) % w.stride;  // the padding may be negative
    const int count = std::max(0, (w.kernel - tap + w.stride - 1) / w.stride);
    const int pad = (count - 1) * w.dilation - (r + w.pad - tap) / w.stride;
    parts.push_back({{count, 1, w.dilation, pad}, r, w.stride, tap + (count - 1) * w.stride, -w.stride});
  }
  return parts;
}

/// One launch, and where its results and filters begin, in floats.
struct Launch {
  ConvTilesParams p;
  std::int64_t target = 0, weights = 0;
};

/// What a step of the depth takes on an H100, in hundredths of a microsecond: when a multiprocessor has one or two
/// blocks, which then wait for memory, and for each block when it has more.
struct TileCost {
  ConvTilesParams::Tile tile;
  std::int64_t rows, columns, alone, each;
  std::int64_t of(const ConvTilesParams& p, const Device& device) const {
    const std::int64_t blocks = (p.positions + rows - 1) / rows * ((p.outputs + columns - 1) / columns) * p.groups;
    const std::int64_t most = (blocks + device.multiprocessors() - 1) / device.multiprocessors();
    return std::max(alone, each * most);
  }
};
using Tile = ConvTilesParams::Tile;
constexpr TileCost kTiles[] = {{Tile::Rows128Columns64, 128, 64, 120, 66},
                               {Tile::Rows64Columns64, 64, 64, 80, 37},
                               {Tile::Rows128Columns32, 128, 32, 88, 38},
                               {Tile::Rows64Columns32, 64, 32, 70, 23},
                               {Tile::Rows128Columns8, 128, 8, 50, 20}};

Tile tileFor(const ConvTilesParams& p, const Device& device) {
  return std::min_element(std::begin(kTiles), std::end(kTiles),
                          [&](const TileCost& a, const TileCost& b) { return a.of(p, device) < b.of(p, device); })
      ->tile;
}

/// Restricts `l`, which has all but what depends on the part, to one.
Launch restricted(Launch l, const Part& y, const Part& x, const View& to, const View& weights, const Device& device) {
  ConvTilesParams& p = l.p;
  p.y = y.window, p.x = x.window;
  p.hd = (to.dim(1) - y.first + y.every - 1) / y.every, p.wd = (to.dim(2) - x.first + x.every - 1) / x.every;
  p.positions = to.dim(0) * p.hd * p.wd;
  p.depth = p.inputs * p.y.kernel * p.x.kernel;
  l.target = to.offset + y.first * to.stride(1) + x.first * to.stride(2);
  p.targetY = static_cast<std::int32_t>(y.every * to.stride(1));
  p.targetX = static_cast<std::int32_t>(x.every * to.stride(2));
  l.weights = y.at * weights.stride(1) + x.at * weights.stride(2);
  p.weightY = static_cast<std::int32_t>(y.step * weights.stride(1));
  p.weightX = static_cast<std::int32_t>(x.step * weights.stride(2));
  p.tile = tileFor(p, device);
  return l;
}

base::Status prepareForward(Device& device, const ConvShape& s, std::span<const View> views, CudaPlan& plan) {
  const prim::Conv& desc = s.desc;
  const bool forward = desc.direction == prim::Direction::Forward;
  const bool strided = desc.y.stride != 1 || desc.x.stride != 1, dilated = desc.y.dilation != 1 || desc.x.dilation != 1;
  if (!forward && strided && dilated) return base::Failure{"the gradient of a stride with a dilation"};
  const View& given = forward ? s.src : s.dst;
  const DenseOperand read(given, forward ? s.srcArg : s.dstArg, readable(given), plan);
  const View from = read.view();
  Launch all;
  ConvTilesParams& p = all.p;
  p.rectified = isRectifier(desc.post);
  if (p.rectified) p.slope = desc.post.steps[0].p[0];
  EpilogueNeeds needs;
  needs.floatsOnly = true;
  needs.accumulate = desc.accumulate;
  const Epilogue epilogue(p.rectified ? prim::Program{} : desc.post, views, s.resultArg, s.own, needs, plan);
  const View to = epilogue.target();
  if (!isSmall(from) || !isSmall(to) || !isSmall(s.weights)) return base::Failure{"more than 2^30 floats"};
  p.groups = desc.groups;
  p.inputs = from.dim(3) / p.groups;
  p.outputs = to.dim(3) / p.groups;
  if (p.groups > 1 && p.outputs < 8) return base::Failure{"so few channels of a group leave most of a tile empty"};
  if (p.groups > 65535) return base::Failure{"more than 65535 groups do not fit a grid"};
  p.hs = static_cast<std::uint32_t>(from.dim(1)), p.ws = static_cast<std::uint32_t>(from.dim(2));
  p.sourceImage = stepOf(from, 0), p.sourceY = stepOf(from, 1), p.sourceX = stepOf(from, 2);
  p.targetImage = stepOf(to, 0), p.targetChannel = stepOf(to, 3);
  const int output = forward ? 0 : 3, input = forward ? 3 : 0;
  p.weightOutput = stepOf(s.weights, output), p.weightInput = stepOf(s.weights, input);
  p.weightGroup = static_cast<std::int32_t>((forward ? p.outputs : p.inputs) * s.weights.stride(0));
  const bool fours = p.inputs % kTileStep == 0 && inFours(std::vector<View>{from, s.weights});
  if (fours && p.weightInput == 1) p.copies = ConvTilesParams::Copies::AlongInputs;
  if (fours && p.weightOutput == 1 && p.outputs % 4 == 0) p.copies = ConvTilesParams::Copies::AlongOutputs;
  p.vectors = p.outputs % 4 == 0 && inFours(std::vector<View>{to});
  if (desc.bias) p.biasStep = s.bias.stride(0);
  std::vector<Launch> launches;
  for (const Part& y : forward ? std::vector<Part>{{desc.y}} : turned(desc.y))
    for (const Part& x : forward ? std::vector<Part>{{desc.x}} : turned(desc.x))
      if (y.first < to.dim(1) && x.first < to.dim(2)) launches.push_back(restricted(all, y, x, to, s.weights, device));
  plan.body = [launches, s, epilogue, read](const Context& context, const prim::Invocation& inv) -> base::Status {
    KOVAR_TRY_ASSIGN(const std::byte* const source, read.start(context.stream, inv));
    const std::byte* const weights = at(inv, s.weightsArg, s.weights);
    std::byte* const target = epilogue.targetData(inv);
    cudaError_t e = cudaSuccess;
    for (const Launch& l : launches) {
      ConvTilesParams now = l.p;
      now.source = reinterpret_cast<const float*>(source);
      now.weights = reinterpret_cast<const float*>(weights) + l.weights;
      now.target = reinterpret_cast<float*>(target) + l.target;
      if (s.desc.bias) now.bias = reinterpret_cast<const float*>(at(inv, s.biasArg, s.bias));
      if (!alignedTo16({source, weights})) now.copies = ConvTilesParams::Copies::Singles;
      now.vectors = l.p.vectors && alignedTo16({target});
      if (e == cudaSuccess) e = runConvTiles(now, context.stream);
    }
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "convolution");
  };
  return {};
}

}  // namespace

base::Status prepareConvTiles(Device& device, const prim::Conv& desc, std::span<const View> views,
                              const prim::PrepareOptions& options, CudaPlan& plan) {
  if (desc.reducedPrecision) return base::Failure{"tensor cores may be used"};
  if (options.strictFormats) return base::Failure{"strict formats ask for direct sums"};
  const bool winograd = desc.y == desc.x && desc.x.kernel == 3 && desc.x.stride == 1 && desc.x.dilation == 1;
  if (winograd && desc.direction == prim::Direction::Weights && options.only.empty() && hasCudnn())
    return base::Failure{"cuDNN has Winograd's algorithm for it"};
  const ConvShape s = describe(desc, views);
  return desc.direction == prim::Direction::Weights ? prepareWeights(device, s, plan)
                                                    : prepareForward(device, s, views, plan);
}

}  // namespace kovar::cuda
