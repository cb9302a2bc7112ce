#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <ucontext.h>

#include "cuda_runtime.h"

namespace kovar::cuda::emulation {

Position position;

namespace {

constexpr std::size_t kStack = std::size_t{64} << 10;

std::mutex machine;  // one kernel at a time, as shared variables are static

/// What a capture on this thread records instead of running it.
using Recording = std::vector<std::function<void()>>;
thread_local std::unique_ptr<Recording> recording;

/// One thread of a block. Switched by setjmp and longjmp, which need no system call, once it has been entered.
struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t context;
  std::jmp_buf state;
  bool entered = false, done = false;
};

struct Scheduler {
  std::vector<Fiber> fibers;
  std::jmp_buf home;
  ucontext_t homeContext;
  const std::function<void()>* thread = nullptr;
  std::size_t current = 0;
  bool active = false;
  std::vector<std::uint32_t> exchanged;
} scheduler;

void enter() {
  (*scheduler.thread)();
  scheduler.fibers[scheduler.current].done = true;
  _longjmp(scheduler.home, 1);
}

void resume(std::size_t index) {
  Fiber& f = scheduler.fibers[index];
  scheduler.current = index;
  position.threadAt = dim3(static_cast<unsigned>(index) % position.block.x, 0, 0);
  if (_setjmp(scheduler.home) != 0) return;
  if (f.entered) _longjmp(f.state, 1);
  f.entered = true;
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, enter, 0);
  setcontext(&f.context);
}

template <class F>
void forBlocks(dim3 grid, dim3 block, const F& fn) {
  position.grid = grid;
  position.block = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        position.blockAt = dim3(x, y, z);
        fn();
      }
}

}  // namespace

void barrier() {
  if (!scheduler.active) {
    std::fprintf(stderr, "emulation: a barrier in a kernel started by launch(); use launchBlocks()\n");
    std::abort();
  }
  Fiber& f = scheduler.fibers[scheduler.current];
  if (_setjmp(f.state) == 0) _longjmp(scheduler.home, 1);
}

std::uint32_t exchange(std::uint32_t value, unsigned lane) {
  const std::size_t me = scheduler.current;
  scheduler.exchanged[me] = value;
  barrier();
  const std::uint32_t other = scheduler.exchanged[lane];
  barrier();
  return other;
}

void gather(const std::uint32_t* words, unsigned count, std::uint32_t* all) {
  constexpr std::size_t kWarp = 32;
  const std::size_t me = scheduler.current;
  scheduler.exchanged.resize(std::max<std::size_t>(scheduler.exchanged.size(), position.block.x * count));
  std::copy_n(words, count, scheduler.exchanged.data() + me * count);
  barrier();
  std::copy_n(scheduler.exchanged.data() + me / kWarp * kWarp * count, kWarp * count, all);
  barrier();
}

cudaError_t runThreads(dim3 grid, dim3 block, const std::function<void()>& thread) {
  if (recording) {
    recording->push_back([=] { runThreads(grid, block, thread); });
    return cudaSuccess;
  }
  std::scoped_lock lock(machine);
  forBlocks(grid, block, [&] {
    for (unsigned t = 0; t < block.x; ++t) {
      position.threadAt = dim3(t, 0, 0);
      thread();
    }
  });
  return cudaSuccess;
}

cudaError_t runFibers(dim3 grid, dim3 block, const std::function<void()>& thread) {
  if (recording) {
    recording->push_back([=] { runFibers(grid, block, thread); });
    return cudaSuccess;
  }
  std::scoped_lock lock(machine);
  scheduler.active = true;
  scheduler.thread = &thread;
  if (scheduler.fibers.size() < block.x) scheduler.fibers = std::vector<Fiber>(block.x);
  scheduler.exchanged.resize(block.x);
  forBlocks(grid, block, [&] {
    for (Fiber& f : scheduler.fibers) f.entered = f.done = false;
    for (bool left = true; left;) {
      left = false;
      for (std::size_t i = 0; i < block.x; ++i) {
        if (scheduler.fibers[i].done) continue;
        resume(i);
        left = left || !scheduler.fibers[i].done;
      }
    }
  });
  scheduler.active = false;
  return cudaSuccess;
}

}  // namespace kovar::cuda::emulation

const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : "emulated error"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = std::size_t{1} << 30;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
namespace {
/// Device memory: start, bytes. Never destroyed: devices that live as long as the process free memory at its end.
struct Blocks {
  std::mutex mutex;
  std::map<const std::byte*, std::size_t> sizes;
  static Blocks& all() {
    static auto* const blocks = new Blocks;
    return *blocks;
  }
};
}  // namespace

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*data == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xff, bytes);
  std::scoped_lock lock(Blocks::all().mutex);
  Blocks::all().sizes[static_cast<std::byte*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  {
    std::scoped_lock lock(Blocks::all().mutex);
    Blocks::all().sizes.erase(static_cast<std::byte*>(data));
  }
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  *attributes = {};
  const auto* a = static_cast<const std::byte*>(address);
  std::scoped_lock lock(Blocks::all().mutex);
  const auto after = Blocks::all().sizes.upper_bound(a);
  if (after == Blocks::all().sizes.begin()) return cudaSuccess;
  const auto& [start, bytes] = *std::prev(after);
  if (a < start + bytes) attributes->type = cudaMemoryTypeDevice;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  *data = std::malloc(bytes);
  return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* left, std::size_t* all) {
  *left = *all = std::size_t{1} << 30;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kovar::cuda::emulation::recording) {
    kovar::cuda::emulation::recording->push_back([=] { cudaMemcpyAsync(dst, src, bytes, kind, stream); });
    return cudaSuccess;
  }
  std::memmove(dst, src, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* dst, int value, std::size_t bytes) {
  std::memset(dst, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* dst, int value, std::size_t bytes, cudaStream_t) {
  std::memset(dst, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
  return *stream == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

struct CUgraph_st {
  kovar::cuda::emulation::Recording work;
};
struct CUgraphExec_st {
  kovar::cuda::emulation::Recording work;
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(std::malloc(1));
  return *event == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  kovar::cuda::emulation::recording = std::make_unique<kovar::cuda::emulation::Recording>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = new CUgraph_st{std::move(*kovar::cuda::emulation::recording)};
  kovar::cuda::emulation::recording.reset();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo*) {
  executable->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const auto& piece : executable->work) piece();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
