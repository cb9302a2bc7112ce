#include <algorithm>
#include <string>

#include "prim/prim.hpp"

namespace kovar::prim {
namespace {

using base::Failure;
using base::Status;
using Args = std::span<const View>;

bool equalDims(const View& a, const View& b) {
  return a.rank == b.rank && std::equal(a.dims.begin(), a.dims.begin() + a.rank, b.dims.begin());
}

/// Names the arguments while it walks through them, so that every text says which one is meant.
class Checker {
 public:
  Checker(const char* family, Args args) : family_(family), args_(args) {}

  Failure fail(std::string text) const {
    return Failure{std::string("prim::validate: ") + family_ + ": " + std::move(text)};
  }

  Status count(std::size_t wanted) const {
    if (args_.size() == wanted) return {};
    return fail("given " + std::to_string(args_.size()) + " arguments, wanted " + std::to_string(wanted));
  }

  Status rank(std::size_t i, const char* name, int wanted) const {
    if (args_[i].rank == wanted) return {};
    return fail(std::string(name) + " is " + args_[i].text() + ", wanted rank " + std::to_string(wanted));
  }

  /// The dims in order; a wanted extent below 0 accepts any.
  Status dims(std::size_t i, const char* name, std::initializer_list<std::int64_t> wanted) const {
    KOVAR_TRY(rank(i, name, static_cast<int>(wanted.size())));
    int axis = 0;
    for (std::int64_t w : wanted) {
      if (w >= 0 && args_[i].dim(axis) != w)
        return fail(std::string(name) + " is " + args_[i].text() + ", wanted extent " + std::to_string(w) +
                    " on axis " + std::to_string(axis));
      ++axis;
    }
    return {};
  }

  Status sameDims(std::size_t i, const char* name, std::size_t other, const char* otherName) const {
    if (equalDims(args_[i], args_[other])) return {};
    return fail(std::string(name) + " is " + args_[i].text() + ", wanted the extents of " + otherName + " " +
                args_[other].text());
  }

  /// Each extent that of `other`, or 1.
  Status broadcastDims(std::size_t i, const char* name, std::size_t other, const char* otherName) const {
    bool fits = args_[i].rank == args_[other].rank;
    for (int a = 0; fits && a < args_[i].rank; ++a)
      fits = args_[i].dim(a) == args_[other].dim(a) || args_[i].dim(a) == 1;
    if (fits) return {};
    return fail(std::string(name) + " is " + args_[i].text() + ", wanted the extents of " + otherName + " " +
                args_[other].text() + ", or 1");
  }

  Status type(std::size_t i, const char* name, DType wanted) const {
    if (args_[i].dtype == wanted) return {};
    return fail(std::string(name) + " is " + nameOf(args_[i].dtype) + ", wanted " + nameOf(wanted));
  }

  /// A type that stands for real numbers: not the integers of masks and indices.
  Status real(std::size_t i, const char* name) const {
    if (args_[i].dtype != DType::U8 && args_[i].dtype != DType::U32) return {};
    return fail(std::string(name) + " is " + nameOf(args_[i].dtype) + ", wanted float32, float16, unorm8 or unorm16");
  }

  /// Elements of a written argument must not share memory.
  Status written(std::size_t i, const char* name) const {
    for (int a = 0; a < args_[i].rank; ++a)
      if (args_[i].dim(a) > 1 && args_[i].stride(a) == 0)
        return fail(std::string(name) + " is " + args_[i].text() + ": a written argument cannot have stride 0");
    return {};
  }

  Status window(const Window& w, const char* axis) const {
    if (w.kernel >= 1 && w.stride >= 1 && w.dilation >= 1) return {};
    return fail(std::string("window ") + axis + " has kernel " + std::to_string(w.kernel) + ", stride " +
                std::to_string(w.stride) + ", dilation " + std::to_string(w.dilation) + "; each must be at least 1");
  }

