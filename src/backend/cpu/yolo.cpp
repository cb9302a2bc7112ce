// The anchor-box loss, cell by cell. Few anchors hold objects, so most of the work is writing zeros. Values are summed
// by rows of cells, and these in order: the same sums for any number of threads.

#include <algorithm>
#include <memory>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/row_io.hpp"
#include "maths/yolo-inl.hpp"
#include "prim/yolo.hpp"

namespace kovar::cpu {
namespace {

namespace m = kovar::maths::scalar;
using prim::LossReduction;
using prim::View;

struct YoloPlan {
  prim::Yolo desc;
  View src, labels, weights, loss, gradient, anchors;
  std::size_t lossArg = 2;
  std::int64_t rows() const { return src.dim(0) * src.dim(1); }
};

/// One cell's channels in memory.
struct Cell {
  const float *y, *t, *w;  // w null: 1
  float *value, *gradient;

  float prediction(std::int64_t c) const { return y[c]; }
  float label(std::int64_t c) const { return t[c]; }
  float weight(std::int64_t c) const { return w == nullptr ? 1.f : w[c]; }
  void put(std::int64_t c, float v, float g) const { value[c] = v, gradient[c] = g; }
};

std::byte* at(const View& v, std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t x) {
  return storage +
         (v.offset + n * v.stride(0) + y * v.stride(1) + x * v.stride(2)) * static_cast<std::int64_t>(sizeOf(v.dtype));
}

void readCell(const View& v, std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t x, float* out) {
  readRow(v.dtype, at(v, storage, n, y, x), v.stride(3) * static_cast<std::int64_t>(sizeOf(v.dtype)), v.dim(3), out);
}

void writeCell(const View& v, const float* values, std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t x) {
  writeRow(v.dtype, values, v.dim(3), at(v, storage, n, y, x),
           v.stride(3) * static_cast<std::int64_t>(sizeOf(v.dtype)));
}

/// Row `row` of all images' cells: writes the gradient and, where the loss is not reduced, the values. Returns their
/// sum and counts the weights that are not 0.
struct RowResult {
  double sum = 0;
  double nonZero = 0;
};
RowResult runRow(const YoloPlan& plan, const prim::Invocation& inv, const float* anchors, std::int64_t row) {
  const std::int64_t n = row / plan.src.dim(1), y = row % plan.src.dim(1), channels = plan.src.dim(3);
  thread_local std::vector<float> room;
  room.resize(static_cast<std::size_t>(5 * channels));
  float *predictions = room.data(), *labels = predictions + channels, *weights = labels + channels,
        *value = weights + channels, *gradient = value + channels;
  const maths::YoloParams params = prim::paramsOf(plan.desc);
  const std::int64_t per = channels / params.anchors;
  const bool elements = plan.desc.reduction == LossReduction::None;
  RowResult result;
  for (std::int64_t x = 0; x < plan.src.dim(2); ++x) {
    readCell(plan.src, inv.args[0].data, n, y, x, predictions);
    readCell(plan.labels, inv.args[1].data, n, y, x, labels);
    if (plan.desc.weights) {
      readCell(plan.weights, inv.args[2].data, n, y, x, weights);
      result.nonZero += static_cast<double>(channels - std::count(weights, weights + channels, 0.f));
    }
    const Cell cell{predictions, labels, plan.desc.weights ? weights : nullptr, value, gradient};
    const float best = m::yoloBestFit(params, cell, anchors, per);
    for (std::int64_t a = 0; a < params.anchors; ++a) m::yoloAnchor(params, cell, anchors, per, best, a);
    for (std::int64_t c = 0; c < channels; ++c) result.sum += static_cast<double>(value[c]);
    if (elements) writeCell(plan.loss, value, inv.args[plan.lossArg].data, n, y, x);
    writeCell(plan.gradient, gradient, inv.args[plan.lossArg + 1].data, n, y, x);
  }
  return result;
}

void writeValue(const View& v, std::byte* storage, std::int64_t image, double value) {
  const auto f = static_cast<float>(value);
  writeRow(v.dtype, &f, 1, at(v, storage, image, 0, 0), static_cast<std::int64_t>(sizeOf(v.dtype)));
}

void runYolo(const YoloPlan& plan, Context& context, const prim::Invocation& inv) {
  const View& a = plan.anchors;
  std::vector<float> anchors(static_cast<std::size_t>(2 * plan.desc.anchors));
  for (std::int64_t i = 0; i < plan.desc.anchors; ++i)
    readRow(a.dtype, inv.args[plan.lossArg + 2].data + (a.offset + i * a.stride(0)) * 4, a.stride(1) * 4, 2,
            anchors.data() + 2 * i);
  auto* rows = reinterpret_cast<RowResult*>(inv.scratch);
  context.pool.run(static_cast<std::size_t>(plan.rows()),
                   [&](std::size_t i) { rows[i] = runRow(plan, inv, anchors.data(), static_cast<std::int64_t>(i)); });
  if (plan.desc.reduction == LossReduction::None) return;
  const std::int64_t images = plan.src.dim(0), height = plan.src.dim(1);
  std::byte* const storage = inv.args[plan.lossArg].data;
  std::vector<RowResult> image(static_cast<std::size_t>(images));
  RowResult all;
  for (std::int64_t i = 0; i < plan.rows(); ++i) {
    RowResult& r = image[static_cast<std::size_t>(i / height)];
    r.sum += rows[i].sum, r.nonZero += rows[i].nonZero;
    all.nonZero += rows[i].nonZero;
  }
  double total = 0;
  for (std::int64_t n = 0; n < images; ++n) {
    const RowResult& r = image[static_cast<std::size_t>(n)];
    const double counted = plan.desc.acrossBatch ? all.nonZero : r.nonZero;
    // Every channel counts, also those of the classes.
    const auto divisor = static_cast<double>(maths::lossDivisor(
        maths::LossType::MeanSquaredError, static_cast<maths::LossReductionType>(plan.desc.reduction), plan.src.dim(2),
        height, plan.src.dim(3), images, plan.desc.acrossBatch, 1.f,
        plan.desc.weights ? static_cast<std::int64_t>(counted) : -1));
    const double value = divisor == 0 ? 0 : r.sum / divisor;
    total += value;
    if (!plan.desc.acrossBatch)
      writeValue(plan.loss, storage, n, value);
    else if (n > 0 && n < plan.loss.dim(0))
      writeValue(plan.loss, storage, n, 0);
  }
  if (plan.desc.acrossBatch) writeValue(plan.loss, storage, 0, total);
}

base::Status prepareYolo(const prim::Yolo& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  auto yolo = std::make_shared<YoloPlan>();
  yolo->desc = desc;
  yolo->src = views[0];
  yolo->labels = views[1];
  std::size_t next = 2;
  if (desc.weights) {
    View& w = yolo->weights = views[next++];
    for (std::size_t axis = 0; axis < 4; ++axis)
      if (w.dims[axis] == 1) w.dims[axis] = yolo->src.dims[axis], w.strides[axis] = 0;
  }
  yolo->lossArg = next;
  yolo->loss = views[next];
  yolo->gradient = views[next + 1];
  yolo->anchors = views[next + 2];
  plan.scratchBytes = static_cast<std::size_t>(yolo->rows()) * sizeof(RowResult);
  plan.body = [yolo = std::shared_ptr<const YoloPlan>(std::move(yolo))](Context& context,
                                                                        const prim::Invocation& inv) -> base::Status {
    runYolo(*yolo, context, inv);
    return {};
  };
  return {};
}

constexpr Candidate<prim::Yolo> kCandidates[] = {{"cpu:yolo:cells", prepareYolo}};

}  // namespace

std::span<const Candidate<prim::Yolo>> yoloCandidates() { return kCandidates; }

}  // namespace kovar::cpu
