// Binary convolution: the source becomes a padded image of bits, 32 channels a word; filters lie side by side in
// vectors, and one word of the source meets a vector of filters at a time.

#include <algorithm>
#include <cstring>

#include "backend/cpu/binary_conv_kernels.hpp"
#include "backend/cpu/buffer_pool.hpp"
#include "backend/cpu/cpu.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "maths/bits.hpp"
#include "prim/prim.hpp"

namespace kovar::cpu {
namespace binary {
namespace {

using base::Status;
using prim::Invocation;
using prim::View;

struct Plan {
  prim::BinaryConv desc;
  View src, weights, inputBias, inputScale, dst;
  std::size_t dstArg = 2;
  std::int64_t words = 1;                // of a pixel
  std::int64_t rows = 0, columns = 0;    // of the padded image
  std::int64_t filters = 0, blocks = 0;  // rounded up to whole blocks
  std::vector<PostOps> posts;            // of each destination row
  std::uint64_t key = 0;
  std::shared_ptr<BufferPool> buffers;
};

/// Row `y` of the padded image of image `n`.
void packRow(const Plan& p, const Invocation& inv, std::int64_t n, std::int64_t y, std::uint32_t* to) {
  const std::int64_t channels = p.src.dim(3), sy = y - p.desc.y.pad;
  const float* bias = p.desc.transform ? at<const float>(inv, 2, p.inputBias) : nullptr;
  const float* scale = p.desc.transform ? at<const float>(inv, 3, p.inputScale) : nullptr;
  const float* row = at<const float>(inv, 0, p.src) + n * p.src.stride(0) + sy * p.src.stride(1);
  for (std::int64_t x = 0; x < p.columns; ++x, to += p.words) {
    const std::int64_t sx = x - p.desc.x.pad;
    if (sy >= 0 && sy < p.src.dim(1) && sx >= 0 && sx < p.src.dim(2))
      packPixel(row + sx * p.src.stride(2), p.src.stride(3), channels, bias, scale, to);
    else
      for (std::int64_t w = 0; w < p.words; ++w) to[w] = maths::channelBits(channels, w);
  }
}

/// Weights in blocks of filters side by side, bits beyond the channels cleared, missing filters 0.
base::Result<std::shared_ptr<const std::byte>> packedWeights(const Plan& p, const Invocation& inv) {
  const prim::Bound& bound = inv.args[1];
  if (bound.derived != nullptr)
    if (auto form = bound.derived->find(p.key)) return std::static_pointer_cast<const std::byte>(form);
  KOVAR_TRY_ASSIGN(const std::shared_ptr<std::byte> packed, p.buffers->take());
  auto* to = reinterpret_cast<std::uint32_t*>(packed.get());
  const auto* from = at<const std::uint32_t>(inv, 1, p.weights);
  const View& v = p.weights;
  const std::int64_t block = p.filters / p.blocks;
  for (std::int64_t b = 0; b < p.blocks; ++b)
    for (std::int64_t y = 0; y < v.dim(1); ++y)
      for (std::int64_t x = 0; x < v.dim(2); ++x)
        for (std::int64_t w = 0; w < p.words; ++w)
          for (std::int64_t f = 0; f < block; ++f, ++to) {
            const std::int64_t filter = b * block + f;
            *to = filter < v.dim(0) ? from[filter * v.stride(0) + y * v.stride(1) + x * v.stride(2) + w * v.stride(3)] &
                                          maths::channelBits(p.src.dim(3), w)
                                    : 0u;
          }
  if (bound.derived != nullptr) bound.derived->put(p.key, packed);
  return std::shared_ptr<const std::byte>(packed);
}

FailureFlag::Reason runRow(const Plan& p, const Invocation& inv, std::int64_t n, std::int64_t y,
                           const std::uint32_t* bits, const std::uint32_t* weights) {
  const std::int64_t positions = p.dst.dim(2), channels = p.dst.dim(3);
  float* results = threadFloats(static_cast<std::size_t>(positions * p.filters));
  if (results == nullptr) return FailureFlag::kMemory;
  const prim::BinaryConv& d = p.desc;
  CountRow r;
  r.bitsRow = d.y.dilation * p.columns * p.words;
  r.bitsTap = d.x.dilation * p.words;
  r.bitsPosition = d.x.stride * p.words;
  r.bits = bits + (n * p.rows + y * d.y.stride) * p.columns * p.words;
  r.weights = weights;
  r.tapRows = d.y.kernel, r.taps = d.x.kernel, r.words = p.words, r.blocks = p.blocks;
  r.positions = positions;
  r.common = d.kind == prim::BinaryKind::And;
  // Pairs that differ are counted: N - 2 * those.
  const auto pairs = static_cast<float>(p.src.dim(3) * d.y.kernel * d.x.kernel);
  r.factor = r.common ? 1.f : -2.f;
  r.summand = r.common ? 0.f : pairs;
  r.results = results, r.resultRow = p.filters;
  countRow(r);
  float* dst = at<float>(inv, p.dstArg, p.dst) + n * p.dst.stride(0) + y * p.dst.stride(1);
  for (std::int64_t x = 0; x < positions; ++x, dst += p.dst.stride(2)) {
    const float* from = results + x * p.filters;
    if (p.dst.stride(3) == 1)
      std::copy_n(from, channels, dst);
    else
      for (std::int64_t c = 0; c < channels; ++c) dst[c * p.dst.stride(3)] = from[c];
  }
  const PostOps& post = p.posts[static_cast<std::size_t>(n * p.dst.dim(1) + y)];
  if (!post.empty()) post.applyBlock(inv, reinterpret_cast<float*>(inv.args[p.dstArg].data), 0, 1);
  return FailureFlag::kNone;
}

Status prepareBits(const prim::BinaryConv& desc, std::span<const View> views, const prim::PrepareOptions&,
                   CpuPlan& plan) {
  auto p = std::make_shared<Plan>();
  p->desc = desc;
  p->src = views[0], p->weights = views[1];
  if (desc.transform) p->inputBias = views[2], p->inputScale = views[3], p->dstArg = 4;
  p->dst = views[p->dstArg];
  for (const View* v : {&p->inputBias, &p->inputScale})
    if (desc.transform && v->dim(0) > 1 && v->stride(0) != 1) return base::Failure{"input bias or scale is not dense"};
  const std::int64_t n = p->dst.dim(0), height = p->dst.dim(1);
  p->words = p->weights.dim(3);
  p->rows = (height - 1) * desc.y.stride + desc.y.extent();
  p->columns = (p->dst.dim(2) - 1) * desc.x.stride + desc.x.extent();
  const std::int64_t block = filterBlock();
  p->blocks = (p->dst.dim(3) + block - 1) / block;
  p->filters = p->blocks * block;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t y = 0; y < height; ++y) {
      const auto cut = [&](const View& v) { return v.slice(0, i, 1).slice(1, y, 1); };
      std::vector<View> args(views.begin(), views.end());
      for (std::size_t a = p->dstArg + 1; a < args.size(); ++a) args[a] = cut(args[a]);
      p->posts.emplace_back(desc.post, cut(p->dst), args, p->dstArg + 1);
    }
  const View& w = p->weights;
  const auto bytes = static_cast<std::size_t>(p->filters * w.dim(1) * w.dim(2) * p->words) * sizeof(std::uint32_t);
  p->buffers = std::make_shared<BufferPool>(bytes);
  for (const std::int64_t part : {std::int64_t{0xb1}, w.dim(0), w.dim(1), w.dim(2), p->src.dim(3), w.stride(0),
                                  w.stride(1), w.stride(2), w.stride(3), w.offset, block})
    p->key = prim::combine(p->key, static_cast<std::uint64_t>(part));
  plan.cacheBytes += 2 * bytes + p->posts.size() * sizeof(PostOps);
  plan.scratchBytes = static_cast<std::size_t>(n * p->rows * p->columns * p->words) * sizeof(std::uint32_t);
  plan.body = [p, n, height](Context& context, const Invocation& inv) -> Status {
    KOVAR_TRY_ASSIGN(const std::shared_ptr<const std::byte> weights, packedWeights(*p, inv));
    auto* bits = reinterpret_cast<std::uint32_t*>(inv.scratch);
    context.pool.run(static_cast<std::size_t>(n * p->rows), [&](std::size_t i) {
      const auto row = static_cast<std::int64_t>(i);
      packRow(*p, inv, row / p->rows, row % p->rows, bits + row * p->columns * p->words);
    });
    FailureFlag failure;
    context.pool.run(static_cast<std::size_t>(n * height), [&](std::size_t i) {
      const auto row = static_cast<std::int64_t>(i);
      const auto reason =
          runRow(*p, inv, row / height, row % height, bits, reinterpret_cast<const std::uint32_t*>(weights.get()));
      if (reason != FailureFlag::kNone) failure.raise(reason);
    });
    return failure.status("cpu:binary:bits");
  };
  return {};
}

}  // namespace
}  // namespace binary

std::span<const Candidate<prim::BinaryConv>> binaryConvCandidates() {
  static constexpr Candidate<prim::BinaryConv> kList[] = {{"cpu:binary:bits", binary::prepareBits}};
  return kList;
}

}  // namespace kovar::cpu
