#include <algorithm>
#include <optional>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

prim::Program* postOf(prim::Prim& p) {
  if (auto* c = std::get_if<prim::Conv>(&p))
    return c->direction == prim::Direction::Weights || c->accumulate ? nullptr : &c->post;
  if (auto* m = std::get_if<prim::Matmul>(&p)) return m->accumulate || m->rowSum ? nullptr : &m->post;
  if (auto* l = std::get_if<prim::Pool>(&p)) return l->direction == prim::Direction::Forward ? &l->post : nullptr;
  if (auto* n = std::get_if<prim::Norm>(&p))
    return n->task == prim::NormTask::Apply || n->task == prim::NormTask::Normalize ? &n->post : nullptr;
  return nullptr;
}

/// Which argument of a producer is its destination.
std::uint32_t destinationOf(const prim::Prim& p) {
  if (const auto* c = std::get_if<prim::Conv>(&p))
    return c->direction == prim::Direction::Data ? 2 : 2 + (c->bias ? 1 : 0);
  if (const auto* m = std::get_if<prim::Matmul>(&p)) return 2 + (m->bias ? 1 : 0);
  if (std::holds_alternative<prim::Norm>(p)) return 5;
  return 1;
}

/// The same elements in the same order, whatever the shape: a product's [n, c] and an image's [n, 1, 1, c].
bool sameElements(const prim::View& a, const prim::View& b) {
  if (a.dtype != b.dtype || a.offset != b.offset) return false;
  const auto squeeze = [](const prim::View& v) {
    std::vector<std::pair<std::int64_t, std::int64_t>> d;
    for (int i = 0; i < v.rank; ++i)
      if (v.dim(i) != 1) d.emplace_back(v.dim(i), v.stride(i));
    return d;
  };
  return squeeze(a) == squeeze(b);
}

class Fuser {
 public:
  explicit Fuser(prim::OpList& list) : list_(list), drop_(list.ops.size()) {}

