// Convolutions and matrix products one by one, each implementation by name, against the multiply-add peak of the
// moment.
//   bench_prim_bench [--filter TEXT] [--threads N[,N...]] [--rounds N] [--seconds S]
// Rounds interleave all cases, since machines change their speed from second to second; the best round counts.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/backend.hpp"
#include "backend/cpu/roof.hpp"

namespace kovar::bench {
namespace {

using prim::Direction;
using prim::DType;
using prim::View;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// GFLOP/s of so many threads that only multiply and add.
double peak(int threads) {
  static std::map<int, base::ThreadPool> pools;
  return cpu::multiplyAddRate(pools.try_emplace(threads, threads).first->second);
}

struct Problem {
  std::string name;
  prim::Prim prim;
  std::vector<View> views;
  double operations = 0;
  std::size_t keptArg = SIZE_MAX;  ///< the argument whose packed form stays between runs (inference)
};

View image(long n, long h, long w, long c) { return View::image(DType::F32, n, h, w, c, (c + 3) / 4 * 4); }

void addConv(std::vector<Problem>& list, const std::string& name, long n, long size, long ci, long co, int kernel,
             int stride, int pad, int groups, bool training) {
  const long out = (size + 2 * pad - kernel) / stride + 1;
  const View src = image(n, size, size, ci), dst = image(n, out, out, co);
  const View weights = View::contiguous(DType::F32, {co, kernel, kernel, ci / groups});
  for (const Direction direction : {Direction::Forward, Direction::Data, Direction::Weights}) {
    if (!training && direction != Direction::Forward) continue;
    prim::Conv conv;
    conv.direction = direction;
    conv.y = conv.x = {kernel, stride, 1, pad};
    conv.groups = groups;
    Problem p;
    p.name = name + " n" + std::to_string(n) +
             (direction == Direction::Forward ? " forward"
              : direction == Direction::Data  ? " data"
                                              : " weights");
    p.prim = conv;
    p.views = direction == Direction::Forward ? std::vector{src, weights, dst}
              : direction == Direction::Data  ? std::vector{dst, weights, src}
                                              : std::vector{src, dst, weights};
    p.operations = 2.0 * static_cast<double>(n * out * out * co) * static_cast<double>(ci / groups * kernel * kernel);
    if (!training) p.keptArg = 1;
    list.push_back(std::move(p));
  }
}

/// "operations" are those of the float32 convolution of the same shape.
void addBinaryConv(std::vector<Problem>& list, const std::string& name, long n, long size, long ci, long co,
                   int kernel) {
  prim::BinaryConv conv;
  conv.y = conv.x = {kernel, 1, 1, kernel / 2};
  list.push_back({name + " n" + std::to_string(n),
                  conv,
                  {image(n, size, size, ci), View::contiguous(DType::U32, {co, kernel, kernel, (ci + 31) / 32}),
                   image(n, size, size, co)},
                  2.0 * static_cast<double>(n * size * size * co) * static_cast<double>(ci * kernel * kernel),
                  1});
}

/// What a memory-bound operation is measured by; "operations" are bytes read and written.
void addCopy(std::vector<Problem>& list, const std::string& name, long n, long size, long c) {
  const View v = image(n, size, size, c);
  list.push_back({name + " n" + std::to_string(n), prim::Copy{}, {v, v}, 8.0 * static_cast<double>(v.end()), SIZE_MAX});
}

void addFullyConnected(std::vector<Problem>& list, const std::string& name, long n, long in, long out, bool training) {
  const View x = View::contiguous(DType::F32, {n, in}), w = View::contiguous(DType::F32, {out, in}),
             y = View::contiguous(DType::F32, {n, out});
  const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(in * out);
  const std::string title = name + " n" + std::to_string(n);
  prim::Matmul forward, data, weights;
  forward.transposeB = true;
  weights.transposeA = true;
  list.push_back({title + " forward", forward, {x, w, y}, operations, training ? SIZE_MAX : 1});
  if (!training) return;
  list.push_back({title + " data", data, {y, w, x}, operations, SIZE_MAX});
  list.push_back({title + " weights", weights, {y, x, w}, operations, SIZE_MAX});
}

std::vector<Problem> problems() {
  std::vector<Problem> list;
  for (const long n : {40L, 128L}) {  // the digit classifier
    addConv(list, "conv1 28x28 1>32 k5", n, 28, 1, 32, 5, 1, 2, 1, true);
    addConv(list, "conv2 14x14 32>64 k5", n, 14, 32, 64, 5, 1, 2, 1, true);
    addFullyConnected(list, "fc1 3136>1024", n, 3136, 1024, true);
    addFullyConnected(list, "fc2 1024>10", n, 1024, 10, true);
  }
  for (const long n : {1L, 16L}) {
    addConv(list, "conv7x7s2_3_64_224", n, 224, 3, 64, 7, 2, 3, 1, false);
    addConv(list, "conv1x1_64_256_56", n, 56, 64, 256, 1, 1, 0, 1, false);
    addConv(list, "conv3x3_128_128_28", n, 28, 128, 128, 3, 1, 1, 1, n == 16);
    addConv(list, "conv1x1_1024_256_14", n, 14, 1024, 256, 1, 1, 0, 1, n == 16);
    addConv(list, "conv3x3_512_512_7", n, 7, 512, 512, 3, 1, 1, 1, n == 16);
    addConv(list, "conv3x3_256_256_28", n, 28, 256, 256, 3, 1, 1, 1, false);
    addBinaryConv(list, "binary3x3_256_256_28", n, 28, 256, 256, 3);
    addConv(list, "dw3x3s2_96_112", n, 112, 96, 96, 3, 2, 1, 96, n == 16);
    addConv(list, "dw3x3_96_112", n, 112, 96, 96, 3, 1, 1, 96, n == 16);
    addCopy(list, "copy_96_112", n, 112, 96);
    addConv(list, "dw3x3_384_14", n, 14, 384, 384, 3, 1, 1, 384, n == 16);
  }
  addFullyConnected(list, "fc4096", 1, 4096, 4096, false);
  addFullyConnected(list, "fc4096", 64, 4096, 4096, false);
  return list;
}

/// One implementation of one problem on one device.
struct Run {
  const Problem* problem = nullptr;
  prim::Backend* device = nullptr;
  prim::PlanRef plan;
  std::vector<prim::MemoryRef> memory;
  prim::MemoryRef scratch;
  prim::Derived derived;
  double best = 1e9, share = 0;