  Status views() const {
    for (std::size_t i = 0; i < args_.size(); ++i) {
      const View& v = args_[i];
      const std::string name = "argument " + std::to_string(i);
      if (v.rank < 1 || v.rank > kMaxRank)
        return fail(name + " has rank " + std::to_string(v.rank) + ", wanted 1 to 8");
      if (v.offset < 0) return fail(name + " has a negative offset");
      for (int a = 0; a < v.rank; ++a) {
        if (v.dim(a) < 1) return fail(name + " is " + v.text() + ": every extent must be at least 1");
        if (v.stride(a) < 0) return fail(name + " is " + v.text() + ": strides cannot be negative");
      }
      // The index of the last element must not wrap around.
      std::int64_t last = v.offset;
      for (int a = 0; a < v.rank; ++a) {
        std::int64_t span = 0;
        if (__builtin_mul_overflow(v.dim(a) - 1, v.stride(a), &span) || __builtin_add_overflow(last, span, &last) ||
            last > (std::int64_t{1} << 60))
          return fail(name + " is " + v.text() + ": it reaches beyond any memory");
      }
    }
    return {};
  }

  /// Checks `program`, whose arguments follow the first `own`; `dst` is the index of the argument that has the result's
  /// extents. Returns the number of arguments that the program names.
  base::Result<std::size_t> program(const Program& p, std::size_t own, std::size_t dst, bool postOp) const {
    std::size_t named = 0;
    unsigned defined = postOp ? 1u : 0u;
    if (p.count > kMaxSteps) return fail("the program has " + std::to_string(p.count) + " steps, at most 24 fit");
    for (std::size_t i = 0; i < p.count; ++i) {
      const EwStep& s = p.steps[i];
      const std::string where = "step " + std::to_string(i) + " of the program";
      if (s.op > EwOp::Store) return fail(where + " has no known operation");
      if (s.op == EwOp::Load || s.op == EwOp::Store) {
        named = std::max<std::size_t>(named, s.arg + 1u);
        if (own + s.arg >= args_.size())
          return fail(where + " names argument " + std::to_string(s.arg) + ", which is missing");
        const std::string name = "argument " + std::to_string(own + s.arg);
        if (own + s.arg != dst) KOVAR_TRY(sameDims(own + s.arg, name.c_str(), dst, "the result"));
        if (s.op == EwOp::Store) KOVAR_TRY(written(own + s.arg, name.c_str()));
      }
      const auto used = [&](std::uint8_t r) { return r < kMaxRegisters && (defined >> r & 1u) != 0; };
      const bool readsA = s.op != EwOp::Load && s.op != EwOp::Const;
      const bool readsB = s.op >= EwOp::Add && s.op <= EwOp::Max;
      if ((readsA && !used(s.a)) || (readsB && !used(s.b)) || (s.op == EwOp::NeuronGrad && !used(s.c)))
        return fail(where + " reads a register that no step before it has set");
      if (s.op != EwOp::Store) {
        if (s.dst >= kMaxRegisters) return fail(where + " writes register " + std::to_string(s.dst) + ", there are 8");
        defined |= 1u << s.dst;
      }
    }
    return named;
  }

  Status countWithProgram(const Program& p, std::size_t own, std::size_t dst) const {
    if (args_.size() < own) return count(own);
    KOVAR_TRY_ASSIGN(const std::size_t named, program(p, own, dst, true));
    return count(own + named);
  }

  const View& operator[](std::size_t i) const { return args_[i]; }
  std::size_t size() const { return args_.size(); }

