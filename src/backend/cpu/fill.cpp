#include "backend/cpu/cpu.hpp"
#include "backend/cpu/program_runner.hpp"

namespace kovar::cpu {
namespace {

base::Status prepareFill(const prim::Fill& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  prim::Program program;
  program.push({.op = prim::EwOp::Const, .dst = 0, .p = {desc.value}});
  program.push({.op = prim::EwOp::Store, .a = 0, .arg = 0});
  auto runner = std::make_shared<const ProgramRunner>(program, views, ProgramRunner::Use::Whole, views[0]);
  plan.body = [runner = std::move(runner)](Context& context, const prim::Invocation& inv) -> base::Status {
    std::byte* storage = inv.args[0].data;
    forRanges(context.pool, BlockGrid(runner->loops()).blocks, kBlocksPerChunk,
              [&](std::int64_t begin, std::int64_t end) { runner->run(runner->loops(), &storage, begin, end); });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Fill> kCandidates[] = {{"cpu:fill:blocks", prepareFill}};

}  // namespace

std::span<const Candidate<prim::Fill>> fillCandidates() { return kCandidates; }

}  // namespace kovar::cpu
