#include "prim/op_list.hpp"

#include <algorithm>

namespace kovar::prim {

std::uint64_t OpList::hash() const {
  std::uint64_t h = combine(ops.size(), storages.size());
  for (const Op& op : ops) h = combine(combine(h, hashOf(op.prim)), static_cast<std::uint64_t>(op.predicates) + 1);
  for (const Arg& a : args)
    h = combine(combine(h, a.storage * 4ull + static_cast<std::uint64_t>(a.access)), hashOf(a.view));
  for (const StorageInfo& s : storages) h = combine(h, s.bytes * 4 + (s.temporary ? 2 : 0) + (s.promotable ? 1 : 0));
  for (const auto& set : predicateSets)
    for (const PredicateWord& w : set) h = combine(combine(h, w.storage), w.byteOffset);
  return h;
}

bool OpList::sameShape(const OpList& o) const {
  return ops.size() == o.ops.size() && args == o.args && storages == o.storages && predicateSets == o.predicateSets &&
         std::equal(ops.begin(), ops.end(), o.ops.begin(), [](const Op& a, const Op& b) {
           return a.predicates == b.predicates && a.argCount == b.argCount && a.prim == b.prim;
         });
}

std::string OpList::text() const {
  std::string s;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    s += '#' + std::to_string(i) + ' ' + textOf(ops[i].prim) + " (";
    for (const Arg& a : argsOf(ops[i])) {
      if (s.back() != '(') s += ", ";
      s += writes(a.access) ? (reads(a.access) ? "inout " : "out ") : "";
      s += (storages[a.storage].temporary ? "t" : "s") + std::to_string(a.storage) + ' ' + a.view.text();
    }
    s += ")\n";
  }
  return s;
}

}  // namespace kovar::prim
