#include "runtime/execute.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "runtime/device_state.hpp"
#include "runtime/queue_state.hpp"

namespace kovar::rt {
namespace {

// NaN in every float format; as an integer a value that stands out.
constexpr int kPoison = 0xff;

struct Bindings {
  std::vector<prim::Bound> storages;
  std::byte* arena = nullptr;
};

base::Result<Bindings> bind(QueueState& queue, const ListPlan& plan, std::span<const StorageRef> storages) {
  Bindings b;
  KOVAR_TRY_ASSIGN(b.arena, queue.arena(plan.stats.arenaBytes));
  b.storages.resize(storages.size());
  for (std::size_t i = 0; i < storages.size(); ++i) {
    if (plan.place[i] >= 0) {
      b.storages[i].data = b.arena + plan.place[i];
    } else if (!plan.list.storages[i].temporary) {
      KOVAR_TRY_ASSIGN(b.storages[i].data, storages[i]->data());
      b.storages[i].derived = &storages[i]->derived;
    }
  }
  return b;
}

// Contents of dead temporaries must not be read again; in debug builds nobody gets away with it.
void poisonDead(const ListPlan& plan, std::size_t op, const Bindings& b) {
  for (const prim::Arg& a : plan.list.argsOf(plan.list.ops[op]))
    if (plan.place[a.storage] >= 0 && plan.lastUse[a.storage] == op)
      std::memset(b.storages[a.storage].data, kPoison, plan.list.storages[a.storage].bytes);
}

/// A caller's function sees host memory: copies of its arguments, which then go back where they are written.
class StagedCall {
 public:
  StagedCall(prim::Backend& backend, prim::Stream& stream, const prim::OpList& list, std::span<const prim::Arg> args,
             std::span<const prim::Bound> bound)
      : backend_(backend), stream_(stream), list_(list), args_(args), device_(bound.begin(), bound.end()) {}

  base::Status fetch() {
    for (std::size_t i = 0; i < args_.size(); ++i) {
      // The same storage twice is one copy.
      std::size_t first = 0;
      while (args_[first].storage != args_[i].storage) ++first;
      owner_.push_back(first);
      copies_.emplace_back(first == i ? list_.storages[args_[i].storage].bytes : 0);
      if (first == i) KOVAR_TRY(backend_.copyOut(stream_, copies_[i].data(), device_[i].data, copies_[i].size()));
    }
    KOVAR_TRY(backend_.synchronize(stream_));
    for (std::size_t i = 0; i < args_.size(); ++i) host_.push_back({copies_[owner_[i]].data(), nullptr});
    return {};
  }
  std::span<const prim::Bound> host() const { return host_; }
  base::Status bringBack() {
    for (std::size_t i = 0; i < args_.size(); ++i)
      if (prim::writes(args_[i].access))
        KOVAR_TRY(backend_.copyIn(stream_, device_[i].data, host_[i].data, copies_[owner_[i]].size()));
    return backend_.synchronize(stream_);  // the copies go with this object
  }

 private:
  prim::Backend& backend_;
  prim::Stream& stream_;
  const prim::OpList& list_;
  std::span<const prim::Arg> args_;
  std::vector<prim::Bound> device_, host_;
  std::vector<std::size_t> owner_;
  std::vector<std::vector<std::byte>> copies_;
};

}  // namespace

base::Result<std::shared_ptr<const ListPlan>> findOrPlan(DeviceState& device, const prim::OpList& list) {
  const std::uint64_t hash = list.hash();
  auto plan = device.lists.find(hash, [&](const auto& p) { return p->key.sameShape(list); });
  if (plan) return plan;
  KOVAR_TRY_ASSIGN(plan, planList(device, list));
  const std::size_t bytes = 2 * (list.ops.size() * sizeof(prim::Op) + list.args.size() * sizeof(prim::Arg));
  device.lists.put(hash, plan, bytes + sizeof(ListPlan));
  return plan;
}

namespace {

/// A list on its way to the stream.
class Execution {
 public:
  Execution(QueueState& queue, const ListPlan& plan, const prim::OpList& encoded, Bindings bindings)
      : queue_(queue), backend_(*queue.device()->backend), plan_(plan), b_(std::move(bindings)) {
    std::size_t arguments = 0;
    for (const prim::Op& op : plan.list.ops) arguments += op.argCount;
    args_.reserve(arguments);
    for (std::size_t i = 0; i < plan.list.ops.size(); ++i) {
      const prim::Op& op = plan.list.ops[i];
      const std::size_t first = args_.size();
      for (const prim::Arg& a : plan.list.argsOf(op)) args_.push_back(b_.storages[a.storage]);
      prim::Work work;
      work.plan = plan.plans[i].get();
      work.invocation.args = std::span(args_).subspan(first, op.argCount);
      work.invocation.scalars = &encoded.ops[op.origin].scalars;
      work.invocation.scratch = b_.arena ? b_.arena + plan.scratchOffset : nullptr;
      work_.push_back(work);
    }
  }

