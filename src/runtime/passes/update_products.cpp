#include <optional>
#include <vector>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

bool touches(const prim::OpList& list, const prim::Op& op, std::uint32_t storage) {
  for (const prim::Arg& a : list.argsOf(op))
    if (a.storage == storage) return true;
  return false;
}

std::uint32_t resultArg(const prim::Matmul& m) { return m.bias ? 3 : 2; }

/// The optimizer step that alone uses the product at `at`, where it can run as part of it.
std::optional<std::size_t> stepOf(const prim::OpList& list, std::size_t at) {
  const prim::Op& op = list.ops[at];
  const auto* product = std::get_if<prim::Matmul>(&op.prim);
  if (!product || product->bias || product->accumulate || product->update || !product->post.empty() ||
      op.predicates >= 0)
    return std::nullopt;
  const prim::Arg& gradient = list.argsOf(op)[resultArg(*product)];
  if (!list.storages[gradient.storage].temporary) return std::nullopt;
  std::optional<std::size_t> reader;
  for (std::size_t i = 0; i < list.ops.size(); ++i) {
    if (i == at || !touches(list, list.ops[i], gradient.storage)) continue;
    if (i < at || reader) return std::nullopt;
    reader = i;
  }
  if (!reader || !std::holds_alternative<prim::Step>(list.ops[*reader].prim) || list.ops[*reader].predicates >= 0)
    return std::nullopt;
  const auto args = list.argsOf(list.ops[*reader]);
  if (args[0].storage != gradient.storage || args[0].view.offset != gradient.view.offset) return std::nullopt;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const prim::View& v = args[i].view;
    if (v.dtype != prim::DType::F32 || !v.dense() || v.elements() != gradient.view.elements()) return std::nullopt;
    if (i == 0) continue;
    // The step runs earlier than before: nothing may look at its arguments in between, the product included.
    for (std::size_t k = at; k < *reader; ++k)
      if (touches(list, list.ops[k], args[i].storage)) return std::nullopt;
  }
  return gradient.view.dtype == prim::DType::F32 && gradient.view.dense() ? reader : std::nullopt;
}

}  // namespace

void updateInProducts(prim::OpList& list) {
  std::vector<bool> drop(list.ops.size());
  for (std::size_t i = 0; i < list.ops.size(); ++i) {
    const auto reader = drop[i] ? std::nullopt : stepOf(list, i);
    if (!reader) continue;
    const prim::Op& step = list.ops[*reader];
    prim::Op op = list.ops[i];
    auto& product = std::get<prim::Matmul>(op.prim);
    std::vector<prim::Arg> args(list.argsOf(op).begin(), list.argsOf(op).end());
    const std::vector<prim::Arg> stepArgs(list.argsOf(step).begin(), list.argsOf(step).end());
    const prim::View c = args[resultArg(product)].view;
    const auto asMatrix = [&](prim::Arg a) {
      a.view = prim::View::contiguous(a.view.dtype, {c.dim(0), c.dim(1)}, a.view.offset);
      return a;
    };
    for (std::size_t k = 1; k + 1 < stepArgs.size(); ++k) args.push_back(asMatrix(stepArgs[k]));
    args[resultArg(product)] = asMatrix(stepArgs.back());
    product.update = true;
    product.step = std::get<prim::Step>(step.prim);
    op.scalars = step.scalars;
    op.origin = step.origin;
    op.firstArg = static_cast<std::uint32_t>(list.args.size());
    op.argCount = static_cast<std::uint32_t>(args.size());
    list.args.insert(list.args.end(), args.begin(), args.end());
    list.ops[i] = op;
    list.ops[*reader].argCount = 0;
    drop[*reader] = true;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < list.ops.size(); ++i)
    if (!drop[i]) list.ops[kept++] = list.ops[i];
  list.ops.resize(kept);
}

}  // namespace kovar::rt
