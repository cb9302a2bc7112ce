// The memory-bound primitives: GB/s of the bytes that must move (every argument once), beside what plain loops reach.
// Last number of each name: threads. Data outgrow the caches, except where the name says so.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/backend.hpp"
#include "base/parallel.hpp"
#include "prim/backend.hpp"

namespace kovar {
namespace {

using prim::DType;
using prim::EwOp;
using prim::View;

prim::Backend& device(int threads) {
  static std::map<int, std::unique_ptr<prim::Backend>> devices;
  auto& d = devices[threads];
  if (!d) d = cpu::makeCpuBackend(threads);
  return *d;
}

/// Runs one primitive over arguments of its own; `pass` tells what counts as traffic: bytes of every view once.
void runPrim(benchmark::State& state, const prim::Prim& prim, const std::vector<View>& views, int threads,
             const prim::Scalars& scalars = {}) {
  prim::Backend& d = device(threads);
  auto plan = d.prepare(prim, views, {});
  if (!plan.ok()) return state.SkipWithError(plan.failure().text.c_str());
  std::vector<prim::MemoryRef> memory;
  std::vector<prim::Bound> bound;
  double bytes = 0;
  unsigned noise = 1;
  for (const View& v : views) {
    const std::size_t size = static_cast<std::size_t>(v.end()) * sizeOf(v.dtype);
    memory.push_back(*d.allocate(size + 64, true));
    // Values below 1 that no branch predictor learns.
    for (std::size_t i = 0; v.dtype == DType::F32 && i + 4 <= size; i += 4) {
      noise = noise * 1664525u + 1013904223u;
      const float f =
          static_cast<float>(noise >> 8) * 0x1p-24f - (prim.index() == 9 || prim.index() == 10 ? 0.f : 0.5f);
      std::memcpy(memory.back()->data() + i, &f, 4);
    }
    bound.push_back({memory.back()->data(), nullptr});
    bytes += static_cast<double>(std::min(v.elements(), v.end() - v.offset)) * static_cast<double>(sizeOf(v.dtype));
  }
  auto scratch = *d.allocate((*plan)->scratchBytes + 64, true);
  prim::Invocation inv;
  inv.args = bound;
  inv.scalars = &scalars;
  inv.scratch = scratch->data();
  auto stream = d.makeStream();
  for (auto _ : state)
    if (!d.enqueue(**stream, **plan, inv).ok()) return state.SkipWithError("failed");
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void copyBandwidth(benchmark::State& state, int threads) {
  base::ThreadPool pool(threads);
  constexpr std::size_t kFloats = 16u << 20, kChunk = 16384;
  std::vector<float> a(kFloats, 1.f), b(kFloats, 2.f);
  for (auto _ : state)
    pool.run(kFloats / kChunk, [&](std::size_t i) { std::memcpy(&b[i * kChunk], &a[i * kChunk], kChunk * 4); });
  state.counters["GB/s"] = benchmark::Counter(kFloats * 8e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void updateBandwidth(benchmark::State& state, int threads) {
  base::ThreadPool pool(threads);
  constexpr std::size_t kFloats = 16u << 20, kChunk = 16384;
  std::vector<float> a(kFloats, 1.f);
  for (auto _ : state)
    pool.run(kFloats / kChunk, [&](std::size_t i) {
      float* p = &a[i * kChunk];
      for (std::size_t k = 0; k < kChunk; ++k) p[k] *= 1.0001f;
    });
  state.counters["GB/s"] = benchmark::Counter(kFloats * 8e-9, benchmark::Counter::kIsIterationInvariantRate);
}

prim::Elementwise neuron(int type, bool gradient, std::array<float, 3> p) {
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  if (gradient) program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
  program.push({.op = gradient ? EwOp::NeuronGrad : EwOp::Neuron,
                .dst = 2,
                .a = 0,
                .c = 1,
                .code = static_cast<std::uint8_t>(type),
                .p = p});
  program.push({.op = EwOp::Store, .a = 2, .arg = static_cast<std::uint8_t>(gradient ? 2 : 1)});
  return {program};
}

prim::Elementwise addRelu() {
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
  program.push({.op = EwOp::Add, .dst = 0, .a = 0, .b = 1});
  program.push({.op = EwOp::Neuron, .dst = 0, .a = 0, .code = 1});
  program.push({.op = EwOp::Store, .a = 0, .arg = 2});
  return {program};
}

/// dst = relu(src * scale[c] + shift[c]): a folded normalisation.
prim::Elementwise scaleShiftRelu() {
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
  program.push({.op = EwOp::Mul, .dst = 0, .a = 0, .b = 1});
  program.push({.op = EwOp::Load, .dst = 1, .arg = 2});
  program.push({.op = EwOp::Add, .dst = 0, .a = 0, .b = 1});
  program.push({.op = EwOp::Neuron, .dst = 0, .a = 0, .code = 1});
  program.push({.op = EwOp::Store, .a = 0, .arg = 3});
  return {program};
}

/// dst = op(a, b), clamped, and where the limits left it alone if `mask`.
prim::Elementwise arithmetic(EwOp op, bool mask) {
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
  program.push({.op = op, .dst = 0, .a = 0, .b = 1});
  if (mask) {
    program.push({.op = EwOp::InRange, .dst = 1, .a = 0, .p = {-0.1f, 0.1f}});
    program.push({.op = EwOp::Store, .a = 1, .arg = 3});
  }
  program.push({.op = EwOp::Clamp, .dst = 0, .a = 0, .p = {-0.1f, 0.1f}});
  program.push({.op = EwOp::Store, .a = 0, .arg = 2});
  return {program};
}

View perChannel(const View& image) {
  View v = image;
  v.strides = {0, 0, 0, 1};
  return v;
}

prim::Pool pool(bool gradient, prim::PoolKind kind, int kernel, int stride, int pad) {
  prim::Pool p;
  p.direction = gradient ? prim::Direction::Data : prim::Direction::Forward;
  p.kind = kind;
  p.zeroEdge = false;
  p.y = p.x = {kernel, stride, 1, pad};
  return p;
}

prim::Loss loss(int type) {
  prim::Loss l;
  l.type = static_cast<std::uint8_t>(type);
  l.reduction = prim::LossReduction::Sum;
  return l;
}

void addAll(int threads) {
  const auto name = [&](const std::string& text) { return text + "/" + std::to_string(threads); };
  const auto add = [&](const std::string& text, const prim::Prim& prim, const std::vector<View>& views,
                       prim::Scalars scalars = {}) {
    benchmark::RegisterBenchmark(name(text).c_str(), [=](benchmark::State& s) {
      runPrim(s, prim, views, threads, scalars);
    })->UseRealTime();
  };
  benchmark::RegisterBenchmark(name("roof_copy").c_str(), [=](benchmark::State& s) {
    copyBandwidth(s, threads);
  })->UseRealTime();
  benchmark::RegisterBenchmark(name("roof_update").c_str(), [=](benchmark::State& s) {
    updateBandwidth(s, threads);
  })->UseRealTime();

  const View image = View::image(DType::F32, 16, 112, 112, 64, 64),
             half = View::image(DType::F16, 16, 112, 112, 64, 64);
  const View narrow = View::image(DType::F32, 64, 112, 112, 10, 12), small = View::image(DType::F32, 4, 32, 32, 32, 32);
  const View bytes = View::image(DType::Unorm8, 16, 112, 112, 64, 64);
  add("relu", neuron(1, false, {}), {image, image});
  add("relu_in_cache", neuron(1, false, {}), {small, small});
  add("relu_10_of_12_channels", neuron(1, false, {}), {narrow, narrow});
  add("relu_f16", neuron(1, false, {}), {half, half});
  add("relu_gradient", neuron(1, true, {}), {image, image, image});
  add("sigmoid", neuron(3, false, {}), {image, image});
  add("gelu", neuron(15, false, {}), {image, image});
  add("add_relu", addRelu(), {image, image, image});
  add("scale_shift_relu", scaleShiftRelu(), {image, perChannel(image), perChannel(image), image});
  add("multiply_per_channel", arithmetic(EwOp::Mul, false), {image, perChannel(image), image});
  add("multiply_masked", arithmetic(EwOp::Mul, true),
      {image, image, image, View::image(DType::U8, 16, 112, 112, 64, 64)});
  add("divide", arithmetic(EwOp::Div, false), {image, image, image});
  add("compare", arithmetic(EwOp::Compare, false), {image, image, image});
  add("copy", prim::Copy{}, {image, image});
  add("copy_f32_f16", prim::Copy{}, {image, half});
  add("copy_f16_f32", prim::Copy{}, {half, image});
  add("copy_u8_f32", prim::Copy{}, {bytes, image});
  View planes = View::contiguous(DType::F32, {16, 64, 112, 112});
  planes.dims = image.dims;
  planes.strides = {64 * 112 * 112, 112, 1, 112 * 112};
  add("copy_planes_to_pixels", prim::Copy{}, {planes, image});
  add("copy_pixels_to_planes", prim::Copy{}, {image, planes});
  add("copy_dense_to_padded_pixels", prim::Copy{}, {View::image(DType::F32, 64, 112, 112, 10, 10), narrow});
  prim::Copy pad;
  pad.shift = {0, -1, -1, 0};
  add("pad_1", pad, {image, View::image(DType::F32, 16, 114, 114, 64, 64)});
  pad.edge = prim::Edge::Mirror;
  pad.shift = {0, -3, -3, 0};
  const View framed = View::image(DType::F32, 16, 118, 118, 64, 64);
  add("pad_mirror_3", pad, {image, framed});
  pad.direction = prim::Direction::Data;
  add("pad_mirror_3_gradient", pad, {framed, image});
  pad.edge = prim::Edge::Zero;
  add("pad_3_gradient", pad, {framed, image});
  add("fill", prim::Fill{0.5f}, {image});
  const View quarter = View::image(DType::F32, 16, 56, 56, 64, 64);
  add("max_2x2", pool(false, prim::PoolKind::Max, 2, 2, 0), {image, quarter});
  add("max_2x2_gradient", pool(true, prim::PoolKind::Max, 2, 2, 0), {quarter, image, image});
  add("max_3x3s2", pool(false, prim::PoolKind::Max, 3, 2, 1), {image, quarter});
  add("max_3x3s2_gradient", pool(true, prim::PoolKind::Max, 3, 2, 1), {quarter, image, image});
  add("average_2x2", pool(false, prim::PoolKind::Average, 2, 2, 0), {image, quarter});
  add("average_2x2_gradient", pool(true, prim::PoolKind::Average, 2, 2, 0), {quarter, image, image});
  add("average_3x3s1", pool(false, prim::PoolKind::Average, 3, 1, 1), {image, image});
  add("average_global_7x7", pool(false, prim::PoolKind::Average, 7, 7, 0),
      {View::image(DType::F32, 64, 7, 7, 2048, 2048), View::image(DType::F32, 64, 1, 1, 2048, 2048)});
  add("l2_3x3s2", pool(false, prim::PoolKind::L2, 3, 2, 1), {image, quarter});
  prim::Pool dilated = pool(false, prim::PoolKind::Max, 3, 1, 2);
  dilated.y.dilation = dilated.x.dilation = 2;
  add("max_3x3_dilated_2", dilated, {image, image});
  prim::Resample twice;
  twice.y = twice.x = maths::enlarging(2);
  twice.zeroEdge = false;
  const View pictures = View::image(DType::F32, 64, 112, 112, 3, 4),
             smallPictures = View::image(DType::F32, 64, 56, 56, 3, 4);
  add("upsample_nearest", twice, {quarter, image});
  twice.kind = prim::ResampleKind::Bilinear;
  add("upsample_bilinear", twice, {quarter, image});
  add("upsample_bilinear_3_channels", twice, {smallPictures, pictures});
  prim::Resample aligned = twice;
  aligned.y = aligned.x = maths::enlargingAligned(56, 2);
  add("upsample_aligned", aligned, {quarter, image});
  twice.direction = prim::Direction::Data;
  add("upsample_bilinear_gradient", twice, {image, quarter});
  twice.kind = prim::ResampleKind::Nearest;
  add("upsample_nearest_gradient", twice, {image, quarter});
  prim::Resample resize = aligned;
  resize.y = resize.x = {0, 0, 112, 90};
  add("resize_90", resize, {image, View::image(DType::F32, 16, 90, 90, 64, 64)});
  View coordinate = View::image(DType::F32, 16, 112, 112, 1, 1);
  add("grid_sample", prim::Sample{maths::SampleEdge::Zero, true}, {image, coordinate, coordinate, image});
  const View rows = View::contiguous(DType::F32, {16384, 1000}), tiny = View::contiguous(DType::F32, {1 << 20, 10});
  add("softmax_1000", prim::Softmax{}, {rows, rows});
  add("softmax_10", prim::Softmax{}, {tiny, tiny});
  add("softmax_1000_gradient", prim::Softmax{prim::Direction::Data}, {rows, rows, rows});
  add("sum_channels_kept", prim::Reduce{}, {image, View::image(DType::F32, 1, 1, 1, 64, 64)});
  add("sum_all", prim::Reduce{}, {image, View::image(DType::F32, 1, 1, 1, 1, 1)});
  add("sum_channels", prim::Reduce{}, {image, View::image(DType::F32, 16, 112, 112, 1, 1)});
  add("argmax_1000", prim::Reduce{prim::ReduceKind::ArgMax}, {rows, View::contiguous(DType::F32, {16384, 1})});
  const View channel = View::image(DType::F32, 1, 1, 1, 64, 64), perImage = View::image(DType::F32, 16, 1, 1, 64, 64),
             perGroup = View::image(DType::F32, 16, 1, 1, 8, 8);
  const View little = View::image(DType::F32, 64, 32, 32, 64, 64),
             perLittle = View::image(DType::F32, 64, 1, 1, 64, 64);
  prim::Scalars pixels;
  pixels.u = {112 * 112, 0};
  const auto norm = [](prim::NormTask task) {
    prim::Norm n;
    n.task = task;
    n.epsilon = 1e-5f;
    return n;
  };
  using Task = prim::NormTask;
  add("norm_statistics", norm(Task::Statistics), {image, channel, channel});
  add("norm_apply", norm(Task::Apply), {image, channel, channel, channel, channel, image});
  add("norm_batch", norm(Task::Normalize), {image, channel, channel, channel, channel, image});
  add("norm_instance", norm(Task::Normalize), {image, perImage, perImage, channel, channel, image});
  add("norm_instance_32x32", norm(Task::Normalize), {little, perLittle, perLittle, channel, channel, little});
  add("norm_group", norm(Task::Normalize), {image, perGroup, perGroup, channel, channel, image});
  add("norm_batch_gradient", norm(Task::Gradient), {image, image, channel, channel, channel, channel, channel, image},
      pixels);
  add("norm_instance_gradient", norm(Task::Gradient),
      {image, image, perImage, perImage, channel, perImage, perImage, image}, pixels);
  prim::LocalNorm local;
  local.channels = 5;
  local.alpha = 1e-4f;
  local.beta = 0.75f;
  add("lrn_5", local, {image, image});
  local.direction = prim::Direction::Data;
  add("lrn_5_gradient", local, {image, image, image});
  local.direction = prim::Direction::Forward;
  local.beta = 5.f;
  add("lrn_5_beta_5", local, {image, image});
  local.beta = 0.6f;
  add("lrn_5_beta_0.6", local, {image, image});
  local = {};
  local.kind = prim::LocalNormKind::Spatial;
  local.y = local.x = {3, 1, 1, 1};
  local.beta = 0.75f;
  add("spatial_3x3", local, {image, image});
  local.kind = prim::LocalNormKind::Contrast;
  add("contrast_3x3", local, {image, image});
  const View flat = View::contiguous(DType::F32, {10'000'000});
  prim::Scalars s;
  s.f = {0.001f, 0.9f, 0.999f, 1e-8f, 1.f};
  add("sgd_10M", prim::Step{prim::StepKind::Sgd}, {flat, flat, flat}, s);
  add("momentum_10M", prim::Step{prim::StepKind::SgdMomentum}, {flat, flat, flat, flat}, s);
  add("adam_10M", prim::Step{prim::StepKind::Adam}, {flat, flat, flat, flat, flat}, s);
  prim::Random dropout;
  dropout.keep = 0.5f;
  dropout.writeMask = true;
  s.u = {1, 2};
  add("dropout", dropout, {image, image, View::image(DType::U8, 16, 112, 112, 64, 64)}, s);
  prim::Random gradient = dropout;
  gradient.direction = prim::Direction::Data;
  gradient.writeMask = false;
  add("dropout_gradient", gradient, {image, View::image(DType::U8, 16, 112, 112, 64, 64), image}, s);
  prim::Random normal;
  normal.kind = prim::RandomKind::Normal;
  add("normal_10M", normal, {View::contiguous(DType::F32, {1000, 10000})}, s);
  s.f = {1.f};
  const View one = View::image(DType::F32, 16, 1, 1, 1, 1);
  add("loss_squared", loss(1), {image, image, one, image}, s);
  add("loss_sigmoid", loss(3), {image, image, one, image}, s);
  const View logits = View::image(DType::F32, 16384, 1, 1, 1000, 1000);
  add("loss_softmax_1000", loss(2), {logits, logits, View::image(DType::F32, 16384, 1, 1, 1, 1), logits}, s);
}

}  // namespace
}  // namespace kovar

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (const int threads : {1, 2}) kovar::addAll(threads);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
