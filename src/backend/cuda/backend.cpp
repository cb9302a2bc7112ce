#include "backend/cuda/backend.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/memory.hpp"
#include "backend/cuda/replay.hpp"
#ifdef KOVAR_HAS_CUDA
#include "backend/cuda/vendor/versions.hpp"
#endif
#include "base/log.hpp"
#include "prim/candidates.hpp"

namespace kovar::cuda {

using base::Failure;
using base::Result;
using base::Status;

Status check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  // Errors of a launch are taken back, so that the next call does not report them again.
  cudaGetLastError();
  std::string text = std::string("cuda: ") + what + ": " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorMemoryAllocation:
      text += "; use smaller batches or release images";
      break;
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
      text += "; the device is lost to this process (a kernel faulted): go on with another device";
      break;
    case cudaErrorNoKernelImageForDevice:
      text += "; this build has no code for this GPU: build with its compute capability";
      break;
    default:
      break;
  }
  return Failure{std::move(text)};
}

namespace {

std::span<const Candidate<prim::Conv>> listOf(const prim::Conv&) { return convCandidates(); }
std::span<const Candidate<prim::Matmul>> listOf(const prim::Matmul&) { return matmulCandidates(); }
std::span<const Candidate<prim::Pool>> listOf(const prim::Pool&) { return poolCandidates(); }
std::span<const Candidate<prim::Softmax>> listOf(const prim::Softmax&) { return softmaxCandidates(); }
std::span<const Candidate<prim::Reduce>> listOf(const prim::Reduce&) { return reduceCandidates(); }
std::span<const Candidate<prim::Elementwise>> listOf(const prim::Elementwise&) { return elementwiseCandidates(); }
std::span<const Candidate<prim::Copy>> listOf(const prim::Copy&) { return copyCandidates(); }
std::span<const Candidate<prim::Resample>> listOf(const prim::Resample&) { return resampleCandidates(); }
std::span<const Candidate<prim::Sample>> listOf(const prim::Sample&) { return sampleCandidates(); }
std::span<const Candidate<prim::Fill>> listOf(const prim::Fill&) { return fillCandidates(); }
std::span<const Candidate<prim::Random>> listOf(const prim::Random&) { return randomCandidates(); }
std::span<const Candidate<prim::Loss>> listOf(const prim::Loss&) { return lossCandidates(); }
std::span<const Candidate<prim::Yolo>> listOf(const prim::Yolo&) { return yoloCandidates(); }
std::span<const Candidate<prim::Step>> listOf(const prim::Step&) { return stepCandidates(); }
std::span<const Candidate<prim::Norm>> listOf(const prim::Norm&) { return normCandidates(); }
std::span<const Candidate<prim::BinaryConv>> listOf(const prim::BinaryConv&) { return binaryConvCandidates(); }
std::span<const Candidate<prim::LocalNorm>> listOf(const prim::LocalNorm&) { return localNormCandidates(); }

Status prepareCall(Device&, const prim::Call& desc, std::span<const prim::View>, const prim::PrepareOptions&,
                   CudaPlan& plan) {
  plan.body = [onDevice = desc.onDevice](const Context& context, const prim::Invocation& inv) -> Status {
    if (inv.call == nullptr) return Failure{"cuda:call: the invocation carries no function"};
    if (onDevice) {
      KOVAR_TRY((*inv.call)(inv.args, context.stream));
      return check(cudaGetLastError(), "the function given to encodeCuda");
    }
    KOVAR_TRY(check(cudaStreamSynchronize(context.stream), "waiting for the work before a host function"));
    return (*inv.call)(inv.args, nullptr);
  };
  return {};
}

std::span<const Candidate<prim::Call>> listOf(const prim::Call&) {
  static constexpr Candidate<prim::Call> kList[] = {{"cuda:call", prepareCall}};
  return kList;
}

/// What only planners with the cap hand over; the conformance suite asks all the same.
Status withinCaps(const prim::Matmul& desc) {
  if (desc.update) return Failure{"products that update parameters are not offered"};
  return {};
}
template <class D>
Status withinCaps(const D&) {
  return {};
}

template <class D>
Result<prim::PlanRef> choose(Device& device, const D& desc, std::span<const prim::View> views,
                             const prim::PrepareOptions& options) {
  const auto attempt = [&](const Candidate<D>& candidate) -> Result<std::shared_ptr<CudaPlan>> {
    KOVAR_TRY(withinCaps(desc));
    auto plan = std::make_shared<CudaPlan>();
    KOVAR_TRY(candidate.prepare(device, desc, views, options, *plan));
    // Room to start the scratch where the vendor libraries want it.
    if (plan->scratchBytes > 0) plan->scratchBytes += kScratchAlignment - kGivenAlignment;
    return plan;
  };
  return prim::chooseCandidate("cuda", desc, views, options, listOf(desc), attempt);
}

class CudaStream final : public prim::Stream {
 public:
  explicit CudaStream(int ordinal) : ordinal_(ordinal) {}
  ~CudaStream() override {
    if (stream_ != nullptr && cudaSetDevice(ordinal_) == cudaSuccess) cudaStreamDestroy(stream_);
  }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Status open() {
    KOVAR_TRY(check(cudaSetDevice(ordinal_), "choosing the device"));
    return check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  cudaStream_t get() const { return stream_; }

 private:
  int ordinal_;
  cudaStream_t stream_ = nullptr;
};

cudaStream_t rawStream(prim::Stream& stream) { return static_cast<CudaStream&>(stream).get(); }

class EventFence final : public prim::Fence {
 public:
  EventFence(int ordinal, std::shared_ptr<HostMirror> mirror) : ordinal_(ordinal), mirror_(std::move(mirror)) {}
  ~EventFence() override {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  EventFence(const EventFence&) = delete;
  EventFence& operator=(const EventFence&) = delete;

  Status record(cudaStream_t stream) {
    KOVAR_TRY(check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "marking the end of a list"));
    return check(cudaEventRecord(event_, stream), "marking the end of a list");
  }
  Status wait() override {
    KOVAR_TRY(check(cudaSetDevice(ordinal_), "choosing the device"));
    Status status = check(cudaEventSynchronize(event_), "running a command buffer");
    mirror_->forget();
    return status;
  }

