// Losses: value and gradient in one pass over blocks of one image. A reduced value is summed per chunk and the chunks
// are added in order, so it does not depend on the threads.

#include "backend/cpu/loss.hpp"

#include <array>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/row_io.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/loss.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/pieces.hpp"
#include "backend/cpu/softmax_row.hpp"
#include "maths/loss-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// One run of elements: where values come from and go to. Null pointers: absent.
struct LossRun {
  const float *y, *t, *w, *incoming;
  float *value, *gradient;
  std::int64_t n;
  const LossScales& scales;
  bool labelGradient;
  double* sum;

  HWY_INLINE Floats weightAt(std::int64_t i, std::int64_t part) const {
    if (w == nullptr) return Floats(scales.weight);
    return Floats(scales.weight) * (part == kLanes ? m::load<Floats>(w + i) : loadPart(w + i, part));
  }
  HWY_INLINE Floats incomingAt(std::int64_t i, std::int64_t part) const {
    if (incoming == nullptr) return Floats(scales.gradient);
    return Floats(scales.gradient) * (part == kLanes ? m::load<Floats>(incoming + i) : loadPart(incoming + i, part));
  }

  template <class L>
  HWY_INLINE Floats step(const L& loss, std::int64_t i, std::int64_t part) const {
    const bool whole = part == kLanes;
    const Floats a = whole ? m::load<Floats>(y + i) : loadPart(y + i, part);
    const Floats b = whole ? m::load<Floats>(t + i) : loadPart(t + i, part);
    const Floats weight = weightAt(i, part);
    if (gradient != nullptr) {
      const Floats g = (labelGradient ? loss.labelGradient(a, b) : loss.gradient(a, b)) * weight * incomingAt(i, part);
      if (whole)
        m::store(g, gradient + i);
      else
        storePart(g, gradient + i, part);
    }
    if (value == nullptr && sum == nullptr) return Floats(0.f);
    const Floats v = loss.value(a, b) * weight;
    if (value != nullptr) {
      if (whole)
        m::store(v, value + i);
      else
        storePart(v, value + i, part);
    }
    return whole ? v : firstLanes(v, part);
  }

  template <class L>
  HWY_NOINLINE void operator()(const L& loss) const {
    Floats total(0.f);
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) total = total + step(loss, i, kLanes);
    if (i < n) total = total + step(loss, i, n - i);
    if (sum != nullptr) *sum += static_cast<double>(hn::GetLane(sumOfLanes(total).raw));
  }
};

/// The exact derivative of one pixel's cross entropy by its predictions; y: log-softmax, `labels`: room for n floats.
void softmaxExact(const LossRun& run, const m::LabelSmoothing& smoothing, float* labels) {
  Floats total(0.f);
  for (std::int64_t i = 0; i < run.n; i += kLanes) {
    const std::int64_t part = std::min(kLanes, run.n - i);
    const Floats t = part == kLanes ? m::load<Floats>(run.t + i) : loadPart(run.t + i, part);
    const Floats given = run.incomingAt(i, part) * run.weightAt(i, part) * smoothing.smooth(t);
    storePart(given, labels + i, part);
    total = total + (part == kLanes ? given : loadPart(labels + i, part));
  }
  const Floats sum = sumOfLanes(total);
  for (std::int64_t i = 0; i < run.n; i += kLanes) {
    const std::int64_t part = std::min(kLanes, run.n - i);
    const Floats y = part == kLanes ? m::load<Floats>(run.y + i) : loadPart(run.y + i, part);
    storePart(m::softmaxGradient(y, loadPart(labels + i, part), sum), run.gradient + i, part);
  }
}

struct LossBlock {
  const LossPlan& plan;
  const LossScales& scales;
  float* buffers;
  double* sum;

