#include "backend/cpu/post_ops.hpp"

#include <array>

#include "backend/cpu/program_runner.hpp"

namespace kovar::cpu {

struct PostOps::Plan {
  ProgramRunner rows, blocks;
  std::size_t firstArg = 0;
  std::vector<prim::View> views;  // as rows.arguments() numbers them
  int leadingAxes = 0;
};

PostOps::PostOps(const prim::Program& program, const prim::View& dst, std::span<const prim::View> allViews,
                 std::size_t firstArg) {
  if (program.empty()) return;
  const std::span<const prim::View> own = allViews.subspan(firstArg);
  auto plan = std::make_shared<Plan>();
  plan->rows = ProgramRunner(program, own, ProgramRunner::Use::Rows, dst);
  plan->blocks = ProgramRunner(program, own, ProgramRunner::Use::InPlace, dst);
  plan->firstArg = firstArg;
  for (const std::size_t argument : plan->rows.arguments()) plan->views.push_back(own[argument]);
  plan->leadingAxes = dst.rank - 1;
  plan_ = std::move(plan);
}

void PostOps::apply(const prim::Invocation& inv, const std::int64_t* index, std::int64_t channel, std::int64_t length,
                    const float* values, float* out) const {
  std::array<std::byte*, kMaxLoopViews> first{};
  std::array<std::int64_t, kMaxLoopViews> step{};
  for (std::size_t i = 0; i < plan_->views.size(); ++i) {
    const prim::View& v = plan_->views[i];
    const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
    std::int64_t at = v.offset + channel * v.stride(plan_->leadingAxes);
    for (int axis = 0; axis < plan_->leadingAxes; ++axis) at += index[axis] * v.stride(axis);
    first[i] = inv.args[plan_->firstArg + plan_->rows.arguments()[i]].data + at * size;
    step[i] = v.stride(plan_->leadingAxes) * size;
  }
  plan_->rows.runRow(first.data(), step.data(), length, values, out);
}

void PostOps::applyBlock(const prim::Invocation& inv, float* dstBase, std::int64_t begin, std::int64_t end) const {
  const ProgramRunner& runner = plan_->blocks;
  const std::size_t own = inv.args.size() - plan_->firstArg;
  std::array<std::byte*, kMaxLoopViews> storage{};
  for (std::size_t i = 0; i < runner.arguments().size(); ++i) {
    const std::size_t argument = runner.arguments()[i];
    storage[i] = argument == own ? reinterpret_cast<std::byte*>(dstBase) : inv.args[plan_->firstArg + argument].data;
  }
  const Loops part = runner.loops().part(begin, end);
  runner.run(part, storage.data(), 0, BlockGrid(part).blocks);
}

}  // namespace kovar::cpu
