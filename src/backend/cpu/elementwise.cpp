#include "backend/cpu/cpu.hpp"
#include "backend/cpu/program_runner.hpp"

namespace kovar::cpu {
namespace {

base::Status prepareElementwise(const prim::Elementwise& desc, std::span<const prim::View> views,
                                const prim::PrepareOptions&, CpuPlan& plan) {
  auto runner = std::make_shared<const ProgramRunner>(desc.program, views, ProgramRunner::Use::Whole, views[0]);
  plan.body = [runner = std::move(runner)](Context& context, const prim::Invocation& inv) -> base::Status {
    std::array<std::byte*, kMaxLoopViews> storage{};
    for (std::size_t i = 0; i < runner->arguments().size(); ++i) storage[i] = inv.args[runner->arguments()[i]].data;
    forRanges(context.pool, BlockGrid(runner->loops()).blocks, kBlocksPerChunk,
              [&](std::int64_t begin, std::int64_t end) { runner->run(runner->loops(), storage.data(), begin, end); });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Elementwise> kCandidates[] = {{"cpu:elementwise:blocks", prepareElementwise}};

}  // namespace

std::span<const Candidate<prim::Elementwise>> elementwiseCandidates() { return kCandidates; }

}  // namespace kovar::cpu
