// Convolution and its data gradient by Winograd's algorithm: blocks of tiles go through the transforms and the products
// while they stay in a core's cache. docs/adr/0004-winograd.md has the reasons.

#include "backend/cpu/conv_winograd.hpp"

#include <algorithm>

#include "backend/cpu/buffer_pool.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace winograd {

using base::Failure;
using base::Status;
using prim::Invocation;
using prim::View;

namespace {

constexpr std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Chunks wanted at least, where there are tiles enough; each of at least this many tiles.
constexpr std::int64_t kChunks = 16, kChunkTiles = 96;
/// Floats of the transforms of a block.
constexpr std::int64_t kBlockFloats = 160 * 1024;
/// Output channels whose weights one chunk packs, in vectors.
constexpr std::int64_t kPackVectors = 1;

/// Work in multiply-adds, transforms included at what they take compared with those of the products.
double tileWork(const ConvShape& s, double tiles) {
  constexpr double kSource = 280, kResult = 200, kWeights = 1500;
  const auto ci = static_cast<double>(wholeVectors(s.ci)), co = static_cast<double>(wholeVectors(s.co));
  return tiles * (kPoints * ci * co + kSource * ci + kResult * co) + kWeights * ci * co;
}

/// Multiply-adds of direct sums, which leave out the taps outside the source.
double directWork(const ConvShape& s) {
  const auto inside = [](const prim::Window& window, std::int64_t extent, std::int64_t positions) {
    std::int64_t sum = 0;
    for (std::int64_t p = 0; p < window.kernel; ++p) {
      const TapRange range = tapRange(window, p, extent, positions);
      sum += range.last - range.first;
    }
    return static_cast<double>(sum);
  };
  return inside(s.desc.y, s.hs, s.hd) * inside(s.desc.x, s.ws, s.wd) * static_cast<double>(s.n * s.ci * s.co);
}

}  // namespace

std::int64_t wholeVectors(std::int64_t channels) { return divideUp(channels, vectorFloats()) * vectorFloats(); }

TileImage imageOf(const View& v) {
  return {nullptr, v.stride(0), v.stride(1), v.stride(2), v.dim(1), v.dim(2), v.dim(3)};
}

TileWeights weightsOf(const ConvShape& s) {
  const View& w = s.weights;
  return {nullptr, w.stride(0), w.stride(1), w.stride(2), s.co, s.ci, static_cast<int>(s.kh)};
}

TileGrid gridOf(std::int64_t taps, std::int64_t rows, std::int64_t columns, std::int64_t padTop, std::int64_t padLeft) {
  TileGrid g;
  g.results = static_cast<int>(kSide + 1 - taps);
  g.across = divideUp(columns, g.results);
  g.perImage = g.across * divideUp(rows, g.results);
  g.padTop = padTop, g.padLeft = padLeft;
  return g;
}

std::int64_t blockTiles(std::int64_t channels) {
  return std::clamp<std::int64_t>(kBlockFloats / (kPoints * channels), 12, 96) / 12 * 12;
}

Status takes(const ConvShape& s, const prim::PrepareOptions& options) {
  const prim::Window &y = s.desc.y, &x = s.desc.x;
  if (options.strictFormats) return Failure{"strict formats ask for direct sums"};
  if (y.kernel != x.kernel || (y.kernel != 3 && y.kernel != 5)) return Failure{"kernels other than 3x3 and 5x5"};
  if (y.stride != 1 || x.stride != 1) return Failure{"a stride other than 1"};
  if (y.dilation != 1 || x.dilation != 1) return Failure{"a dilation other than 1"};
  if (s.groups != 1) return Failure{"groups"};
  if (s.src.stride(3) != 1 || s.dst.stride(3) != 1 || s.weights.stride(3) != 1)
    return Failure{"channels do not lie beside each other"};
  if (s.desc.bias && s.bias.stride(0) != 1) return Failure{"the bias is not dense"};
  if (!options.only.empty()) return {};
  if (!options.winograd) return Failure{"switched off (KOVAR_WINOGRAD=0)"};
  const bool data = s.desc.direction == prim::Direction::Data;
  const TileGrid g = gridOf(s.kh, data ? s.hs : s.hd, data ? s.ws : s.wd, 0, 0);
  // Below this a tile's transforms take as long as what they save, whatever the count says.
  constexpr std::int64_t kLeastChannels = 12;
  if (s.ci < kLeastChannels || s.co < kLeastChannels) return Failure{"too few channels"};
  // Direct sums run at the roof; here other things than the products take their share, and results are less precise.
  constexpr double kWantedGain = 1.25;
  if (tileWork(s, static_cast<double>(s.n * g.perImage)) * kWantedGain > directWork(s))
    return Failure{"too little work for the transforms"};
  return {};
}