  void operator()(const Piece* pieces, std::int64_t rows, std::int64_t columns) const {
    const std::int64_t n = rows * columns, room = plan.capacity;
    const auto input = [&](int view, int buffer) HWY_ATTR -> const float* {
      if (view < 0) return nullptr;
      const Piece& p = pieces[view];
      if (const float* lies = floatsOf(p, rows, columns); lies != nullptr) return lies;
      loadPiece(p, rows, columns, buffers + buffer * room);
      return buffers + buffer * room;
    };
    const auto output = [&](int view, int buffer) HWY_ATTR -> float* {
      if (view < 0) return nullptr;
      float* lies = floatsOf(pieces[view], rows, columns);
      return lies != nullptr ? lies : buffers + buffer * room;
    };
    LossRun run{input(0, 0),
                input(1, 1),
                input(plan.weights, 2),
                input(plan.incoming, 3),
                output(plan.value, 4),
                output(plan.gradient, 5),
                n,
                scales,
                plan.desc.labelGradient,
                sum};
    float* const value = run.value;
    float* const gradient = run.gradient;
    if (plan.params.type == maths::LossType::SoftMaxCrossEntropy)
      softmaxRuns(run, rows, columns);
    else
      m::visitLoss(plan.params, run);
    if (value == buffers + 4 * room) storePiece(value, pieces[plan.value], rows, columns);
    if (gradient == buffers + 5 * room) storePiece(gradient, pieces[plan.gradient], rows, columns);
  }

  /// Pixel by pixel: the log-softmax first, then value and gradient from it.
  void softmaxRuns(LossRun run, std::int64_t rows, std::int64_t columns) const {
    float *logits = buffers + 6 * plan.capacity, *labels = buffers + 7 * plan.capacity;
    const float s = plan.params.labelSmoothing > 0.f ? plan.params.labelSmoothing : 0.f;
    const m::SoftMaxCrossEntropy loss{{1.f - s, s / static_cast<float>(plan.params.numberOfClasses)}};
    const bool exact = plan.exactSoftmax && run.gradient != nullptr;
    float* const gradient = run.gradient;
    const float* y = run.y;
    run.n = columns;
    for (std::int64_t r = 0; r < rows; ++r) {
      softmaxRow(y + r * columns, logits, columns, true);
      run.y = logits;
      run.gradient = exact || gradient == nullptr ? nullptr : gradient + r * columns;
      if (run.gradient != nullptr || run.value != nullptr || run.sum != nullptr) run(loss);
      if (exact) {
        run.gradient = gradient + r * columns;
        softmaxExact(run, loss.labels, labels);
      }
      run.t += columns;
      if (run.w != nullptr) run.w += columns;
      if (run.incoming != nullptr) run.incoming += columns;
      if (run.value != nullptr) run.value += columns;
    }
  }
};

void lossBlocks(const LossPlan& plan, const LossScales& scales, std::byte* const* storage, std::int64_t begin,
                std::int64_t end, double* sum) {
  thread_local std::vector<float> buffers;
  buffers.resize(static_cast<std::size_t>(8 * plan.capacity));
  walkBlocks(plan.loops, BlockGrid(plan.loops, plan.capacity), plan.types.data(), storage, begin, end,
             LossBlock{plan, scales, buffers.data(), sum});
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(lossBlocks);

using prim::LossReduction;
using prim::View;

/// How many weights are not 0 (or pixels that have one such weight) in every image.
std::vector<std::int64_t> countWeights(const LossPlan& plan, Context& context, const prim::Invocation& inv) {
  const View& w = plan.weightsView;
  const auto size = static_cast<std::int64_t>(sizeOf(w.dtype));
  const bool pixels = maths::lossCountsPixels(plan.params.type);
  const std::int64_t channels = plan.channels;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(plan.images));
  context.pool.run(counts.size(), [&](std::size_t image) {
    std::vector<float> row(static_cast<std::size_t>(channels));
    for (std::int64_t y = 0; y < plan.height; ++y)
      for (std::int64_t x = 0; x < plan.width; ++x) {
        const std::int64_t at =
            w.offset + static_cast<std::int64_t>(image) * w.stride(0) + y * w.stride(1) + x * w.stride(2);
        readRow(w.dtype, inv.args[2].data + at * size, w.stride(3) * size, channels, row.data());
        std::int64_t found = 0;
        for (const float v : row) found += inv.scalars->f[0] * v != 0.f ? 1 : 0;
        counts[image] += pixels ? (found > 0 ? 1 : 0) : found;
      }
  });
  return counts;
}

