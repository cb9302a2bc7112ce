#include "backend/cuda/replay.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "backend/cuda/memory.hpp"
#include "base/log.hpp"

namespace kovar::cuda {
namespace {

using base::Status;

/// Sets of addresses that a list may run with in turn (the slots of a trainer that works ahead, say).
constexpr std::size_t kMostGraphs = 8;
/// Runs whose scalars are on their way at once: more than a queue lets run ahead.
constexpr std::size_t kSlots = 32;

std::vector<const std::byte*> addressesOf(std::span<const prim::Work> list) {
  std::vector<const std::byte*> all;
  for (const prim::Work& work : list) {
    all.push_back(work.invocation.scratch);
    for (const prim::Bound& b : work.invocation.args) all.push_back(b.data);
  }
  return all;
}

/// Neighbouring copies of a list, gathered into one launch: a batch of images of the user's own is a hundred of them.
class Copies {
 public:
  explicit Copies(cudaStream_t stream) : stream_(stream) {}

  /// Takes a copy if it is small; what it must wait for is launched before.
  base::Result<bool> take(const CudaPlan& plan, const prim::Invocation& inv) {
    constexpr std::size_t kMostBytes = 16384;
    if (plan.run.bytes == 0 || plan.run.bytes > kMostBytes) return false;
    const std::byte* from = inv.args[0].data + plan.run.from;
    std::byte* to = inv.args[1].data + plan.run.to;
    if (pending_.count == ManyCopiesParams::kMost || meets(from, to, plan.run.bytes)) KOVAR_TRY(launch());
    const auto at = static_cast<std::size_t>(pending_.count++);
    pending_.from[at] = from;
    pending_.to[at] = to;
    pending_.bytes[at] = static_cast<std::uint32_t>(plan.run.bytes);
    return true;
  }

  Status launch() {
    if (pending_.count == 0) return {};
    const cudaError_t e = runManyCopies(pending_, stream_);
    pending_.count = 0;
    return check(e, "copies");
  }

 private:
  bool meets(const std::byte* from, const std::byte* to, std::size_t bytes) const {
    const auto apart = [](const std::byte* a, std::size_t n, const std::byte* b, std::size_t k) {
      return a + n <= b || b + k <= a;
    };
    for (int i = 0; i < pending_.count; ++i)
      if (!apart(pending_.to[i], pending_.bytes[i], from, bytes) ||
          !apart(pending_.to[i], pending_.bytes[i], to, bytes) ||
          !apart(pending_.from[i], pending_.bytes[i], to, bytes))
        return true;
    return false;
  }

  cudaStream_t stream_;
  ManyCopiesParams pending_{};
};

}  // namespace

GraphReplay::~GraphReplay() {
  for (const Graph& g : graphs_)
    if (g.executable != nullptr) cudaGraphExecDestroy(g.executable);
}

Status GraphReplay::runEach(cudaStream_t stream, std::span<const prim::Work> list, const prim::Scalars* deviceScalars) {
  Copies copies(stream);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto* plan = dynamic_cast<const CudaPlan*>(list[i].plan);
    if (plan == nullptr) return base::Failure{"cuda: a plan of the list was made by another device"};
    KOVAR_TRY_ASSIGN(const bool taken, copies.take(*plan, list[i].invocation));
    if (taken) continue;
    KOVAR_TRY(copies.launch());
    Context context{stream};
    if (deviceScalars != nullptr) context.deviceScalars = deviceScalars + i;
    KOVAR_TRY(plan->body(context, startingScratch(list[i].invocation)));
  }
  return copies.launch();
}

Status GraphReplay::reserveScalars(Device& device, std::size_t count) {
  if (scalars_ != nullptr) return {};
  KOVAR_TRY_ASSIGN(scalars_, device.allocateFor(count * sizeof(prim::Scalars)));
  KOVAR_TRY_ASSIGN(staging_, allocatePinned(kSlots * count * sizeof(prim::Scalars)));
  return {};
}

Status GraphReplay::sendScalars(cudaStream_t stream, std::span<const prim::Work> list) {
  const std::size_t bytes = list.size() * sizeof(prim::Scalars);
  std::byte* slot = staging_->data() + slot_ * bytes;
  slot_ = (slot_ + 1) % kSlots;
  for (std::size_t i = 0; i < list.size(); ++i)
    if (list[i].invocation.scalars != nullptr)
      std::memcpy(slot + i * sizeof(prim::Scalars), list[i].invocation.scalars, sizeof(prim::Scalars));
  return check(cudaMemcpyAsync(scalars_->data(), slot, bytes, cudaMemcpyHostToDevice, stream), "sending scalars");
}

Status GraphReplay::record(cudaStream_t stream, std::span<const prim::Work> list, Graph& graph) {
  KOVAR_TRY(check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "recording a list"));
  const Status recorded = runEach(stream, list, reinterpret_cast<const prim::Scalars*>(scalars_->data()));
  cudaGraph_t raw = nullptr;
  const Status ended = check(cudaStreamEndCapture(stream, &raw), "recording a list");
  if (!recorded.ok() || !ended.ok()) {
    if (raw != nullptr) cudaGraphDestroy(raw);
    return recorded.ok() ? ended : recorded;
  }
  // An executable of other addresses is brought up to date, which is much cheaper than making one.
  if (graph.executable != nullptr) {
    cudaGraphExecUpdateResultInfo info{};
    if (cudaGraphExecUpdate(graph.executable, raw, &info) != cudaSuccess) {
      cudaGetLastError();
      cudaGraphExecDestroy(std::exchange(graph.executable, nullptr));
    }
  }
  Status made;
  if (graph.executable == nullptr) made = check(cudaGraphInstantiate(&graph.executable, raw, 0), "recording a list");
  cudaGraphDestroy(raw);
  return made;
}

Status GraphReplay::run(Device& device, cudaStream_t stream, std::span<const prim::Work> list) {
  constexpr std::size_t kWorthIt = 3;
  if (refuses_ || list.size() < kWorthIt) return runEach(stream, list, nullptr);
  std::vector<const std::byte*> addresses = addressesOf(list);
  auto known = std::find_if(graphs_.begin(), graphs_.end(), [&](const Graph& g) { return g.addresses == addresses; });
  if (known == graphs_.end()) {
    Graph fresh;
    fresh.addresses = std::move(addresses);
    if (graphs_.size() == kMostGraphs) {
      fresh.executable = graphs_.back().executable;
      graphs_.pop_back();
    }
    graphs_.insert(graphs_.begin(), std::move(fresh));
    return runEach(stream, list, nullptr);
  }
  std::rotate(graphs_.begin(), known, known + 1);
  Graph& graph = graphs_.front();
  if (!graph.recorded) {
    KOVAR_TRY(reserveScalars(device, list.size()));
    if (const Status status = record(stream, list, graph); !status.ok()) {
      refuses_ = true;
      base::trace("replay", "a list of " + std::to_string(list.size()) +
                                " operations cannot be recorded: " + status.failure().text);
      return runEach(stream, list, nullptr);
    }
    graph.recorded = true;
    if (base::traceEnabled("replay"))
      base::trace("replay", "recorded a list of " + std::to_string(list.size()) + " operations, graph " +
                                std::to_string(graphs_.size()) + " of it");
  }
  KOVAR_TRY(sendScalars(stream, list));
  return check(cudaGraphLaunch(graph.executable, stream), "running a recorded list");
}

}  // namespace kovar::cuda
