#include "devices/offset_device.hpp"

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "backend/cpu/backend.hpp"

namespace kovar::test {
namespace {

using base::Result;
using base::Status;

/// Added to every address: what comes out is no address of any process.
constexpr std::uintptr_t kOffset = std::uintptr_t{1} << 61;

std::byte* hidden(std::byte* real) {
  return real == nullptr ? nullptr : reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(real) + kOffset);
}
std::byte* revealed(const std::byte* address) {
  return address == nullptr ? nullptr
                            : reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(address) - kOffset);
}

class HiddenMemory final : public prim::Memory {
 public:
  explicit HiddenMemory(prim::MemoryRef real) : Memory(hidden(real->data()), real->bytes()), real_(std::move(real)) {}
  ~HiddenMemory() override { std::memset(real_->data(), 0xff, real_->bytes()); }
  HiddenMemory(const HiddenMemory&) = delete;
  HiddenMemory& operator=(const HiddenMemory&) = delete;

 private:
  prim::MemoryRef real_;
};

struct LateStream final : prim::Stream {
  prim::StreamRef real;
  std::vector<std::function<Status()>> work;

  Status run() {
    Status first;
    for (auto& piece : std::exchange(work, {}))
      if (Status status = piece(); first.ok()) first = status;
    return first;
  }
};

LateStream& late(prim::Stream& stream) { return static_cast<LateStream&>(stream); }

class OffsetDevice final : public prim::Backend {
 public:
  OffsetDevice() : cpu_(cpu::makeCpuBackend(2)), caps_(cpu_->caps()) {
    caps_.name = "a device at a distance";
    caps_.hostMemory = false;
  }

  const prim::Caps& caps() const override { return caps_; }
  Result<prim::MemoryRef> allocate(std::size_t bytes, bool zeroed) override {
    KOVAR_TRY_ASSIGN(prim::MemoryRef real, cpu_->allocate(bytes, zeroed));
    return prim::MemoryRef(std::make_shared<HiddenMemory>(std::move(real)));
  }
  Status copyIn(prim::Memory& dst, std::size_t offset, const void* src, std::size_t bytes) override {
    if (offset > dst.bytes() || bytes > dst.bytes() - offset) return base::Failure{"copyIn beyond the block"};
    if (bytes != 0) std::memcpy(revealed(dst.data()) + offset, src, bytes);
    return {};
  }
  Status copyOut(void* dst, const prim::Memory& src, std::size_t offset, std::size_t bytes) override {
    if (offset > src.bytes() || bytes > src.bytes() - offset) return base::Failure{"copyOut beyond the block"};
    if (bytes != 0) std::memcpy(dst, revealed(src.data()) + offset, bytes);
    return {};
  }
  Status copyIn(prim::Stream& stream, std::byte* device, const void* host, std::size_t bytes) override {
    late(stream).work.emplace_back([=] {
      if (bytes != 0) std::memcpy(revealed(device), host, bytes);
      return Status{};
    });
    return {};
  }
  Status copyOut(prim::Stream& stream, void* host, const std::byte* device, std::size_t bytes) override {
    late(stream).work.emplace_back([=] {
      if (bytes != 0) std::memcpy(host, revealed(device), bytes);
      return Status{};
    });
    return {};
  }
  Result<prim::PlanRef> prepare(const prim::Prim& prim, std::span<const prim::View> args,
                                const prim::PrepareOptions& options) override {
    return cpu_->prepare(prim, args, options);
  }
  std::vector<std::string> candidates(const prim::Prim& prim) const override { return cpu_->candidates(prim); }
  Result<prim::StreamRef> makeStream() override {
    auto stream = std::make_unique<LateStream>();
    KOVAR_TRY_ASSIGN(stream->real, cpu_->makeStream());
    return prim::StreamRef(std::move(stream));
  }
  Status enqueue(prim::Stream& stream, const prim::Plan& plan, const prim::Invocation& invocation) override {
    LateStream& s = late(stream);
    // A caller's function runs on the host: its arguments are host memory already.
    if (invocation.call != nullptr) {
      KOVAR_TRY(s.run());
      for (const std::uint32_t* word : invocation.predicates)
        if (*reinterpret_cast<const std::uint32_t*>(revealed(reinterpret_cast<const std::byte*>(word))) == 0) return {};
      prim::Invocation now = invocation;
      now.predicates = {};
      return cpu_->enqueue(*s.real, plan, now);
    }
    std::vector<prim::Bound> args(invocation.args.begin(), invocation.args.end());
    for (prim::Bound& b : args) b = {revealed(b.data), nullptr};
    std::vector<const std::uint32_t*> words;
    for (const std::uint32_t* word : invocation.predicates)
      words.push_back(reinterpret_cast<const std::uint32_t*>(revealed(reinterpret_cast<const std::byte*>(word))));
    const prim::Scalars scalars = invocation.scalars != nullptr ? *invocation.scalars : prim::Scalars{};
    s.work.emplace_back([this, &s, &plan, args = std::move(args), words = std::move(words), scalars,
                         scratch = revealed(invocation.scratch)] {
      prim::Invocation now;
      now.args = args;
      now.scalars = &scalars;
      now.scratch = scratch;
      now.predicates = words;
      return cpu_->enqueue(*s.real, plan, now);
    });
    return {};
  }
  Status synchronize(prim::Stream& stream) override { return late(stream).run(); }

 private:
  std::unique_ptr<prim::Backend> cpu_;
  prim::Caps caps_;
};

}  // namespace

std::unique_ptr<prim::Backend> makeOffsetDevice() { return std::make_unique<OffsetDevice>(); }

}  // namespace kovar::test