/// Divisor of every image's value. 0: the result is 0.
std::vector<double> divisors(const LossPlan& plan, Context& context, const prim::Invocation& inv) {
  const bool counts = plan.desc.weights && plan.desc.reduction == LossReduction::SumByNonZeroWeights;
  std::vector<std::int64_t> nonZero(static_cast<std::size_t>(plan.images), -1);
  if (counts) nonZero = countWeights(plan, context, inv);
  if (counts && plan.desc.acrossBatch) {
    std::int64_t all = 0;
    for (const std::int64_t c : nonZero) all += c;
    std::fill(nonZero.begin(), nonZero.end(), all);
  }
  std::vector<double> result;
  result.reserve(nonZero.size());
  for (const std::int64_t c : nonZero)
    result.push_back(static_cast<double>(
        maths::lossDivisor(plan.params.type, static_cast<maths::LossReductionType>(plan.desc.reduction), plan.width,
                           plan.height, plan.channels, plan.images, plan.desc.acrossBatch, inv.scalars->f[0], c)));
  return result;
}

void writeScalar(const View& v, std::byte* storage, std::int64_t image, double value) {
  const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
  const auto f = static_cast<float>(value);
  writeRow(v.dtype, &f, 1, storage + (v.offset + image * v.stride(0)) * size, size);
}

float readScalar(const View& v, const std::byte* storage, std::int64_t image) {
  const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
  float f = 0.f;
  readRow(v.dtype, storage + (v.offset + image * v.stride(0)) * size, size, 1, &f);
  return f;
}

void writeReduced(const LossPlan& plan, const prim::Invocation& inv, const double* sums, std::int64_t chunks,
                  const std::vector<double>& divisor) {
  const bool cosine = plan.params.type == maths::LossType::CosineDistance;
  std::byte* storage = inv.args[plan.lossArg].data;
  double total = 0;
  for (std::int64_t n = 0; n < plan.images; ++n) {
    double value = cosine ? static_cast<double>(inv.scalars->f[0]) : 0.0;
    for (std::int64_t c = 0; c < chunks; ++c) value += sums[n * chunks + c];
    const double d = divisor[static_cast<std::size_t>(n)];
    value = d == 0 ? 0 : value / d;
    if (plan.desc.acrossBatch) {
      total += value;
      if (n > 0 && n < plan.lossView.dim(0)) writeScalar(plan.lossView, storage, n, 0);
    } else {
      writeScalar(plan.lossView, storage, n, value);
    }
  }
  if (plan.desc.acrossBatch) writeScalar(plan.lossView, storage, 0, total);
}

void runLoss(const LossPlan& plan, Context& context, const prim::Invocation& inv) {
  const bool reduced = plan.desc.writeLoss && plan.desc.reduction != LossReduction::None;
  const std::int64_t blocks = BlockGrid(plan.loops, plan.capacity).blocks;
  const std::int64_t perChunk = std::max<std::int64_t>(1, kChunkElements / 2 / plan.capacity);
  const std::int64_t chunks = divideUp(blocks, perChunk);
  const std::vector<double> divisor = divisors(plan, context, inv);
  auto* sums = reinterpret_cast<double*>(inv.scratch);
  context.pool.run(static_cast<std::size_t>(plan.images * chunks), [&](std::size_t i) {
    const std::int64_t n = static_cast<std::int64_t>(i) / chunks, chunk = static_cast<std::int64_t>(i) % chunks;
    std::array<std::byte*, kMaxLoopViews> storage{};
    for (std::size_t v = 0; v < plan.arg.size(); ++v) storage[v] = inv.args[plan.arg[v]].data + n * plan.imageStep[v];
    LossScales scales;
    scales.weight = inv.scalars->f[0];
    if (plan.desc.incoming && plan.incoming < 0)
      scales.gradient = readScalar(plan.incomingView, inv.args.back().data, plan.desc.acrossBatch ? 0 : n);
    if (plan.desc.divideGradient) {
      const double d = divisor[static_cast<std::size_t>(n)];
      scales.gradient = d == 0 ? 0.f : static_cast<float>(scales.gradient / d);
    }
    double sum = 0;
    HWY_DYNAMIC_DISPATCH(lossBlocks)
    (plan, scales, storage.data(), chunk * perChunk, std::min(blocks, (chunk + 1) * perChunk),
     reduced ? &sum : nullptr);
    if (reduced) sums[i] = sum;
  });
  if (reduced) writeReduced(plan, inv, sums, chunks, divisor);
}

