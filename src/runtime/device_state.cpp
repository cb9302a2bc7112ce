#include "runtime/device_state.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "runtime/list_plan.hpp"

namespace kovar::rt {
namespace {

bool flag(const char* name, bool byDefault) {
  const char* v = std::getenv(name);
  return v && *v ? std::string_view(v) != "0" : byDefault;
}

std::size_t cacheBytes() {
  constexpr std::size_t kDefault = std::size_t{64} << 20;
  const char* v = std::getenv("KOVAR_PLAN_CACHE");
  if (!v || !*v) return kDefault;
  char* end = nullptr;
  const unsigned long long n = std::strtoull(v, &end, 10);
  return end && *end == '\0' ? static_cast<std::size_t>(n) : kDefault;
}

#ifdef NDEBUG
constexpr bool kDebug = false;
#else
constexpr bool kDebug = true;
#endif

}  // namespace

HandlerThread::~HandlerThread() {
  {
    std::scoped_lock lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  if (!thread_.joinable()) return;
  if (isCurrent())
    thread_.detach();  // the last reference died inside a handler
  else
    thread_.join();
}

void HandlerThread::post(std::function<void()> work) {
  {
    std::scoped_lock lock(state_->mutex);
    if (!thread_.joinable()) thread_ = std::thread([state = state_] { loop(state); });
    state_->work.push_back(std::move(work));
  }
  state_->wake.notify_one();
}

void HandlerThread::loop(const std::shared_ptr<State>& state) {
  state->id.store(std::this_thread::get_id(), std::memory_order_relaxed);
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->wake.wait(lock, [&] { return state->stop || !state->work.empty(); });
    if (state->work.empty()) return;
    auto work = std::move(state->work.front());
    state->work.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // what it captured may end here, not under the lock
    lock.lock();
  }
}

base::Result<prim::MemoryRef> StagingPool::take(std::size_t bytes) {
  {
    std::scoped_lock lock(mutex_);
    const auto fits = std::find_if(free_.begin(), free_.end(), [&](const auto& b) { return b->bytes() >= bytes; });
    if (fits != free_.end()) {
      prim::MemoryRef block = std::move(*fits);
      free_.erase(fits);
      return block;
    }
  }
  constexpr std::size_t kLeast = 4096;
  return backend_.allocateStaging(std::bit_ceil(std::max(bytes, kLeast)));
}

void StagingPool::giveBack(prim::MemoryRef block) {
  constexpr std::size_t kMostBlocks = 4;
  std::scoped_lock lock(mutex_);
  const auto larger =
      std::find_if(free_.begin(), free_.end(), [&](const auto& b) { return b->bytes() > block->bytes(); });
  free_.insert(larger, std::move(block));
  // The smallest one helps least.
  if (free_.size() > kMostBlocks) free_.erase(free_.begin());
}

DeviceState::DeviceState(std::string id, std::unique_ptr<prim::Backend> b)
    : identifier(std::move(id)),
      backend(std::move(b)),
      lists(cacheBytes()),
      staging(*backend),
      strictFormats(flag("KOVAR_STRICT_FORMATS", false)),
      winograd(flag("KOVAR_WINOGRAD", true)),
      poisonTemporaries(flag("KOVAR_POISON", kDebug)),
      plans_(cacheBytes()) {}

base::Result<prim::PlanRef> DeviceState::prepare(const prim::Prim& prim, std::span<const prim::View> args) {
  std::uint64_t hash = prim::hashOf(prim);
  for (const prim::View& v : args) hash = prim::combine(hash, prim::hashOf(v));
  auto cached = plans_.find(hash, [&](const auto& c) {
    return c->prim == prim && std::equal(c->views.begin(), c->views.end(), args.begin(), args.end());
  });
  if (cached) return cached->plan;
  prim::PrepareOptions options;
  options.strictFormats = strictFormats;
  options.winograd = winograd;
  KOVAR_TRY_ASSIGN(prim::PlanRef plan, backend->prepare(prim, args, options));
  plans_.put(hash, std::make_shared<const CachedPlan>(CachedPlan{prim, {args.begin(), args.end()}, plan}),
             plan->cacheBytes + sizeof(CachedPlan));
  return plan;
}

}  // namespace kovar::rt