namespace {

/// Results of one chunk: a run of tiles, of whole images or of rows of one image.
struct Chunk {
  std::int64_t first = 0, tiles = 0;
  std::int64_t images = 0;
  PostOps post;
};

struct Conv {
  ConvShape shape;
  bool forward = true;
  TileGrid grid;
  View source, result;
  std::size_t sourceArg = 0, resultArg = 0;
  std::int64_t steps = 0, columns = 0;  // of a product
  std::int64_t block = 0;               // tiles
  std::vector<Chunk> chunks;
  PackedShape packed;
  std::uint64_t key = 0;
  std::shared_ptr<BufferPool> buffers;
};

/// The transformed weights, kept in the derived forms of their storage where it has them.
base::Result<std::shared_ptr<const std::byte>> packedWeights(const Conv& conv, Context& context,
                                                             const Invocation& inv) {
  const prim::Bound& source = inv.args[conv.shape.weightsArg];
  if (source.derived != nullptr)
    if (auto form = source.derived->find(conv.key)) return std::static_pointer_cast<const std::byte>(form);
  KOVAR_TRY_ASSIGN(const std::shared_ptr<std::byte> packed, conv.buffers->take());
  TileWeights weights = weightsOf(conv.shape);
  weights.data = at<float>(inv, conv.shape.weightsArg, conv.shape.weights);
  const std::int64_t step = kPackVectors * vectorFloats();
  FailureFlag failure;
  context.pool.run(static_cast<std::size_t>(divideUp(conv.shape.co, step)), [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * step, last = std::min(first + step, conv.shape.co);
    auto* to = reinterpret_cast<float*>(packed.get());
    if (!conv.forward) return packTurned(weights, first, last, conv.packed, to);
    float* room = threadFloats(static_cast<std::size_t>(packRoomFloats()));
    if (room == nullptr) return failure.raise(FailureFlag::kMemory);
    packForward(weights, first, last, conv.packed, to, room);
  });
  KOVAR_TRY(failure.status("cpu:conv:winograd"));
  if (source.derived != nullptr) source.derived->put(conv.key, packed);
  return std::shared_ptr<const std::byte>(packed);
}

FailureFlag::Reason runChunk(const Conv& conv, const Chunk& chunk, const Invocation& inv, const float* weights) {
  TileImage source = imageOf(conv.source), result = imageOf(conv.result);
  source.data = at<float>(inv, conv.sourceArg, conv.source);
  result.data = at<float>(inv, conv.resultArg, conv.result);
  const float* bias = conv.shape.desc.bias ? at<const float>(inv, conv.shape.biasArg, conv.shape.bias) : nullptr;
  TilePoints in, out;
  in.row = wholeVectors(conv.steps), out.row = conv.columns;
  in.point = pointFloats(conv.block, in.row), out.point = pointFloats(conv.block, out.row);
  float* room = threadFloats(static_cast<std::size_t>(kPoints * (in.point + out.point) + in.row));
  if (room == nullptr) return FailureFlag::kMemory;
  in.data = room, out.data = room + kPoints * in.point;
  float* zeros = out.data + kPoints * out.point;
  std::fill_n(zeros, in.row, 0.f);
  TileProduct product;
  product.a = in.data, product.b = weights, product.c = out.data;
  product.n = conv.columns, product.k = conv.steps;
  product.aPoint = in.point, product.bPoint = conv.packed.pointFloats(), product.cPoint = out.point;
  product.aRow = in.row, product.aStep = 1, product.cRow = out.row;
  product.bPanel = conv.steps * panelFloats();
  for (std::int64_t t = 0; t < chunk.tiles; t += conv.block) {
    product.m = std::min(conv.block, chunk.tiles - t);
    sourceTiles(source, conv.grid, chunk.first + t, product.m, zeros, in);
    multiplyPoints(product);
    resultTiles(out, bias, conv.grid, chunk.first + t, product.m, result);
  }
  if (!chunk.post.empty())
    chunk.post.applyBlock(inv, reinterpret_cast<float*>(inv.args[conv.resultArg].data), 0, chunk.images);
  return FailureFlag::kNone;
}

/// The chunks: images where there are enough of them, else rows of tiles.
std::vector<Chunk> chunksOf(const Conv& conv, std::span<const View> views) {
  const std::int64_t images = conv.result.dim(0), rows = conv.result.dim(1),
                     down = conv.grid.perImage / conv.grid.across;
  const bool whole = images >= kChunks;
  const std::int64_t perChunk = std::clamp<std::int64_t>(divideUp(kChunkTiles, conv.grid.perImage), 1,
                                                         std::max<std::int64_t>(1, images / kChunks));
  const std::int64_t strip = whole ? down : std::max<std::int64_t>(1, down * images / kChunks);
  std::vector<Chunk> chunks;
  for (std::int64_t n = 0; n < images; n += whole ? perChunk : 1)
    for (std::int64_t r = 0; r < down; r += strip) {
      Chunk c;
      c.images = std::min(whole ? perChunk : 1, images - n);
      const std::int64_t stripRows = std::min(strip, down - r);
      c.first = n * conv.grid.perImage + r * conv.grid.across;
      c.tiles = c.images == 1 ? stripRows * conv.grid.across : c.images * conv.grid.perImage;
      const auto cut = [&](const View& v) {
        const std::int64_t m = conv.grid.results;
        return v.slice(0, n, c.images).slice(1, r * m, std::min(rows, (r + stripRows) * m) - r * m);
      };
      std::vector<View> args(views.begin(), views.end());
      for (std::size_t i = conv.shape.ownArgs; i < args.size(); ++i) args[i] = cut(args[i]);
      c.post = PostOps(conv.shape.desc.post, cut(conv.result), args, conv.shape.ownArgs);
      chunks.push_back(std::move(c));
    }
  return chunks;
}

Status prepareF32(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions& options,
                  CpuPlan& plan) {
  auto conv = std::make_shared<Conv>();
  conv->shape = describe(desc, views);
  const ConvShape& s = conv->shape;
  KOVAR_TRY(takes(s, options));
  const bool forward = conv->forward = desc.direction == prim::Direction::Forward;
  conv->source = forward ? s.src : s.dst, conv->result = forward ? s.dst : s.src;
  conv->sourceArg = forward ? s.srcArg : s.dstArg, conv->resultArg = forward ? s.dstArg : s.srcArg;
  // The data gradient is a convolution of the gradient with the kernel turned by 180 degrees.
  const std::int64_t top = forward ? desc.y.pad : s.kh - 1 - desc.y.pad,
                     left = forward ? desc.x.pad : s.kw - 1 - desc.x.pad;
  conv->grid = gridOf(s.kh, conv->result.dim(1), conv->result.dim(2), top, left);
  conv->steps = forward ? s.ci : s.co, conv->columns = wholeVectors(forward ? s.co : s.ci);
  conv->block = blockTiles(wholeVectors(conv->steps) + conv->columns);
  conv->packed = {conv->steps, conv->columns};
  conv->chunks = chunksOf(*conv, views);
  const std::size_t bytes = static_cast<std::size_t>(kPoints * conv->packed.pointFloats()) * sizeof(float);
  conv->buffers = std::make_shared<BufferPool>(bytes);
  const View& w = s.weights;
  for (const std::int64_t part :
       {std::int64_t{forward ? 0x57f : 0x57d}, s.co, s.ci, s.kh, w.stride(0), w.stride(1), w.stride(2), w.offset})
    conv->key = prim::combine(conv->key, static_cast<std::uint64_t>(part));
  plan.cacheBytes += conv->chunks.size() * sizeof(Chunk) + 2 * bytes;
  plan.body = [conv](Context& context, const Invocation& inv) -> Status {
    KOVAR_TRY_ASSIGN(const std::shared_ptr<const std::byte> weights, packedWeights(*conv, context, inv));
    FailureFlag failure;
    context.pool.run(conv->chunks.size(), [&](std::size_t i) {
      const auto reason = runChunk(*conv, conv->chunks[i], inv, reinterpret_cast<const float*>(weights.get()));
      if (reason != FailureFlag::kNone) failure.raise(reason);
    });
    return failure.status("cpu:conv:winograd");
  };
  return {};
}

}  // namespace
}  // namespace winograd

base::Status prepareConvWinograd(const prim::Conv& desc, std::span<const prim::View> views,
                                 const prim::PrepareOptions& options, CpuPlan& plan) {
  const auto inner = desc.direction == prim::Direction::Weights ? winograd::prepareWeightsF32 : winograd::prepareF32;
  return viaF32(desc, views, options, plan, convAccess(desc), inner);
}

}  // namespace kovar::cpu