base::Status prepareLoss(const prim::Loss& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  if (desc.type >= static_cast<std::uint8_t>(maths::LossType::Count))
    return base::Failure{"loss type " + std::to_string(desc.type) + " has no element-wise formula"};
  auto loss = std::make_shared<LossPlan>();
  loss->desc = desc;
  loss->params = {static_cast<maths::LossType>(desc.type), desc.labelSmoothing, desc.numberOfClasses, desc.epsilon,
                  desc.delta};
  const bool reduces = desc.reduction != LossReduction::None;
  const bool softmax = loss->params.type == maths::LossType::SoftMaxCrossEntropy;
  if (loss->params.type == maths::LossType::CosineDistance && desc.writeLoss && desc.reduction != LossReduction::Sum)
    return base::Failure{"the cosine distance is one number an image: only the reduction Sum applies"};
  loss->exactSoftmax = softmax && !desc.labelGradient && (desc.incoming || desc.divideGradient);
  const View& src = views[0];
  loss->images = src.dim(0), loss->height = src.dim(1), loss->width = src.dim(2), loss->channels = src.dim(3);

  std::vector<View> walked;
  const auto walk = [&](std::size_t arg, const View& view) {
    View image = view;
    image.rank = 3;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      image.dims[axis] = src.dims[axis + 1];
      // Extents of 1 are read again for every element.
      image.strides[axis] = view.dims[axis + 1] == 1 && src.dims[axis + 1] != 1 ? 0 : view.strides[axis + 1];
    }
    loss->types[walked.size()] = view.dtype;
    loss->arg.push_back(arg);
    loss->imageStep.push_back(view.dim(0) == 1 ? 0 : view.stride(0) * static_cast<std::int64_t>(sizeOf(view.dtype)));
    walked.push_back(image);
    return static_cast<int>(walked.size()) - 1;
  };
  walk(0, views[0]);
  walk(1, views[1]);
  std::size_t next = 2;
  if (desc.weights) {
    loss->weightsView = views[next];
    for (std::size_t axis = 0; axis < 4; ++axis)
      if (views[next].dims[axis] == 1) loss->weightsView.strides[axis] = 0;
    loss->weights = walk(next, views[next]);
    ++next;
  }
  if (desc.writeLoss) {
    loss->lossArg = next;
    loss->lossView = views[next];
    if (!reduces) loss->value = walk(next, views[next]);
    ++next;
  }
  if (desc.writeGradient) {
    loss->gradient = walk(next, views[next]);
    ++next;
  }
  if (desc.incoming) {
    loss->incomingView = views[next];
    if (views[next].dim(0) == 1) loss->incomingView.strides[0] = 0;
    if (!reduces) loss->incoming = walk(next, views[next]);
  }
  loss->loops = mergeLoops(walked, softmax);
  loss->capacity = softmax ? std::max(kBlock, loss->channels) : kBlock;
  const std::int64_t chunks = divideUp(BlockGrid(loss->loops, loss->capacity).blocks,
                                       std::max<std::int64_t>(1, kChunkElements / 2 / loss->capacity));
  plan.scratchBytes = static_cast<std::size_t>(loss->images * chunks) * sizeof(double);
  plan.body = [loss = std::shared_ptr<const LossPlan>(std::move(loss))](Context& context,
                                                                        const prim::Invocation& inv) -> base::Status {
    runLoss(*loss, context, inv);
    return {};
  };
  return {};
}

constexpr Candidate<prim::Loss> kCandidates[] = {{"cpu:loss:blocks", prepareLoss}};

}  // namespace

std::span<const Candidate<prim::Loss>> lossCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
