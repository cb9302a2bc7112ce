#include "backend/cpu/backend.hpp"

#include <hwy/highway.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/dnnl_util.hpp"
#include "backend/cpu/system_info.hpp"
#include "base/log.hpp"
#include "prim/candidates.hpp"
#include "prim/host_memory.hpp"

namespace kovar::cpu {
namespace {

using base::Failure;
using base::Result;
using base::Status;

constexpr int kMaxThreads = 1024;

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

Status prepareCall(const prim::Call& desc, std::span<const prim::View>, const prim::PrepareOptions&, CpuPlan& plan) {
  if (desc.onDevice) return Failure{"there is no stream that a function could put work on"};
  plan.body = [](Context&, const prim::Invocation& inv) -> Status {
    if (inv.call == nullptr) return Failure{"cpu:call: the invocation carries no function"};
    return (*inv.call)(inv.args, nullptr);
  };
  return {};
}

std::span<const Candidate<prim::Call>> listOf(const prim::Call&) {
  static constexpr Candidate<prim::Call> kList[] = {{"cpu:call", prepareCall}};
  return kList;
}

template <class D>
Result<prim::PlanRef> choose(const D& desc, std::span<const prim::View> views, const prim::PrepareOptions& options) {
  const auto attempt = [&](const Candidate<D>& candidate) -> Result<std::shared_ptr<CpuPlan>> {
    auto plan = std::make_shared<CpuPlan>();
    KOVAR_TRY(candidate.prepare(desc, views, options, *plan));
    return plan;
  };
  return prim::chooseCandidate("cpu", desc, views, options, listOf(desc), attempt);
}

std::string dispatchText(const prim::Prim& prim, std::span<const prim::View> views, const prim::Plan& plan) {
  std::string text = prim::textOf(prim) + " on";
  for (const prim::View& v : views) text += " " + v.text();
  text += " -> " + plan.implementation;
  for (const prim::Refusal& r : plan.refusals) text += "; not " + r.implementation + ": " + r.reason;
  return text;
}

class CpuBackend final : public prim::Backend {
 public:
  explicit CpuBackend(int threads) {
    caps_.name = processorName();
    // The best target has the lowest bit.
    const auto targets = static_cast<std::uint64_t>(hwy::SupportedTargets());
    caps_.isa = hwy::TargetName(static_cast<std::int64_t>(targets & (~targets + 1)));
    caps_.memoryBytes = memoryBytes();
    caps_.updatingProducts = caps_.rectifiedPools = true;
    if (const std::string version = dnnlVersion(); !version.empty()) caps_.libraries.emplace_back("oneDNN", version);
    caps_.libraries.emplace_back(
        "Highway", std::to_string(HWY_MAJOR) + "." + std::to_string(HWY_MINOR) + "." + std::to_string(HWY_PATCH));
    setThreadCount(threads);
  }

  const prim::Caps& caps() const override { return caps_; }

  Result<prim::MemoryRef> allocate(std::size_t bytes, bool zeroed) override {
    return prim::allocateHost(bytes, zeroed);
  }
  using prim::Backend::copyIn;
  using prim::Backend::copyOut;
  Status copyIn(prim::Memory& dst, std::size_t offset, const void* src, std::size_t bytes) override {
    return prim::copyToHost(dst, offset, src, bytes);
  }
  Status copyOut(void* dst, const prim::Memory& src, std::size_t offset, std::size_t bytes) override {
    return prim::copyFromHost(dst, src, offset, bytes);
  }

  Result<prim::PlanRef> prepare(const prim::Prim& prim, std::span<const prim::View> args,
                                const prim::PrepareOptions& options) override {
    KOVAR_TRY(prim::validate(prim, args));
    try {
      auto plan = std::visit([&](const auto& desc) { return choose(desc, args, options); }, prim);
      if (plan.ok() && base::traceEnabled("dispatch")) base::trace("dispatch", dispatchText(prim, args, **plan));
      return plan;
    } catch (const std::exception& e) {
      return Failure{std::string("cpu: preparing ") + prim::familyOf(prim) + " failed: " + e.what()};
    }
  }

  std::vector<std::string> candidates(const prim::Prim& prim) const override {
    return std::visit([](const auto& desc) { return prim::namesOf(listOf(desc)); }, prim);
  }

  Result<prim::StreamRef> makeStream() override { return prim::StreamRef(std::make_unique<prim::Stream>()); }

  Status enqueue(prim::Stream&, const prim::Plan& plan, const prim::Invocation& invocation) override {
    const auto* cpuPlan = dynamic_cast<const CpuPlan*>(&plan);
    if (cpuPlan == nullptr) return Failure{"cpu: the plan '" + plan.implementation + "' was made by another device"};
    if (std::any_of(invocation.predicates.begin(), invocation.predicates.end(), [](const auto* p) { return *p == 0; }))
      return {};
    const std::shared_ptr<base::ThreadPool> pool = currentPool();
    Context context{*pool};
    try {
      return cpuPlan->body(context, invocation);
    } catch (const std::bad_alloc&) {
      return Failure{plan.implementation + ": out of memory while it ran"};
    } catch (const std::exception& e) {
      return Failure{plan.implementation + ": " + e.what()};
    }
  }

  Status synchronize(prim::Stream&) override { return {}; }

  void setThreadCount(int threads) override {
    auto pool = std::make_shared<base::ThreadPool>(std::min(threads > 0 ? threads : defaultThreadCount(), kMaxThreads));
    std::scoped_lock lock(poolMutex_);
    pool_ = std::move(pool);  // work under way keeps the old one until it is done
  }

  int threadCount() const override { return currentPool()->threads(); }

 private:
  std::shared_ptr<base::ThreadPool> currentPool() const {
    std::scoped_lock lock(poolMutex_);
    return pool_;
  }

  prim::Caps caps_;
  mutable std::mutex poolMutex_;
  std::shared_ptr<base::ThreadPool> pool_;
};

}  // namespace

int defaultThreadCount() {
  if (const char* text = std::getenv("KOVAR_THREADS"); text != nullptr && *text != '\0') {
    int threads = 0;
    const char* end = text + std::strlen(text);
    const auto [rest, error] = std::from_chars(text, end, threads);
    if (error == std::errc() && rest == end && threads >= 1) return std::min(threads, kMaxThreads);
    base::log(LogLevel::Warning,
              "KOVAR_THREADS is '" + std::string(text) + "', wanted a number of at least 1; ignored");
  }
  return usableProcessors();
}

std::unique_ptr<prim::Backend> makeCpuBackend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace kovar::cpu