 private:
  const char* family_;
  Args args_;
};

Status check(const Conv& d, const Checker& c) {
  KOVAR_TRY(c.window(d.y, "y"));
  KOVAR_TRY(c.window(d.x, "x"));
  if (d.groups < 1) return c.fail("groups is " + std::to_string(d.groups) + ", wanted at least 1");
  const bool forward = d.direction == Direction::Forward;
  if (d.accumulate && d.direction != Direction::Weights) return c.fail("accumulate is for weight gradients only");
  if (d.bias && d.direction == Direction::Data) return c.fail("the data gradient has no bias");
  const std::size_t own = 3 + (d.bias ? 1u : 0u);
  std::size_t src = 0, dst = own - 1, weights = 1;
  const char *srcName = "src", *dstName = "dst", *weightsName = "weights";
  if (d.direction == Direction::Data) dst = 0, src = 2, dstName = "diffDst", srcName = "diffSrc";
  if (d.direction == Direction::Weights) dst = 1, weights = 2, dstName = "diffDst", weightsName = "diffWeights";
  if (d.direction == Direction::Weights) {
    KOVAR_TRY(c.count(own));
    if (!d.post.empty()) return c.fail("weight gradients take no post-ops");
  } else {
    KOVAR_TRY(c.countWithProgram(d.post, own, own - 1));
  }
  KOVAR_TRY(c.rank(src, srcName, 4));
  KOVAR_TRY(c.dims(dst, dstName, {c[src].dim(0), -1, -1, -1}));
  const std::int64_t inputs = c[src].dim(3), outputs = c[dst].dim(3);
  if (inputs % d.groups != 0 || outputs % d.groups != 0)
    return c.fail("groups = " + std::to_string(d.groups) + " must divide the channels of " + srcName + " " +
                  c[src].text() + " and " + dstName + " " + c[dst].text());
  KOVAR_TRY(c.dims(weights, weightsName, {outputs, d.y.kernel, d.x.kernel, inputs / d.groups}));
  KOVAR_TRY(c.type(weights, weightsName, DType::F32));
  KOVAR_TRY(c.real(src, srcName));
  KOVAR_TRY(c.real(dst, dstName));
  if (d.bias) {
    const std::size_t bias = forward ? 2 : 3;
    KOVAR_TRY(c.dims(bias, forward ? "bias" : "diffBias", {outputs}));
    KOVAR_TRY(c.type(bias, forward ? "bias" : "diffBias", DType::F32));
    if (!forward) KOVAR_TRY(c.written(bias, "diffBias"));
  }
  if (forward) return c.written(dst, dstName);
  return d.direction == Direction::Data ? c.written(src, srcName) : c.written(weights, weightsName);
}

/// The arguments of a product's update: c, and from `values` on what the step reads and keeps.
Status checkUpdate(const Matmul& d, const Checker& c, std::size_t out, std::size_t values) {
  if (d.bias || d.accumulate || !d.post.empty()) return c.fail("an update takes no bias, accumulate or post-ops");
  if (d.step.kind > StepKind::AmsGrad) return c.fail("step is not a known optimizer");
  for (std::size_t i = out; i < values + 1 + statesOf(d.step.kind); ++i) {
    if (i > out && i < values) continue;
    const std::string name = i == out ? "c" : i == values ? "values" : "state " + std::to_string(i - values);
    KOVAR_TRY(c.sameDims(i, name.c_str(), out, "c"));
    KOVAR_TRY(c.type(i, name.c_str(), DType::F32));
    if (c[i].dim(1) > 1 && c[i].stride(1) != 1)
      return c.fail(name + " is " + c[i].text() + ": an update wants columns beside each other");
    if (i > values) KOVAR_TRY(c.written(i, name.c_str()));
  }
  return {};
}

Status check(const Matmul& d, const Checker& c) {
  const std::size_t out = 2 + (d.bias ? 1u : 0u), values = out + 1 + (d.rowSum ? 1u : 0u);
  const std::size_t own = values + (d.update ? 1 + statesOf(d.step.kind) : 0);
  KOVAR_TRY(c.countWithProgram(d.post, own, out));
  KOVAR_TRY(c.rank(0, "a", 2));
  const std::int64_t m = c[0].dim(d.transposeA ? 1 : 0), k = c[0].dim(d.transposeA ? 0 : 1);
  KOVAR_TRY(d.transposeB ? c.dims(1, "b", {-1, k}) : c.dims(1, "b", {k, -1}));
  const std::int64_t n = c[1].dim(d.transposeB ? 0 : 1);
  KOVAR_TRY(c.dims(out, "c", {m, n}));
  for (std::size_t i : {std::size_t{0}, std::size_t{1}, out}) KOVAR_TRY(c.real(i, i == 0 ? "a" : i == 1 ? "b" : "c"));
  if (d.bias) {
    KOVAR_TRY(c.dims(2, "bias", {n}));
    KOVAR_TRY(c.type(2, "bias", DType::F32));
  }
  if (d.rowSum) {
    KOVAR_TRY(c.dims(out + 1, "d", {m}));
    KOVAR_TRY(c.real(out + 1, "d"));
    KOVAR_TRY(c.written(out + 1, "d"));
  }
  if (d.update) KOVAR_TRY(checkUpdate(d, c, out, values));
  return c.written(out, "c");
}

Status check(const Pool& d, const Checker& c) {
  KOVAR_TRY(c.window(d.y, "y"));
  KOVAR_TRY(c.window(d.x, "x"));
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  if (d.kind > PoolKind::L2) return c.fail("kind is not one of max, average, L2");
  if (d.zeroPadY < 0 || d.zeroPadX < 0) return c.fail("zero padding cannot be negative");
  if (d.direction == Direction::Forward) {
    KOVAR_TRY(c.countWithProgram(d.post, 2, 1));
    KOVAR_TRY(c.rank(0, "src", 4));
    KOVAR_TRY(c.dims(1, "dst", {c[0].dim(0), -1, -1, c[0].dim(3)}));
    KOVAR_TRY(c.real(0, "src"));
    KOVAR_TRY(c.real(1, "dst"));
    return c.written(1, "dst");
  }
  if (!d.post.empty()) return c.fail("the gradient takes no post-ops");
  KOVAR_TRY(c.count(3));
  KOVAR_TRY(c.rank(1, "src", 4));
  KOVAR_TRY(c.dims(0, "diffDst", {c[1].dim(0), -1, -1, c[1].dim(3)}));
  KOVAR_TRY(c.sameDims(2, "diffSrc", 1, "src"));
  for (std::size_t i = 0; i < 3; ++i) KOVAR_TRY(c.real(i, i == 0 ? "diffDst" : i == 1 ? "src" : "diffSrc"));
  return c.written(2, "diffSrc");
}

Status check(const Softmax& d, const Checker& c) {
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  const bool forward = d.direction == Direction::Forward;
  KOVAR_TRY(c.count(forward ? 2 : 3));
  const char* forwardNames[] = {"src", "dst"};
  const char* dataNames[] = {"diffDst", "y", "diffSrc"};
  const char** names = forward ? forwardNames : dataNames;
  for (std::size_t i = 0; i < c.size(); ++i) {
    KOVAR_TRY(c.sameDims(i, names[i], 0, names[0]));
    KOVAR_TRY(c.real(i, names[i]));
  }
  return c.written(c.size() - 1, names[c.size() - 1]);
}

Status check(const Reduce& d, const Checker& c) {
  KOVAR_TRY(c.count(2));
  if (d.kind > ReduceKind::ArgMax) return c.fail("kind is not a known reduction");
  if (d.accumulate && d.kind != ReduceKind::Sum) return c.fail("only sums can be accumulated");
  KOVAR_TRY(c.broadcastDims(1, "dst", 0, "src"));
  return c.written(1, "dst");
}

Status check(const Elementwise& d, const Checker& c) {
  if (c.size() == 0) return c.fail("given no arguments");
  KOVAR_TRY_ASSIGN(const std::size_t named, c.program(d.program, 0, 0, false));
  const auto& steps = d.program.steps;
  if (std::none_of(steps.begin(), steps.begin() + d.program.count, [](const EwStep& s) { return s.op == EwOp::Store; }))
    return c.fail("the program stores nothing");
  return c.count(named);
}

Status check(const Copy& d, const Checker& c) {
  KOVAR_TRY(c.count(2));
  const bool forward = d.direction == Direction::Forward;
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  const char *from = forward ? "src" : "diffDst", *to = forward ? "dst" : "diffSrc";
  if (c[0].rank != c[1].rank)
    return c.fail(std::string(to) + " is " + c[1].text() + ", wanted the rank of " + from + " " + c[0].text());
  const bool plain =
      equalDims(c[0], c[1]) && std::all_of(d.shift.begin(), d.shift.end(), [](auto s) { return s == 0; });
  if (!plain && c[0].rank > 4) return c.fail(std::string("a shifted copy of ") + c[0].text() + ": at most rank 4");
  if (d.edge > Edge::Constant) return c.fail("edge is not a known mode");
  if (d.accumulate && !(plain && forward)) return c.fail("accumulate is for plain forward copies only");
  return c.written(1, to);
}

Status check(const Resample& d, const Checker& c) {
  KOVAR_TRY(c.count(2));
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  if (d.kind > ResampleKind::Bilinear) return c.fail("kind is not one of nearest, bilinear");
  const bool forward = d.direction == Direction::Forward;
  const char *from = forward ? "src" : "diffDst", *to = forward ? "dst" : "diffSrc";
  KOVAR_TRY(c.rank(0, from, 4));
  KOVAR_TRY(c.dims(1, to, {c[0].dim(0), -1, -1, c[0].dim(3)}));
  const View& reads = c[forward ? 1 : 0];
  for (int a = 1; a < 3; ++a) {
    const maths::Sampling& s = a == 1 ? d.y : d.x;
    if (s.numerator < 0 || s.denominator < 1)
      return c.fail("the coordinates of axis " + std::to_string(a) + " step by " + std::to_string(s.numerator) + "/" +
                    std::to_string(s.denominator) + "; wanted at least 0, over at least 1");
    constexpr std::int64_t kMost = std::int64_t{1} << 31;
    if (c[0].dim(a) >= kMost || c[1].dim(a) >= kMost || s.numerator >= kMost || s.denominator >= kMost ||
        reads.dim(a) + std::abs(std::int64_t{s.first}) >= kMost)
      return c.fail("extents and steps must be below 2^31");
  }
  KOVAR_TRY(c.real(0, from));
  KOVAR_TRY(c.real(1, to));
  return c.written(1, to);
}

Status check(const Sample& d, const Checker& c) {
  KOVAR_TRY(c.count(4));
  if (d.edge > maths::SampleEdge::Inside) return c.fail("edge is not a known mode");
  KOVAR_TRY(c.rank(0, "src", 4));
  KOVAR_TRY(c.rank(3, "dst", 4));
  KOVAR_TRY(c.dims(0, "src", {c[3].dim(0), -1, -1, c[3].dim(3)}));
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    KOVAR_TRY(c.dims(i, i == 1 ? "y" : "x", {c[3].dim(0), c[3].dim(1), c[3].dim(2), 1}));
    KOVAR_TRY(c.real(i, i == 1 ? "y" : "x"));
  }
  // Positions stay whole numbers in float.
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  if (c[0].dim(1) > kMost || c[0].dim(2) > kMost)
    return c.fail("src is " + c[0].text() + ", wanted extents up to 2^24");
  KOVAR_TRY(c.real(0, "src"));
  KOVAR_TRY(c.real(3, "dst"));
  return c.written(3, "dst");
}

Status check(const Fill&, const Checker& c) {
  KOVAR_TRY(c.count(1));
  return c.written(0, "dst");
}

Status check(const Random& d, const Checker& c) {
  if (d.kind > RandomKind::Normal) return c.fail("kind is not one of dropout, uniform, normal");
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  if (d.kind != RandomKind::Dropout) {
    if (d.direction != Direction::Forward) return c.fail("only dropout has a gradient");
    KOVAR_TRY(c.count(1));
    KOVAR_TRY(c.rank(0, "dst", 2));
    KOVAR_TRY(c.real(0, "dst"));
    return c.written(0, "dst");
  }
  if (!(d.keep > 0.f && d.keep <= 1.f))
    return c.fail("keep is " + std::to_string(d.keep) + ", wanted above 0 and at most 1");
  const bool forward = d.direction == Direction::Forward;
  KOVAR_TRY(c.count(forward ? 2u + (d.writeMask ? 1u : 0u) : 3u));
  const std::size_t dst = forward ? 1 : 2, mask = forward ? 2 : 1;
  KOVAR_TRY(c.rank(0, forward ? "src" : "diffDst", 4));
  KOVAR_TRY(c.sameDims(dst, forward ? "dst" : "diffSrc", 0, forward ? "src" : "diffDst"));
  KOVAR_TRY(c.real(0, forward ? "src" : "diffDst"));
  KOVAR_TRY(c.real(dst, forward ? "dst" : "diffSrc"));
  if (mask < c.size()) {
    KOVAR_TRY(c.dims(mask, "mask", {c[0].dim(0), -1, -1, -1}));
    KOVAR_TRY(c.type(mask, "mask", DType::U8));
    if (forward) KOVAR_TRY(c.written(mask, "mask"));
  }
  return c.written(dst, forward ? "dst" : "diffSrc");
}

Status check(const Loss& d, const Checker& c) {
  const std::size_t wanted =
      2u + (d.weights ? 1u : 0u) + (d.writeLoss ? 1u : 0u) + (d.writeGradient ? 1u : 0u) + (d.incoming ? 1u : 0u);
  KOVAR_TRY(c.count(wanted));
  if (d.reduction > LossReduction::SumByNonZeroWeights) return c.fail("reduction is not a known one");
  KOVAR_TRY(c.rank(0, "src", 4));
  KOVAR_TRY(c.sameDims(1, "labels", 0, "src"));
  const auto isLoss = [&](std::size_t i, const char* name) -> Status {
    if (d.reduction == LossReduction::None) return c.sameDims(i, name, 0, "src");
    return c.dims(i, name, {d.acrossBatch && c[i].dim(0) == 1 ? 1 : c[0].dim(0), 1, 1, 1});
  };
  std::size_t i = 2;
  if (d.weights) KOVAR_TRY(c.broadcastDims(i++, "weights", 0, "src"));
  if (d.writeLoss) {
    KOVAR_TRY(isLoss(i, "loss"));
    KOVAR_TRY(c.written(i++, "loss"));
  }
  if (d.writeGradient) {
    KOVAR_TRY(c.sameDims(i, "diffSrc", 0, "src"));
    KOVAR_TRY(c.written(i++, "diffSrc"));
  }
  if (d.incoming) KOVAR_TRY(isLoss(i, "incoming"));
  return {};
}

Status check(const Yolo& d, const Checker& c) {
  KOVAR_TRY(c.count(d.weights ? 6 : 5));
  if (d.reduction > LossReduction::SumByNonZeroWeights) return c.fail("reduction is not a known one");
  KOVAR_TRY(c.rank(0, "src", 4));
  const std::int64_t channels = c[0].dim(3);
  if (d.anchors < 1 || channels % d.anchors != 0 || channels / d.anchors < 6)
    return c.fail("src is " + c[0].text() + ": " + std::to_string(channels) + " channels do not give " +
                  std::to_string(d.anchors) + " anchors of at least 6 channels each");
  KOVAR_TRY(c.sameDims(1, "labels", 0, "src"));
  std::size_t i = 2;
  if (d.weights) KOVAR_TRY(c.broadcastDims(i++, "weights", 0, "src"));
  if (d.reduction == LossReduction::None)
    KOVAR_TRY(c.sameDims(i, "loss", 0, "src"));
  else
    KOVAR_TRY(c.dims(i, "loss", {d.acrossBatch && c[i].dim(0) == 1 ? 1 : c[0].dim(0), 1, 1, 1}));
  KOVAR_TRY(c.written(i, "loss"));
  KOVAR_TRY(c.sameDims(i + 1, "diffSrc", 0, "src"));
  KOVAR_TRY(c.written(i + 1, "diffSrc"));
  KOVAR_TRY(c.dims(i + 2, "anchors", {d.anchors, 2}));
  return c.type(i + 2, "anchors", DType::F32);
}

Status check(const Step& d, const Checker& c) {
  if (d.kind > StepKind::AmsGrad) return c.fail("kind is not a known optimizer");
  const std::size_t wanted = 3 + statesOf(d.kind);
  if (d.regularization > 2)
    return c.fail("regularization is " + std::to_string(d.regularization) + ", wanted 0, 1 or 2");
  KOVAR_TRY(c.count(wanted));
  if (c[0].rank > 2) return c.fail("gradient is " + c[0].text() + ", wanted rank 1 or 2");
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::string name = i == 0 ? "gradient" : i + 1 == wanted ? "result" : "argument " + std::to_string(i);
    KOVAR_TRY(c.sameDims(i, name.c_str(), 0, "gradient"));
    KOVAR_TRY(c.real(i, name.c_str()));
    if (i > 1) KOVAR_TRY(c.written(i, name.c_str()));
  }
  return {};
}

