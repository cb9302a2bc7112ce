#include "runtime/passes/passes.hpp"

namespace kovar::rt {

void promoteTemporaries(prim::OpList& list) {
  std::vector<bool> promote(list.storages.size());
  for (std::size_t i = 0; i < promote.size(); ++i)
    promote[i] = list.storages[i].temporary && list.storages[i].promotable;
  for (const prim::Op& op : list.ops)
    for (const prim::Arg& a : list.argsOf(op))
      // A caller's function was promised float16, and so was anyone who looks at the bits.
      if (a.view.dtype != prim::DType::F16 || std::holds_alternative<prim::Call>(op.prim)) promote[a.storage] = false;
  for (prim::Arg& a : list.args)
    if (promote[a.storage]) a.view.dtype = prim::DType::F32;
  for (std::size_t i = 0; i < promote.size(); ++i)
    if (promote[i])
      list.storages[i].bytes = list.storages[i].bytes / prim::sizeOf(prim::DType::F16) * prim::sizeOf(prim::DType::F32);
}

}  // namespace kovar::rt