 private:
  int ordinal_;
  std::shared_ptr<HostMirror> mirror_;
  cudaEvent_t event_ = nullptr;
};

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

class CudaBackend final : public prim::Backend, public Device {
 public:
  CudaBackend(int ordinal, const cudaDeviceProp& properties)
      : ordinal_(ordinal), multiprocessors_(properties.multiProcessorCount), side_(ordinal) {
    caps_.name = properties.name;
    caps_.isa = "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
    caps_.hostMemory = false;
    caps_.rectifiedPools = true;
    caps_.deviceCalls = true;
    caps_.memoryBytes = properties.totalGlobalMem;
    int runtime = 0, driver = 0;
    if (cudaRuntimeGetVersion(&runtime) == cudaSuccess) caps_.libraries.emplace_back("CUDA", versionText(runtime));
    if (cudaDriverGetVersion(&driver) == cudaSuccess) caps_.libraries.emplace_back("CUDA driver", versionText(driver));
#ifdef KOVAR_HAS_CUDA
    if (const std::string version = cudnnVersion(); !version.empty()) caps_.libraries.emplace_back("cuDNN", version);
    if (const std::string version = cublasVersion(); !version.empty())
      caps_.libraries.emplace_back("cuBLASLt", version);
#endif
  }

  Status open() { return side_.open(); }

  const prim::Caps& caps() const override { return caps_; }