Status check(const Norm& d, const Checker& c) {
  if (d.task > NormTask::Gradient) return c.fail("task is not a known one");
  if (d.accumulate && d.task != NormTask::Statistics && d.task != NormTask::Sums)
    return c.fail("only statistics and sums can be accumulated");
  if (!(d.epsilon >= 0.f)) return c.fail("epsilon is " + std::to_string(d.epsilon) + ", wanted at least 0");
  const bool backward = d.task >= NormTask::Sums;
  const bool applies = d.task == NormTask::Apply || d.task == NormTask::Normalize;
  const std::size_t own = d.task == NormTask::Statistics                             ? 3
                          : d.task == NormTask::Data || d.task == NormTask::Gradient ? 8
                                                                                     : 6;
  if (!applies && !d.post.empty()) return c.fail("only what writes dst takes post-ops");
  KOVAR_TRY(applies ? c.countWithProgram(d.post, own, 5) : c.count(own));
  const std::size_t src = backward ? 1 : 0;
  KOVAR_TRY(c.rank(src, "src", 4));
  if (backward) KOVAR_TRY(c.sameDims(0, "diffDst", src, "src"));
  const std::int64_t channels = c[src].dim(3);
  KOVAR_TRY(c.dims(src + 1, "mean", {-1, 1, 1, -1}));
  const std::int64_t regions = c[src + 1].dim(0), groups = c[src + 1].dim(3);
  if (regions != 1 && regions != c[src].dim(0))
    return c.fail("mean is " + c[src + 1].text() + ", wanted extent 1 or that of src on axis 0");
  if (channels % groups != 0)
    return c.fail("mean is " + c[src + 1].text() + ": its last extent must divide the channels of src " +
                  c[src].text());
  KOVAR_TRY(c.sameDims(src + 2, "variance", src + 1, "mean"));
  const auto vector = [&](std::size_t i, const char* name, std::int64_t first, bool written) -> Status {
    KOVAR_TRY(c.dims(i, name, {first, 1, 1, channels}));
    KOVAR_TRY(c.type(i, name, DType::F32));
    return written ? c.written(i, name) : Status{};
  };
  for (std::size_t i = src + 1; i < src + 3; ++i) {
    KOVAR_TRY(c.type(i, i == src + 1 ? "mean" : "variance", DType::F32));
    if (d.task == NormTask::Statistics || d.task == NormTask::Normalize)
      KOVAR_TRY(c.written(i, i == src + 1 ? "mean" : "variance"));
  }
  KOVAR_TRY(c.real(src, "src"));
  if (backward) KOVAR_TRY(c.real(0, "diffDst"));
  if (applies) {
    KOVAR_TRY(vector(3, "gamma", 1, false));
    KOVAR_TRY(vector(4, "beta", 1, false));
    KOVAR_TRY(c.sameDims(5, "dst", 0, "src"));
    KOVAR_TRY(c.real(5, "dst"));
    return c.written(5, "dst");
  }
  if (!backward) return {};
  const bool sums = d.task != NormTask::Data;
  const std::size_t gamma = d.task == NormTask::Sums ? 3 : 4;  // diffGamma and diffBeta follow it
  if (gamma == 4) KOVAR_TRY(vector(4, "gamma", 1, false));
  KOVAR_TRY(vector(gamma + 1, "diffGamma", regions, sums));
  KOVAR_TRY(vector(gamma + 2, "diffBeta", regions, sums));
  if (gamma == 3) return {};
  KOVAR_TRY(c.sameDims(7, "diffSrc", 1, "src"));
  KOVAR_TRY(c.real(7, "diffSrc"));
  return c.written(7, "diffSrc");
}

