#include "backend/cuda/cuda.hpp"
#include "backend/cuda/program.hpp"

namespace kovar::cuda {
namespace {

base::Status prepareElementwise(Device&, const prim::Elementwise& desc, std::span<const prim::View> views,
                                const prim::PrepareOptions&, CudaPlan& plan) {
  auto program = std::make_shared<const PreparedProgram>(desc.program, views);
  plan.body = [program = std::move(program)](const Context& context, const prim::Invocation& inv) {
    return check(program->run(context.stream, inv.args), "elementwise");
  };
  return {};
}

base::Status prepareFill(Device&, const prim::Fill& desc, std::span<const prim::View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  prim::Program program;
  program.push({.op = prim::EwOp::Const, .dst = 0, .p = {desc.value}});
  program.push({.op = prim::EwOp::Store, .a = 0, .arg = 0});
  auto prepared = std::make_shared<const PreparedProgram>(program, views);
  plan.body = [prepared = std::move(prepared)](const Context& context, const prim::Invocation& inv) {
    return check(prepared->run(context.stream, inv.args), "fill");
  };
  return {};
}

constexpr Candidate<prim::Elementwise> kElementwise[] = {{"cuda:elementwise:program", prepareElementwise}};
constexpr Candidate<prim::Fill> kFill[] = {{"cuda:fill:program", prepareFill}};

}  // namespace

std::span<const Candidate<prim::Elementwise>> elementwiseCandidates() { return kElementwise; }
std::span<const Candidate<prim::Fill>> fillCandidates() { return kFill; }

}  // namespace kovar::cuda