  Result<prim::MemoryRef> allocate(std::size_t bytes, bool zeroed) override {
    KOVAR_TRY_ASSIGN(prim::MemoryRef memory, pool_->allocate(bytes));
    if (zeroed && bytes > 0) {
      std::scoped_lock lock(sideMutex_);
      KOVAR_TRY(use());
      KOVAR_TRY(check(cudaMemsetAsync(memory->data(), 0, bytes, side_.get()), "clearing memory"));
      KOVAR_TRY(check(cudaStreamSynchronize(side_.get()), "clearing memory"));
      mirror_->forget();
    }
    return memory;
  }
  Result<prim::MemoryRef> wrap(void* address, std::size_t bytes) override {
    return wrapDevice(ordinal_, address, bytes);
  }
  Result<prim::MemoryRef> allocateStaging(std::size_t bytes) override {
    KOVAR_TRY(use());
    return allocatePinned(bytes);
  }

  Status copyIn(prim::Memory& dst, std::size_t offset, const void* src, std::size_t bytes) override {
    if (offset > dst.bytes() || bytes > dst.bytes() - offset) return outside("copyIn", dst, offset, bytes);
    if (bytes == 0) return {};
    std::scoped_lock lock(sideMutex_);
    KOVAR_TRY(use());
    KOVAR_TRY(check(cudaMemcpyAsync(dst.data() + offset, src, bytes, cudaMemcpyHostToDevice, side_.get()),
                    "copy to the device"));
    Status status = check(cudaStreamSynchronize(side_.get()), "copy to the device");
    mirror_->forget();
    return status;
  }
  Status copyOut(void* dst, const prim::Memory& src, std::size_t offset, std::size_t bytes) override {
    if (offset > src.bytes() || bytes > src.bytes() - offset) return outside("copyOut", src, offset, bytes);
    if (bytes == 0) return {};
    std::scoped_lock lock(sideMutex_);
    KOVAR_TRY(use());
    return mirror_->read(side_.get(), dst, src, offset, bytes);
  }
  Status copyIn(prim::Stream& stream, std::byte* device, const void* host, std::size_t bytes) override {
    KOVAR_TRY(use());
    return check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, rawStream(stream)), "copy to the device");
  }
  Status copyOut(prim::Stream& stream, void* host, const std::byte* device, std::size_t bytes) override {
    KOVAR_TRY(use());
    return check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, rawStream(stream)),
                 "copy from the device");
  }

  Result<prim::PlanRef> prepare(const prim::Prim& prim, std::span<const prim::View> args,
                                const prim::PrepareOptions& options) override {
    KOVAR_TRY(prim::validate(prim, args));
    KOVAR_TRY(use());
    try {
      return std::visit([&](const auto& desc) { return choose(*this, desc, args, options); }, prim);
    } catch (const std::exception& e) {
      return Failure{std::string("cuda: preparing ") + prim::familyOf(prim) + " failed: " + e.what()};
    }
  }

  std::vector<std::string> candidates(const prim::Prim& prim) const override {
    return std::visit([](const auto& desc) { return prim::namesOf(listOf(desc)); }, prim);
  }

  Result<prim::StreamRef> makeStream() override {
    auto stream = std::make_unique<CudaStream>(ordinal_);
    KOVAR_TRY(stream->open());
    return prim::StreamRef(std::move(stream));
  }

  Status enqueue(prim::Stream& stream, const prim::Plan& plan, const prim::Invocation& invocation) override {
    const auto* cudaPlan = dynamic_cast<const CudaPlan*>(&plan);
    if (cudaPlan == nullptr) return Failure{"cuda: the plan '" + plan.implementation + "' was made by another device"};
    KOVAR_TRY(use());
    const Context context{rawStream(stream)};
    const prim::Invocation placed = startingScratch(invocation);
    if (!invocation.predicates.empty()) {
      KOVAR_TRY_ASSIGN(const bool runs, allSet(context.stream, invocation.predicates));
      if (!runs) return {};
    }
    try {
      return cudaPlan->body(context, placed);
    } catch (const std::exception& e) {
      return Failure{plan.implementation + ": " + e.what()};
    }
  }

  Status enqueueAll(prim::Stream& stream, std::span<const prim::Work> list, prim::ReplayRef& replay) override {
    KOVAR_TRY(use());
    if (replay == nullptr) replay = std::make_shared<GraphReplay>();
    try {
      return static_cast<GraphReplay&>(*replay).run(*this, rawStream(stream), list);
    } catch (const std::exception& e) {
      return Failure{std::string("cuda: ") + e.what()};
    }
  }

  Result<prim::FenceRef> fence(prim::Stream& stream) override {
    KOVAR_TRY(use());
    auto fence = std::make_unique<EventFence>(ordinal_, mirror_);
    KOVAR_TRY(fence->record(rawStream(stream)));
    return prim::FenceRef(std::move(fence));
  }

  Status synchronize(prim::Stream& stream) override {
    KOVAR_TRY(use());
    Status status = check(cudaStreamSynchronize(rawStream(stream)), "running a command buffer");
    mirror_->forget();
    return status;
  }

  // --- what plans use -----------------------------------------------------------------------------------------------
  Result<prim::MemoryRef> allocateFor(std::size_t bytes) override { return pool_->allocate(bytes); }
  Status upload(prim::Memory& dst, const void* src, std::size_t bytes) override { return copyIn(dst, 0, src, bytes); }
  int multiprocessors() const override { return multiprocessors_; }
  int ordinal() const override { return ordinal_; }
  const std::string& name() const override { return caps_.name; }

 private:
  /// Every thread has its own current device.
  Status use() const { return check(cudaSetDevice(ordinal_), "choosing the device"); }

  static Status outside(const char* what, const prim::Memory& memory, std::size_t offset, std::size_t bytes) {
    return Failure{std::string("Backend::") + what + ": bytes " + std::to_string(offset) + " to " +
                   std::to_string(offset) + "+" + std::to_string(bytes) + " of a block of " +
                   std::to_string(memory.bytes())};
  }

  /// The host waits for the words: predicated work is rare, and vendor calls cannot be told to do nothing.
  static Result<bool> allSet(cudaStream_t stream, std::span<const std::uint32_t* const> words) {
    std::vector<std::uint32_t> values(words.size());
    for (std::size_t i = 0; i < words.size(); ++i)
      KOVAR_TRY(check(cudaMemcpyAsync(&values[i], words[i], sizeof(std::uint32_t), cudaMemcpyDeviceToHost, stream),
                      "reading a predicate"));
    KOVAR_TRY(check(cudaStreamSynchronize(stream), "reading a predicate"));
    return std::all_of(values.begin(), values.end(), [](std::uint32_t v) { return v != 0; });
  }

  int ordinal_, multiprocessors_;
  prim::Caps caps_;
  std::shared_ptr<MemoryPool> pool_ = std::make_shared<MemoryPool>(ordinal_);
  std::shared_ptr<HostMirror> mirror_ = std::make_shared<HostMirror>(pool_);
  std::mutex sideMutex_;
  CudaStream side_;  // copies and clears that do not belong to a queue
};

}  // namespace

int deviceCount(std::string* why) {
  int count = 0;
  const cudaError_t e = cudaGetDeviceCount(&count);
  if (e == cudaSuccess) return count;
  cudaGetLastError();
  if (why != nullptr) *why = cudaGetErrorString(e);
  return 0;
}

Result<std::unique_ptr<prim::Backend>> makeCudaBackend(int ordinal) {
  cudaDeviceProp properties{};
  KOVAR_TRY(check(cudaGetDeviceProperties(&properties, ordinal), "asking for the device's properties"));
  if (properties.major < 7)
    return Failure{std::string("cuda: ") + properties.name + " has compute capability " +
                   std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", wanted 7.0 or newer"};
  auto backend = std::make_unique<CudaBackend>(ordinal, properties);
  KOVAR_TRY(backend->open());
  return std::unique_ptr<prim::Backend>(std::move(backend));
}

}  // namespace kovar::cuda