  void run() {
    for (std::size_t i = 0; i < list_.ops.size(); ++i)
      if (!drop_[i] && postOf(list_.ops[i].prim)) {
        while (extend(i)) {
        }
      }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < list_.ops.size(); ++i)
      if (!drop_[i]) list_.ops[kept++] = list_.ops[i];
    list_.ops.resize(kept);
  }

 private:
  bool untouchedBetween(std::size_t producer, std::size_t consumer, std::uint32_t storage, bool writesOnly) const {
    for (std::size_t j = producer + 1; j < consumer; ++j) {
      if (drop_[j]) continue;
      for (const prim::Arg& a : list_.argsOf(list_.ops[j]))
        if (a.storage == storage && (!writesOnly || prim::writes(a.access))) return false;
    }
    return true;
  }

  /// Appends the one element-wise reader of the producer's temporary result, if that is safe.
  bool extend(std::size_t producer) {
    prim::Op& op = list_.ops[producer];
    const std::uint32_t dstIndex = destinationOf(op.prim);
    const prim::Arg dst = list_.args[op.firstArg + dstIndex];
    if (!list_.storages[dst.storage].temporary || op.predicates >= 0) return false;

    std::optional<std::size_t> reader;
    for (std::size_t j = producer + 1; j < list_.ops.size(); ++j) {
      if (drop_[j]) continue;
      for (const prim::Arg& a : list_.argsOf(list_.ops[j]))
        if (a.storage == dst.storage) {
          if (reader && *reader != j) return false;  // somebody else wants the value between
          reader = j;
        }
    }
    if (!reader) return false;
    const prim::Op& next = list_.ops[*reader];
    const auto* ew = std::get_if<prim::Elementwise>(&next.prim);
    if (!ew || next.predicates >= 0) return false;
    return append(producer, *reader, ew->program, dst);
  }

  bool append(std::size_t producer, std::size_t reader, const prim::Program& program, const prim::Arg& dst) {
    const auto args = list_.argsOf(list_.ops[reader]);
    // The reader's result becomes the producer's; it must be one, hold the same elements, and nobody may touch it
    // earlier.
    std::optional<std::size_t> out;
    std::vector<std::int32_t> newIndex(args.size(), -1);
    std::vector<prim::Arg> extra;
    const prim::Program* post = postOf(list_.ops[producer].prim);
    std::size_t extraBase = 0;
    for (std::size_t s = 0; s < post->count; ++s)
      if (post->steps[s].op == prim::EwOp::Load) extraBase = std::max<std::size_t>(extraBase, post->steps[s].arg + 1u);
    for (std::size_t i = 0; i < args.size(); ++i) {
      const prim::Arg& a = args[i];
      if (prim::writes(a.access)) {
        if (out || prim::reads(a.access)) return false;
        out = i;
      } else if (a.storage == dst.storage) {
        if (!sameElements(a.view, dst.view)) return false;
      } else {
        if (a.view.rank != dst.view.rank || !untouchedBetween(producer, reader, a.storage, true)) return false;
        newIndex[i] = static_cast<std::int32_t>(extraBase + extra.size());
        extra.push_back(a);
      }
    }
    if (!out) return false;
    const prim::Arg result = args[*out];
    if (result.view.rank != dst.view.rank || result.view.dims != dst.view.dims) return false;
    if (!untouchedBetween(producer, reader, result.storage, false)) return false;
    // A fused producer must not read what it now writes.
    for (const prim::Arg& a : list_.argsOf(list_.ops[producer]))
      if (a.storage == result.storage && result.storage != dst.storage) return false;

    prim::Program joined = *post;
    for (std::size_t s = 0; s < program.count; ++s) {
      prim::EwStep step = program.steps[s];
      if (step.op == prim::EwOp::Load) {
        if (newIndex[step.arg] < 0) {
          // The value itself: it is in register 0, and must be free to stay there.
          if (step.dst != 0 && !joined.push(moveStep(step.dst))) return false;
          continue;
        }
        step.arg = static_cast<std::uint8_t>(newIndex[step.arg]);
      }
      if (step.op == prim::EwOp::Store) {
        if (s + 1 != program.count) return false;
        if (step.a != 0 && !joined.push(moveFrom(step.a))) return false;
        continue;
      }
      if (!joined.push(step)) return false;
    }
    if (!keepsValue(program, newIndex)) return false;

    prim::Op op = list_.ops[producer];
    *postOf(op.prim) = joined;
    std::vector<prim::Arg> all(list_.argsOf(list_.ops[producer]).begin(), list_.argsOf(list_.ops[producer]).end());
    prim::Arg& newDst = all[destinationOf(op.prim)];
    newDst = result;
    newDst.access = prim::Access::Write;
    all.insert(all.end(), extra.begin(), extra.end());
    op.firstArg = static_cast<std::uint32_t>(list_.args.size());
    op.argCount = static_cast<std::uint32_t>(all.size());
    list_.args.insert(list_.args.end(), all.begin(), all.end());
    list_.ops[producer] = op;
    drop_[reader] = true;
    return true;
  }

  static prim::EwStep moveStep(std::uint8_t to) {
    prim::EwStep s;
    s.op = prim::EwOp::Neuron;  // type 0: the identity, signed zeros and NaN included
    s.dst = to;
    return s;
  }
  static prim::EwStep moveFrom(std::uint8_t from) {
    prim::EwStep s = moveStep(0);
    s.a = from;
    return s;
  }

  /// Register 0 must still hold the producer's value whenever the program loads it.
  static bool keepsValue(const prim::Program& program, const std::vector<std::int32_t>& newIndex) {
    bool overwritten = false;
    for (std::size_t s = 0; s < program.count; ++s) {
      const prim::EwStep& step = program.steps[s];
      if (step.op == prim::EwOp::Store) continue;
      const bool loadsValue = step.op == prim::EwOp::Load && newIndex[step.arg] < 0;
      if (loadsValue && overwritten) return false;
      if (!loadsValue && step.dst == 0) overwritten = true;
    }
    return true;
  }

  prim::OpList& list_;
  std::vector<bool> drop_;
};

}  // namespace

void fuseElementwise(prim::OpList& list) { Fuser(list).run(); }

}  // namespace kovar::rt
