#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

using prim::EwOp;

constexpr std::uint8_t kReLU = 1;  // as documented for the neuron types

/// An element-wise operation that is one ReLU with a = 0, or its gradient, and nothing else.
struct Rectifier {
  std::optional<prim::Arg> source, incoming, result;
};

std::optional<Rectifier> rectifierOf(const prim::OpList& list, const prim::Op& op, EwOp wanted) {
  const auto* ew = std::get_if<prim::Elementwise>(&op.prim);
  if (!ew || op.predicates >= 0) return std::nullopt;
  const prim::Program& p = ew->program;
  const auto args = list.argsOf(op);
  std::array<std::optional<prim::Arg>, prim::kMaxRegisters> registers;
  for (std::size_t i = 0; i + 2 < p.count; ++i) {
    if (p.steps[i].op != EwOp::Load) return std::nullopt;
    registers[p.steps[i].dst] = args[p.steps[i].arg];
  }
  if (p.count < 3) return std::nullopt;
  const prim::EwStep &neuron = p.steps[p.count - 2u], &store = p.steps[p.count - 1u];
  if (neuron.op != wanted || neuron.code != kReLU || neuron.p[0] != 0.f) return std::nullopt;
  if (store.op != EwOp::Store || store.a != neuron.dst) return std::nullopt;
  Rectifier r{registers[neuron.a], registers[neuron.c], args[store.arg]};
  if (!r.source || (wanted == EwOp::NeuronGrad && !r.incoming)) return std::nullopt;
  return r;
}

bool touches(const prim::OpList& list, const prim::Op& op, std::uint32_t storage, bool writesOnly) {
  for (const prim::Arg& a : list.argsOf(op))
    if (a.storage == storage && (!writesOnly || prim::writes(a.access))) return true;
  return false;
}

/// The one operation after `from` that touches a temporary that `from` is the first to touch, or none.
std::optional<std::size_t> onlyReader(const prim::OpList& list, std::size_t from, const prim::Arg& temporary) {
  if (!list.storages[temporary.storage].temporary) return std::nullopt;
  std::optional<std::size_t> reader;
  for (std::size_t i = 0; i < list.ops.size(); ++i) {
    if (i == from || !touches(list, list.ops[i], temporary.storage, false)) continue;
    if (i < from || reader) return std::nullopt;
    reader = i;
  }
  return reader;
}

/// A pooling that reads the rectified image, with the rectifier's gradient behind it where it is a gradient.
struct Pooling {
  std::size_t op = 0, gradient = 0;
  bool backward = false;
  prim::Arg result;  // of the gradient
};

class Rectify {
 public:
  explicit Rectify(prim::OpList& list) : list_(list), drop_(list.ops.size()) {}

  void run() {
    for (std::size_t i = 0; i < list_.ops.size(); ++i) {
      const auto neuron = rectifierOf(list_, list_.ops[i], EwOp::Neuron);
      if (neuron) apply(i, *neuron);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < list_.ops.size(); ++i)
      if (!drop_[i]) list_.ops[kept++] = list_.ops[i];
    list_.ops.resize(kept);
  }

 private:
  void apply(std::size_t at, const Rectifier& neuron) {
    const prim::Arg &image = *neuron.result, &source = *neuron.source;
    if (!list_.storages[image.storage].temporary || image.storage == source.storage) return;
    std::vector<Pooling> poolings;
    std::size_t last = at;
    bool backward = false;
    for (std::size_t i = 0; i < list_.ops.size(); ++i) {
      if (i == at || !touches(list_, list_.ops[i], image.storage, false)) continue;
      const auto pooling = i > at ? poolingOf(i, neuron) : std::nullopt;
      if (!pooling) return;
      backward = backward || pooling->backward;
      last = std::max(last, pooling->op);
      poolings.push_back(*pooling);
    }
    // Where no gradient needs the source, the neuron is better off with whatever makes the source.
    if (!backward) return;
    for (std::size_t i = at + 1; i <= last; ++i)
      if (touches(list_, list_.ops[i], source.storage, true)) return;
    for (const Pooling& p : poolings) {
      prim::Op& op = list_.ops[p.op];
      std::get<prim::Pool>(op.prim).rectified = true;
      auto args = list_.argsOf(op);
      args[p.backward ? 1 : 0] = source;
      if (!p.backward) continue;
      args[2] = p.result;
      remove(p.gradient);
    }
    remove(at);
  }

  std::optional<Pooling> poolingOf(std::size_t i, const Rectifier& neuron) const {
    const prim::Op& op = list_.ops[i];
    const auto* pool = std::get_if<prim::Pool>(&op.prim);
    const prim::Arg &image = *neuron.result, &source = *neuron.source;
    if (!pool || pool->rectified || op.predicates >= 0) return std::nullopt;
    // What the pooling reads as floats must be what the neuron made of the source as floats.
    if (image.view.dtype != prim::DType::F32 || source.view.dims != image.view.dims) return std::nullopt;
    Pooling p{i, 0, pool->direction == prim::Direction::Data, {}};
    const auto args = list_.argsOf(op);
    for (std::size_t k = 0; k < args.size(); ++k) {
      const bool isSource = k == (p.backward ? 1u : 0u);
      if ((args[k].storage == image.storage) != isSource) return std::nullopt;
      if (isSource && !(args[k].view == image.view)) return std::nullopt;
      if (prim::writes(args[k].access) && args[k].storage == source.storage) return std::nullopt;
    }
    if (!p.backward) return p;
    const prim::Arg& pooled = args[2];
    const auto reader = onlyReader(list_, i, pooled);
    if (!reader) return std::nullopt;
    const auto gradient = rectifierOf(list_, list_.ops[*reader], EwOp::NeuronGrad);
    if (!gradient || gradient->incoming->storage != pooled.storage || !(gradient->incoming->view == pooled.view) ||
        pooled.view.dtype != prim::DType::F32)
      return std::nullopt;
    if (gradient->source->storage != source.storage || !(gradient->source->view == source.view)) return std::nullopt;
    p.gradient = *reader;
    p.result = *gradient->result;
    // The result is written earlier than before: nobody may look at it, or change what the gradient reads, in between.
    for (std::size_t k = i; k < *reader; ++k)
      if (touches(list_, list_.ops[k], p.result.storage, false)) return std::nullopt;
    for (std::size_t k = i; k <= *reader; ++k)
      if (touches(list_, list_.ops[k], source.storage, true)) return std::nullopt;
    return p;
  }

  /// Nothing is left of an operation but its place, until the end.
  void remove(std::size_t op) {
    list_.ops[op].argCount = 0;
    drop_[op] = true;
  }

  prim::OpList& list_;
  std::vector<bool> drop_;
};

}  // namespace

void rectifyPools(prim::OpList& list) { Rectify(list).run(); }

}  // namespace kovar::rt