  bool once() {
    std::vector<prim::Bound> bound;
    for (std::size_t i = 0; i < memory.size(); ++i)
      bound.push_back({memory[i]->data(), i == problem->keptArg ? &derived : nullptr});
    prim::Scalars scalars;
    prim::Invocation inv;
    inv.args = bound, inv.scalars = &scalars, inv.scratch = scratch->data();
    prim::Stream stream;
    const auto status = device->enqueue(stream, *plan, inv);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.failure().text.c_str());
    return status.ok();
  }
  void measure(double seconds) {
    const double rate = peak(device->threadCount()) * 1e9, begin = now();
    if (!once()) return;
    for (int i = 0; i < 3 || now() - begin < seconds; ++i) {
      const double start = now();
      once();
      best = std::min(best, now() - start);
    }
    share = std::max(share, problem->operations / best / std::max(rate, peak(device->threadCount()) * 1e9));
  }
};

int main(int argc, char** argv) {
  std::string filter;
  std::vector<int> threads = {1, 2};
  int rounds = 2;
  double seconds = 0.1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--filter")
      filter = argv[i + 1];
    else if (key == "--rounds")
      rounds = std::atoi(argv[i + 1]);
    else if (key == "--seconds")
      seconds = std::atof(argv[i + 1]);
    else if (key == "--threads") {
      threads.clear();
      for (const char* p = argv[i + 1]; p != nullptr; p = std::strchr(p, ',') ? std::strchr(p, ',') + 1 : nullptr)
        threads.push_back(std::atoi(p));
    } else
      return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
  }
  const std::vector<Problem> list = problems();
  std::vector<std::unique_ptr<prim::Backend>> devices;
  for (const int t : threads) devices.push_back(cpu::makeCpuBackend(t));
  std::vector<std::unique_ptr<Run>> runs;
  for (int round = 0; round < rounds; ++round) {
    std::size_t next = 0;
    for (const Problem& p : list) {
      for (const auto& device : devices) {
        for (const std::string& name : device->candidates(p.prim)) {
          const std::string label = p.name + " " + name;
          if (label.find(filter) == std::string::npos) continue;
          if (filter.empty() && name.find("generic") != std::string::npos) continue;  // seconds each
          if (round == 0) {
            auto plan = device->prepare(p.prim, p.views, {false, name});
            if (!plan.ok()) continue;
            auto run = std::make_unique<Run>();
            run->problem = &p, run->device = device.get(), run->plan = *plan;
            runs.push_back(std::move(run));
          }
          if (next == runs.size() || runs[next]->plan->implementation != name || runs[next]->problem != &p) continue;
          Run& run = *runs[next++];
          // Memory for one case at a time.
          for (const View& v : p.views) {
            auto block = device->allocate(static_cast<std::size_t>(v.end()) * 4, true);
            if (!block.ok()) return std::fprintf(stderr, "%s\n", block.failure().text.c_str()), 1;
            auto* f = reinterpret_cast<float*>((*block)->data());
            for (std::int64_t i = 0; i < v.end(); ++i) f[i] = static_cast<float>(i % 7) * 0.1f;
            run.memory.push_back(*block);
          }
          auto scratch = device->allocate(run.plan->scratchBytes, false);
          if (!scratch.ok()) return std::fprintf(stderr, "%s\n", scratch.failure().text.c_str()), 1;
          run.scratch = *scratch;
          run.measure(seconds);
          run.memory.clear();
          run.scratch = nullptr;
          run.derived.clear();
        }
      }
    }
  }
  std::printf("%-34s %-20s %7s %11s %9s %8s\n", "case", "implementation", "threads", "us", "GFLOP/s", "of peak");
  for (const auto& run : runs)
    std::printf("%-34s %-20s %7d %11.1f %9.1f %7.0f%%\n", run->problem->name.c_str(), run->plan->implementation.c_str(),
                run->device->threadCount(), run->best * 1e6, run->problem->operations / run->best * 1e-9,
                run->share * 100);
  return 0;
}

}  // namespace
int run(int argc, char** argv) { return main(argc, argv); }
}  // namespace kovar::bench

int main(int argc, char** argv) { return kovar::bench::run(argc, argv); }