Status check(const LocalNorm& d, const Checker& c) {
  if (d.direction == Direction::Weights) return c.fail("there is no weight gradient");
  if (d.kind > LocalNormKind::Contrast) return c.fail("kind is not one of cross-channel, spatial, contrast");
  if (d.channels < 1) return c.fail("channels is " + std::to_string(d.channels) + ", wanted at least 1");
  KOVAR_TRY(c.window(d.y, "y"));
  KOVAR_TRY(c.window(d.x, "x"));
  if (d.y.stride != 1 || d.x.stride != 1 || d.y.dilation != 1 || d.x.dilation != 1)
    return c.fail("windows have strides and dilations of 1");
  const bool forward = d.direction == Direction::Forward;
  KOVAR_TRY(c.count(forward ? 2 : 3));
  const std::size_t src = forward ? 0 : 1, windows = forward ? 1 : 0;
  const char* name = forward ? "dst" : "diffDst";
  KOVAR_TRY(c.rank(src, "src", 4));
  KOVAR_TRY(c.dims(windows, name, {c[src].dim(0), -1, -1, c[src].dim(3)}));
  if (d.kind == LocalNormKind::CrossChannel) {
    if (d.y != Window{} || d.x != Window{}) return c.fail("a cross-channel normalization has windows of one tap");
    KOVAR_TRY(c.sameDims(windows, name, src, "src"));
  }
  KOVAR_TRY(c.real(src, "src"));
  KOVAR_TRY(c.real(windows, name));
  if (forward) return c.written(1, "dst");
  KOVAR_TRY(c.sameDims(2, "diffSrc", 1, "src"));
  KOVAR_TRY(c.real(2, "diffSrc"));
  return c.written(2, "diffSrc");
}

