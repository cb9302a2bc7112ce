#include <string>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

base::Failure at(const prim::OpList& list, std::size_t op, const std::string& what) {
  return {"operation #" + std::to_string(op) + " (" + prim::textOf(list.ops[op].prim) + "): " + what};
}

}  // namespace

base::Status verify(const prim::OpList& list) {
  std::vector<bool> written(list.storages.size());
  std::vector<prim::View> views;
  for (std::size_t i = 0; i < list.ops.size(); ++i) {
    const prim::Op& op = list.ops[i];
    views.clear();
    for (const prim::Arg& a : list.argsOf(op)) {
      const prim::StorageInfo& s = list.storages[a.storage];
      views.push_back(a.view);
      if (a.view.offset < 0 || static_cast<std::size_t>(a.view.end()) * prim::sizeOf(a.view.dtype) > s.bytes)
        return at(list, i, "argument " + a.view.text() + " reaches beyond its " + std::to_string(s.bytes) + " bytes");
      if (prim::reads(a.access) && s.temporary && !written[a.storage])
        return at(list, i, "reads temporary storage that nothing has written; encode its producer first");
    }
    if (!std::holds_alternative<prim::Call>(op.prim))
      if (base::Status s = prim::validate(op.prim, views); !s.ok()) return at(list, i, s.failure().text);
    for (const prim::Arg& a : list.argsOf(op))
      if (prim::writes(a.access)) written[a.storage] = true;
  }
  return {};
}

}  // namespace kovar::rt
