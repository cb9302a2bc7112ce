#include <algorithm>
#include <optional>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

/// A plain copy of a whole storage's elements onto another's, without conversion: source and destination argument.
struct Rename {
  std::uint32_t from, to;
};

std::optional<Rename> renameOf(const prim::OpList& list, const prim::Op& op) {
  const auto* copy = std::get_if<prim::Copy>(&op.prim);
  if (!copy || copy->direction != prim::Direction::Forward || copy->accumulate || op.predicates >= 0)
    return std::nullopt;
  if (copy->shift != decltype(copy->shift){}) return std::nullopt;
  const prim::Arg &src = list.args[op.firstArg], &dst = list.args[op.firstArg + 1];
  if (src.storage == dst.storage || !(src.view == dst.view)) return std::nullopt;
  if (list.storages[src.storage].bytes != list.storages[dst.storage].bytes) return std::nullopt;
  if (!src.view.dense() ||
      static_cast<std::size_t>(src.view.elements()) * prim::sizeOf(src.view.dtype) != list.storages[src.storage].bytes)
    return std::nullopt;
  return Rename{src.storage, dst.storage};
}

bool touches(const prim::OpList& list, const prim::Op& op, std::uint32_t storage, bool writesOnly) {
  const auto args = list.argsOf(op);
  return std::any_of(args.begin(), args.end(), [&](const prim::Arg& a) {
    return a.storage == storage && (!writesOnly || prim::writes(a.access));
  });
}

bool plain(const prim::OpList& list, std::size_t first, std::size_t last, std::uint32_t storage) {
  for (std::size_t i = first; i <= last; ++i)
    if (touches(list, list.ops[i], storage, false) &&
        (list.ops[i].predicates >= 0 || std::holds_alternative<prim::Call>(list.ops[i].prim)))
      return false;
  return true;
}

}  // namespace

void elideCopies(prim::OpList& list) {
  std::vector<bool> drop(list.ops.size());
  for (std::size_t i = 0; i < list.ops.size(); ++i) {
    const auto begin = renameOf(list, list.ops[i]);
    if (!begin || !list.storages[begin->to].temporary) continue;
    const std::uint32_t original = begin->from, temp = begin->to;
    const Lives lives = livesOf(list);
    if (lives.first[temp] != i) continue;
    const std::size_t last = lives.last[temp];
    if (!plain(list, i, last, temp)) continue;

    const auto back = renameOf(list, list.ops[last]);
    const bool returns = last > i && back && back->from == temp && back->to == original;
    // Between the two copies the original must not be looked at (when the temporary changes) or changed (when it does
    // not).
    bool alone = true, unchanged = true, originalWritten = false;
    for (std::size_t j = i + 1; j <= last; ++j) {
      if (returns && j == last) break;
      if (drop[j]) continue;
      if (touches(list, list.ops[j], temp, true)) unchanged = false;
      if (touches(list, list.ops[j], original, false)) alone = false;
      if (touches(list, list.ops[j], original, true)) originalWritten = true;
    }
    if (!(returns && alone) && !(unchanged && !originalWritten)) continue;
    for (prim::Arg& a : list.args)
      if (a.storage == temp) a.storage = original;
    drop[i] = true;
    if (returns) drop[last] = true;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < list.ops.size(); ++i)
    if (!drop[i]) list.ops[kept++] = list.ops[i];
  list.ops.resize(kept);
}

}  // namespace kovar::rt
