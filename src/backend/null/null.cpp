#include "backend/null/null.hpp"

#include <algorithm>
#include <string>

#include "prim/host_memory.hpp"

namespace kovar::null_device {
namespace {

using base::Failure;
using base::Result;
using base::Status;

class NullBackend final : public prim::Backend {
 public:
  NullBackend() {
    caps_.name = "null device";
    caps_.isa = "none";
    caps_.computes = false;
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
    auto plan = std::make_shared<prim::Plan>();
    plan->implementation = candidates(prim).front();
    if (!options.only.empty() && options.only != plan->implementation)
      return Failure{"null device: no implementation named '" + options.only + "'; there is " + plan->implementation};
    return prim::PlanRef(std::move(plan));
  }

  std::vector<std::string> candidates(const prim::Prim& prim) const override {
    return {std::string("null:") + prim::familyOf(prim)};
  }

  Result<prim::StreamRef> makeStream() override { return prim::StreamRef(std::make_unique<prim::Stream>()); }

  Status enqueue(prim::Stream&, const prim::Plan&, const prim::Invocation& invocation) override {
    if (invocation.call == nullptr) return {};
    if (std::any_of(invocation.predicates.begin(), invocation.predicates.end(), [](const auto* p) { return *p == 0; }))
      return {};
    return (*invocation.call)(invocation.args, nullptr);
  }

  Status synchronize(prim::Stream&) override { return {}; }

 private:
  prim::Caps caps_;
};

}  // namespace

std::unique_ptr<prim::Backend> makeNullBackend() { return std::make_unique<NullBackend>(); }

}  // namespace kovar::null_device