Status check(const BinaryConv& d, const Checker& c) {
  if (d.kind > BinaryKind::And) return c.fail("kind is not one of xnor, and");
  KOVAR_TRY(c.window(d.y, "y"));
  KOVAR_TRY(c.window(d.x, "x"));
  const std::size_t dst = d.transform ? 4 : 2;
  KOVAR_TRY(c.countWithProgram(d.post, dst + 1, dst));
  KOVAR_TRY(c.rank(0, "src", 4));
  KOVAR_TRY(c.dims(dst, "dst", {c[0].dim(0), -1, -1, -1}));
  const std::int64_t inputs = c[0].dim(3);
  KOVAR_TRY(c.dims(1, "weights", {c[dst].dim(3), d.y.kernel, d.x.kernel, (inputs + 31) / 32}));
  KOVAR_TRY(c.type(1, "weights", DType::U32));
  for (std::size_t i = 2; i < dst; ++i) {
    KOVAR_TRY(c.dims(i, i == 2 ? "inputBias" : "inputScale", {inputs}));
    KOVAR_TRY(c.type(i, i == 2 ? "inputBias" : "inputScale", DType::F32));
  }
  KOVAR_TRY(c.type(0, "src", DType::F32));
  KOVAR_TRY(c.type(dst, "dst", DType::F32));
  return c.written(dst, "dst");
}

Status check(const Call&, const Checker&) { return {}; }

}  // namespace

Status validate(const Prim& prim, std::span<const View> args) {
  const Checker checker(familyOf(prim), args);
  KOVAR_TRY(checker.views());
  return std::visit([&](const auto& desc) { return check(desc, checker); }, prim);
}

}  // namespace kovar::prim