  /// Neither the host nor a predicate has a say in it, and the device gains by seeing it whole.
  bool straight() const {
    if (backend_.caps().hostMemory) return false;
    return std::none_of(plan_.list.ops.begin(), plan_.list.ops.end(), [](const prim::Op& op) {
      return op.predicates >= 0 || std::holds_alternative<prim::Call>(op.prim);
    });
  }

  base::Status all(prim::ReplayRef& replay, std::vector<prim::Derived::Forms>& retired) {
    // What an earlier operation of the list writes cannot be retired in between: nothing may be derived.
    for (prim::Bound& b : args_) b.derived = nullptr;
    KOVAR_TRY(backend_.enqueueAll(queue_.stream(), work_, replay));
    for (const prim::Op& op : plan_.list.ops) retire(op, retired);
    return {};
  }

  base::Status one(std::size_t i, std::span<const prim::CallBody> calls, std::vector<prim::Derived::Forms>& retired) {
    const prim::Op& op = plan_.list.ops[i];
    prim::Invocation inv = work_[i].invocation;
    predicates_.clear();
    if (op.predicates >= 0)
      for (const prim::PredicateWord& w : plan_.list.predicateSets[static_cast<std::size_t>(op.predicates)])
        predicates_.push_back(reinterpret_cast<const std::uint32_t*>(b_.storages[w.storage].data + w.byteOffset));
    inv.predicates = predicates_;
    const auto* call = std::get_if<prim::Call>(&op.prim);
    if (call != nullptr) inv.call = &calls[call->id];
    if (call != nullptr && !call->onDevice && !backend_.caps().hostMemory && !inv.args.empty()) {
      StagedCall staged(backend_, queue_.stream(), plan_.list, plan_.list.argsOf(op), inv.args);
      KOVAR_TRY(staged.fetch());
      inv.args = staged.host();
      KOVAR_TRY(backend_.enqueue(queue_.stream(), *work_[i].plan, inv));
      KOVAR_TRY(staged.bringBack());
    } else {
      KOVAR_TRY(backend_.enqueue(queue_.stream(), *work_[i].plan, inv));
    }
    retire(op, retired);
    if (queue_.device()->poisonTemporaries && backend_.caps().hostMemory) poisonDead(plan_, i, b_);
    return {};
  }

 private:
  /// What was derived from a storage is out of date once it is written.
  void retire(const prim::Op& op, std::vector<prim::Derived::Forms>& retired) {
    for (const prim::Arg& a : plan_.list.argsOf(op)) {
      prim::Derived* derived = b_.storages[a.storage].derived;
      if (!prim::writes(a.access) || derived == nullptr) continue;
      if (prim::Derived::Forms forms = derived->clear(); !forms.empty()) retired.push_back(std::move(forms));
    }
  }

  QueueState& queue_;
  prim::Backend& backend_;
  const ListPlan& plan_;
  Bindings b_;
  std::vector<prim::Bound> args_;
  std::vector<prim::Work> work_;
  std::vector<const std::uint32_t*> predicates_;
};

}  // namespace

base::Result<Started> executeList(QueueState& queue, const std::shared_ptr<const ListPlan>& plan,
                                  const prim::OpList& encoded, std::span<const StorageRef> storages,
                                  std::span<const prim::CallBody> calls) {
  prim::Backend& backend = *queue.device()->backend;
  KOVAR_TRY_ASSIGN(Bindings b, bind(queue, *plan, storages));
  const auto ownMemory = [&](std::size_t i) { return plan->place[i] < 0 && !plan->list.storages[i].temporary; };
  if (!backend.caps().hostMemory)
    for (std::size_t i = 0; i < storages.size(); ++i)
      if (ownMemory(i)) KOVAR_TRY(storages[i]->upload(queue.stream()));

  Started started;
  started.plan = plan;
  Execution execution(queue, *plan, encoded, std::move(b));
  if (execution.straight()) {
    prim::ReplayRef& replay = queue.replayOf(plan);
    KOVAR_TRY(execution.all(replay, started.retired));
    started.replay = replay;
  } else {
    for (std::size_t i = 0; i < plan->list.ops.size(); ++i) KOVAR_TRY(execution.one(i, calls, started.retired));
  }
  if (!backend.caps().hostMemory)
    for (std::size_t i = 0; i < storages.size(); ++i)
      if (plan->written[i] && ownMemory(i)) KOVAR_TRY(storages[i]->writeBack(queue.stream()));
  KOVAR_TRY_ASSIGN(started.fence, backend.fence(queue.stream()));
  return started;
}

}  // namespace kovar::rt
