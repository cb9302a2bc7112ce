// Operators on one device, every implementation by name, with the shapes that bench/peers measure: median time of a
// run, share of work. No library of benchmarks: on a GPU a run only starts work, so many are started between two waits.
//   bench_device_bench [DEVICE [FILTER]]        e.g. bench_device_bench cuda conv

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "kovar/MTL/MTL.hpp"
#include "runtime/access.hpp"
#include "runtime/device_state.hpp"

namespace {

using namespace kovar;
using prim::DType;
using prim::View;

struct Job {
  std::string name;
  prim::Prim prim;
  std::vector<View> views;
  double flop = 0, bytes = 0;
};

View image(std::int64_t n, std::int64_t side, std::int64_t c, DType t = DType::F32) {
  return View::image(t, n, side, side, c, (c + 3) / 4 * 4);
}

void addConvs(std::vector<Job>& jobs) {
  struct Shape {
    const char* name;
    std::int64_t ci, co, side;
    int kernel, stride, pad, groups;
  };
  const Shape shapes[] = {
      {"stem7x7s2 3-64@224", 3, 64, 224, 7, 2, 3, 1}, {"1x1 64-256@56", 64, 256, 56, 1, 1, 0, 1},
      {"3x3 128-128@28", 128, 128, 28, 3, 1, 1, 1},   {"1x1 1024-256@14", 1024, 256, 14, 1, 1, 0, 1},
      {"3x3 512-512@7", 512, 512, 7, 3, 1, 1, 1},     {"dw3x3s2 96@112", 96, 96, 112, 3, 2, 1, 96},
      {"dw3x3 384@14", 384, 384, 14, 3, 1, 1, 384}};
  for (const DType type : {DType::F32, DType::F16})
    for (const bool reduced : {false, true})
      for (const Shape& s : shapes)
        for (const auto direction : {prim::Direction::Forward, prim::Direction::Data, prim::Direction::Weights}) {
          constexpr std::int64_t kBatch = 64;
          const std::int64_t out = (s.side + 2 * s.pad - s.kernel) / s.stride + 1;
          const View src = image(kBatch, s.side, s.ci, type), dst = image(kBatch, out, s.co, type);
          const View weights = View::contiguous(DType::F32, {s.co, s.kernel, s.kernel, s.ci / s.groups});
          prim::Conv c;
          c.direction = direction;
          c.y = c.x = {s.kernel, s.stride, 1, s.pad};
          c.groups = s.groups;
          c.reducedPrecision = reduced || type == DType::F16;
          Job j;
          const char* const names[] = {"fwd", "data", "weights"};
          j.name = std::string("conv ") + names[static_cast<int>(direction)] + " " + s.name + " b64 " +
                   (type == DType::F16 ? "fp16"
                    : reduced          ? "tf32"
                                       : "fp32");
          if (type == DType::F16 && reduced) continue;
          j.prim = c;
          if (direction == prim::Direction::Forward) j.views = {src, weights, dst};
          if (direction == prim::Direction::Data) j.views = {dst, weights, src};
          if (direction == prim::Direction::Weights) j.views = {src, dst, weights};
          j.flop = 2.0 * static_cast<double>(kBatch * out * out * s.co * (s.ci / s.groups)) * s.kernel * s.kernel;
          jobs.push_back(std::move(j));
        }
}

void addMemoryBound(std::vector<Job>& jobs) {
  const View x = image(64, 112, 64), half = image(64, 56, 64);
  const double bytes = static_cast<double>(x.elements()) * 4;
  prim::Pool pool;
  pool.y = pool.x = {3, 2, 1, 1};
  pool.zeroEdge = false;
  const auto add = [&](std::string name, prim::Prim prim, std::vector<View> views, double moved) {
    jobs.push_back({std::move(name), std::move(prim), std::move(views), 0, moved});
  };
  for (const auto kind : {prim::PoolKind::Max, prim::PoolKind::Average}) {
    pool.kind = kind;
    const std::string name = kind == prim::PoolKind::Max ? "maxpool3s2" : "avgpool3s2";
    pool.direction = prim::Direction::Forward;
    add(name + " 64@112 b64", pool, {x, half}, bytes * 1.25);
    pool.direction = prim::Direction::Data;
    add(name + " gradient 64@112 b64", pool, {half, x, x}, bytes * 2.25);
  }
  const auto program = [](std::initializer_list<prim::EwStep> steps) {
    prim::Elementwise e;
    for (const prim::EwStep& s : steps) e.program.push(s);
    return e;
  };
  using prim::EwOp;
  add("relu 64@112 b64", program({{.op = EwOp::Load}, {.op = EwOp::Neuron, .code = 1}, {.op = EwOp::Store, .arg = 1}}),
      {x, x}, 2 * bytes);
  add("gelu 64@112 b64", program({{.op = EwOp::Load}, {.op = EwOp::Neuron, .code = 15}, {.op = EwOp::Store, .arg = 1}}),
      {x, x}, 2 * bytes);
  add("relu gradient 64@112 b64",
      program({{.op = EwOp::Load},
               {.op = EwOp::Load, .dst = 1, .arg = 1},
               {.op = EwOp::NeuronGrad, .dst = 2, .a = 0, .c = 1, .code = 1},
               {.op = EwOp::Store, .a = 2, .arg = 2}}),
      {x, x, x}, 3 * bytes);
  View channel = x;
  channel.strides = {0, 0, 0, 1};
  add("broadcast add 64@112 b64",
      program({{.op = EwOp::Load},
               {.op = EwOp::Load, .dst = 1, .arg = 1},
               {.op = EwOp::Add, .dst = 0, .a = 0, .b = 1},
               {.op = EwOp::Store, .arg = 2}}),
      {x, channel, x}, 2 * bytes);
  add("softmax channels 64@112 b64", prim::Softmax{}, {x, x}, 2 * bytes);
  add("softmax gradient 64@112 b64", prim::Softmax{prim::Direction::Data}, {x, x, x}, 3 * bytes);
  add("mean over HW 64@112 b64", prim::Reduce{prim::ReduceKind::Mean},
      {x, View::contiguous(DType::F32, {64, 1, 1, 64})}, bytes);
  add("mean over C 64@112 b64", prim::Reduce{prim::ReduceKind::Mean},
      {x, View::contiguous(DType::F32, {64, 112, 112, 1})}, bytes);
  add("sum over NHW 64@112 b64", prim::Reduce{}, {x, View::contiguous(DType::F32, {1, 1, 1, 64})}, bytes);
  add("argmax over C 64@112 b64", prim::Reduce{prim::ReduceKind::ArgMax},
      {x, View::contiguous(DType::F32, {64, 112, 112, 1})}, bytes);
  const View flat = View::contiguous(DType::F32, {25'000'000});
  add("adam 25M", prim::Step{prim::StepKind::Adam}, {flat, flat, flat, flat, flat}, 25e6 * 4 * 7);
  prim::Random dropout;
  dropout.keep = 0.5f;
  add("dropout 64@112 b64", dropout, {x, x}, 2 * bytes);
  View narrow = x;
  narrow.dtype = DType::F16;
  add("copy fp32-fp32 64@112 b64", prim::Copy{}, {x, x}, 2 * bytes);
  add("copy fp32-fp16 64@112 b64", prim::Copy{}, {x, narrow}, 1.5 * bytes);
}

void addProducts(std::vector<Job>& jobs) {
  const auto add = [&](const char* name, std::int64_t m, std::int64_t n, std::int64_t k, bool reduced, bool ta,
                       bool tb) {
    prim::Matmul p;
    p.transposeA = ta;
    p.transposeB = tb;
    p.reducedPrecision = reduced;
    const auto matrix = [](std::int64_t r, std::int64_t c) { return View::contiguous(DType::F32, {r, c}); };
    jobs.push_back({std::string("matmul ") + name + (reduced ? " tf32" : " fp32"),
                    p,
                    {ta ? matrix(k, m) : matrix(m, k), tb ? matrix(n, k) : matrix(k, n), matrix(m, n)},
                    2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
                    0});
  };
  for (const bool reduced : {false, true}) {
    add("4096x4096x4096", 4096, 4096, 4096, reduced, false, true);
    add("fc forward 128x1024x3136", 128, 1024, 3136, reduced, false, true);
    add("fc data 128x3136x1024", 128, 3136, 1024, reduced, false, false);
    add("fc weights 1024x3136x128", 1024, 3136, 128, reduced, true, false);
  }
}

void run(prim::Backend& backend, const Job& job, const std::string& implementation) {
  const auto fail = [&](const std::string& why) {
    std::printf("%-42s %-26s %s\n", job.name.c_str(), implementation.c_str(), why.c_str());
  };
  prim::PrepareOptions options;
  options.only = implementation;
  const auto plan = backend.prepare(job.prim, job.views, options);
  if (!plan.ok()) return fail("refuses: " + plan.failure().text.substr(0, 200));
  std::vector<prim::MemoryRef> blocks;
  std::vector<prim::Bound> bound;
  for (const View& v : job.views) {
    const std::size_t bytes = static_cast<std::size_t>(v.end()) * prim::sizeOf(v.dtype);
    auto block = backend.allocate(bytes, true);
    if (!block.ok()) return fail(block.failure().text);
    if (v.dtype == DType::F32) {
      // Not zeroes: they can be quicker than data.
      std::vector<float> values(static_cast<std::size_t>(v.end()));
      std::uint32_t state = 12345;
      for (float& f : values) {
        state = state * 1664525u + 1013904223u;
        f = static_cast<float>(state >> 8) / 16777216.f - 0.5f;
      }
      if (const auto status = backend.copyIn(**block, 0, values.data(), bytes); !status.ok())
        return fail(status.failure().text);
    }
    blocks.push_back(*block);
    bound.push_back({(*block)->data(), nullptr});
  }
  auto scratch = backend.allocate((*plan)->scratchBytes, false);
  auto stream = backend.makeStream();
  if (!scratch.ok() || !stream.ok()) return fail("no scratch or stream");
  prim::Scalars scalars;
  scalars.f = {1e-3f, 0.9f, 0.999f, 1e-8f, 1.f, 0.f, 0.f, 0.f};
  prim::Invocation inv;
  inv.args = bound;
  inv.scalars = &scalars;
  inv.scratch = (*scratch)->data();
  const auto seconds = [&](int count) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i)
      if (const auto status = backend.enqueue(**stream, **plan, inv); !status.ok()) {
        fail(status.failure().text);
        return -1.0;
      }
    if (const auto status = backend.synchronize(**stream); !status.ok()) {
      fail(status.failure().text);
      return -1.0;
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
  };
  const double first = seconds(1), once = first < 0 ? first : seconds(2);
  if (once < 0) return;
  const int inner = std::clamp(static_cast<int>(2e-3 / once), 1, 50), repeats = once > 0.05 ? 3 : 11;
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) times.push_back(seconds(inner));
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  const double t = times[static_cast<std::size_t>(repeats / 2)];
  std::printf("%-42s %-26s %10.4f ms", job.name.c_str(), implementation.c_str(), t * 1e3);
  if (job.flop > 0) std::printf(" %8.2f TFLOP/s", job.flop / t * 1e-12);
  if (job.bytes > 0) std::printf(" %8.1f GB/s", job.bytes / t * 1e-9);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const auto device = argc > 1 ? MTL::deviceNamed(argv[1]) : MTL::createSystemDefaultDevice();
  const std::string filter = argc > 2 ? argv[2] : "";
  prim::Backend& backend = *rt::Access::state(device)->backend;
  std::printf("%s (%s)\n", backend.caps().name.c_str(), backend.caps().isa.c_str());
  for (const auto& [name, version] : backend.caps().libraries) std::printf("  %s %s\n", name.c_str(), version.c_str());
  std::vector<Job> jobs;
  addMemoryBound(jobs);
  addProducts(jobs);
  addConvs(jobs);
  for (const Job& job : jobs) {
    if (job.name.find(filter) == std::string::npos) continue;
    for (const std::string& implementation : backend.candidates(job.prim)) {
      // The last resort takes minutes on these shapes.
      if (implementation == "cuda:conv:threads") continue;
      run(backend, job, implementation);
    }
  }
}
