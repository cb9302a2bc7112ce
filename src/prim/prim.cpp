#include "prim/prim.hpp"

#include <bit>
#include <sstream>
#include <type_traits>

namespace kovar::prim {
namespace {

// One list of fields per primitive: hash and text are both expanded from it.
template <class F>
void fields(const Window& d, F&& f) {
  f("k", d.kernel), f("s", d.stride), f("d", d.dilation), f("p", d.pad);
}
template <class F>
void fields(const EwStep& d, F&& f) {
  f("op", d.op), f("dst", d.dst), f("a", d.a), f("b", d.b), f("c", d.c), f("arg", d.arg), f("code", d.code);
  for (float v : d.p) f("p", v);
}
template <class F>
void fields(const Conv& d, F&& f) {
  f("dir", d.direction), f("y", d.y), f("x", d.x), f("groups", d.groups), f("bias", d.bias), f("acc", d.accumulate);
  f("reduced", d.reducedPrecision), f("post", d.post);
}
template <class F>
void fields(const Matmul& d, F&& f) {
  f("ta", d.transposeA), f("tb", d.transposeB), f("bias", d.bias), f("rowSum", d.rowSum), f("acc", d.accumulate);
  f("reduced", d.reducedPrecision), f("post", d.post), f("update", d.update);
  if (d.update) f("kind", d.step.kind), f("clip", d.step.clip), f("reg", d.step.regularization);
}
template <class F>
void fields(const Pool& d, F&& f) {
  f("dir", d.direction), f("kind", d.kind), f("y", d.y), f("x", d.x), f("zeroEdge", d.zeroEdge);
  f("rectified", d.rectified), f("zeroPadY", d.zeroPadY), f("zeroPadX", d.zeroPadX), f("post", d.post);
}
template <class F>
void fields(const Softmax& d, F&& f) {
  f("dir", d.direction), f("log", d.log);
}
template <class F>
void fields(const Reduce& d, F&& f) {
  f("kind", d.kind), f("scale", d.scale), f("acc", d.accumulate);
}
template <class F>
void fields(const Elementwise& d, F&& f) {
  f("program", d.program);
}
template <class F>
void fields(const Copy& d, F&& f) {
  f("dir", d.direction);
  for (auto v : d.shift) f("shift", v);
  f("edge", d.edge), f("fill", d.fill), f("acc", d.accumulate);
}
template <class F>
void fields(const Resample& d, F&& f) {
  f("dir", d.direction), f("kind", d.kind), f("zeroEdge", d.zeroEdge);
  for (const maths::Sampling* s : {&d.y, &d.x})
    f("start", s->start), f("first", s->first), f("num", s->numerator), f("den", s->denominator);
}
template <class F>
void fields(const Fill& d, F&& f) {
  f("value", d.value);
}
template <class F>
void fields(const Random& d, F&& f) {
  f("dir", d.direction), f("kind", d.kind), f("keep", d.keep), f("writeMask", d.writeMask);
  for (auto v : d.maskStride) f("maskStride", v);
  f("maskY", d.maskOffsetY), f("maskX", d.maskOffsetX), f("min", d.minimum), f("max", d.maximum);
}
template <class F>
void fields(const Loss& d, F&& f) {
  f("type", d.type), f("reduction", d.reduction), f("acrossBatch", d.acrossBatch), f("weights", d.weights);
  f("loss", d.writeLoss), f("gradient", d.writeGradient), f("labelGradient", d.labelGradient),
      f("incoming", d.incoming);
  f("divide", d.divideGradient), f("smoothing", d.labelSmoothing), f("epsilon", d.epsilon), f("delta", d.delta);
  f("classes", d.numberOfClasses);
}
template <class F>
void fields(const YoloTerm& d, F&& f) {
  f("type", d.type), f("weight", d.weight), f("smoothing", d.labelSmoothing), f("epsilon", d.epsilon);
  f("delta", d.delta), f("classes", d.numberOfClasses);
}
template <class F>
void fields(const Yolo& d, F&& f) {
  for (const YoloTerm* term : {&d.xy, &d.wh, &d.confidence, &d.classes}) fields(*term, f);
  f("reduction", d.reduction), f("acrossBatch", d.acrossBatch), f("weights", d.weights), f("rescore", d.rescore);
  for (const float scale : {d.scaleXY, d.scaleWH, d.scaleNoObject, d.scaleObject, d.scaleClass}) f("scale", scale);
  f("present", d.minForPresence), f("absent", d.maxForAbsence), f("anchors", d.anchors);
}
template <class F>
void fields(const Step& d, F&& f) {
  f("kind", d.kind), f("clip", d.clip), f("reg", d.regularization);
}
template <class F>
void fields(const Norm& d, F&& f) {
  f("task", d.task), f("epsilon", d.epsilon), f("acc", d.accumulate), f("post", d.post);
}
template <class F>
void fields(const LocalNorm& d, F&& f) {
  f("dir", d.direction), f("kind", d.kind), f("y", d.y), f("x", d.x), f("channels", d.channels);
  f("alpha", d.alpha), f("beta", d.beta), f("delta", d.delta), f("p0", d.p0), f("pm", d.pm), f("ps", d.ps);
}
template <class F>
void fields(const Sample& d, F&& f) {
  f("edge", d.edge), f("relative", d.relative), f("startY", d.startY), f("startX", d.startX);
}
template <class F>
void fields(const BinaryConv& d, F&& f) {
  f("kind", d.kind), f("y", d.y), f("x", d.x), f("transform", d.transform), f("post", d.post);
}
template <class F>
void fields(const Call& d, F&& f) {
  f("id", d.id), f("onDevice", d.onDevice);
}

struct Hasher {
  std::uint64_t h = 0;
  template <class T>
  void operator()(const char*, const T& v) {
    if constexpr (std::is_same_v<T, float>)
      h = combine(h, std::bit_cast<std::uint32_t>(v));
    else if constexpr (std::is_same_v<T, Program>) {
      h = combine(h, v.count);
      for (std::size_t i = 0; i < v.count; ++i) fields(v.steps[i], *this);
    } else if constexpr (std::is_same_v<T, Window>)
      fields(v, *this);
    else
      h = combine(h, static_cast<std::uint64_t>(v));
  }
};

struct Printer {
  std::ostringstream out;
  template <class T>
  void operator()(const char* name, const T& v) {
    if constexpr (std::is_same_v<T, float>)
      out << ' ' << name << '=' << v;
    else if constexpr (std::is_same_v<T, Program>) {
      if (!v.empty()) out << ' ' << name << "={" << v.text() << '}';
    } else if constexpr (std::is_same_v<T, Window>)
      out << ' ' << name << '=' << v.kernel << "/s" << v.stride << "/d" << v.dilation << "/p" << v.pad;
    else if constexpr (std::is_same_v<T, bool>) {
      if (v) out << ' ' << name;
    } else
      out << ' ' << name << '=' << static_cast<long long>(v);
  }
};

const char* stepName(EwOp op) {
  static constexpr const char* kNames[] = {"load", "const", "neuron", "neuronGrad", "affine",  "add",     "sub",  "mul",
                                           "div",  "min",   "max",    "clamp",      "compare", "inRange", "store"};
  return kNames[static_cast<std::size_t>(op)];
}

}  // namespace

std::string Program::text() const {
  std::ostringstream out;
  for (std::size_t i = 0; i < count; ++i) {
    const EwStep& s = steps[i];
    if (i) out << "; ";
    out << 'r' << int(s.dst) << '=' << stepName(s.op);
    if (s.op == EwOp::Neuron || s.op == EwOp::NeuronGrad || s.op == EwOp::Compare) out << int(s.code);
    if (s.op == EwOp::Load || s.op == EwOp::Store)
      out << " arg" << int(s.arg);
    else
      out << " r" << int(s.a) << " r" << int(s.b);
  }
  return out.str();
}

const char* familyOf(const Prim& prim) {
  static constexpr const char* kNames[] = {"conv", "matmul",   "pool",      "softmax", "reduce",     "elementwise",
                                           "copy", "resample", "fill",      "random",  "loss",       "yolo",
                                           "step", "norm",     "localNorm", "sample",  "binaryConv", "call"};
  static_assert(std::size(kNames) == std::variant_size_v<Prim>);
  return kNames[prim.index()];
}

std::string textOf(const Prim& prim) {
  Printer p;
  p.out << familyOf(prim);
  std::visit([&](const auto& d) { fields(d, p); }, prim);
  return p.out.str();
}

std::uint64_t hashOf(const Prim& prim) {
  Hasher h{prim.index()};
  std::visit([&](const auto& d) { fields(d, h); }, prim);
  return h.h;
}

std::uint64_t hashOf(const View& v) {
  std::uint64_t h = combine(static_cast<std::uint64_t>(v.dtype), v.rank);
  for (int i = 0; i < v.rank; ++i)
    h = combine(combine(h, static_cast<std::uint64_t>(v.dim(i))), static_cast<std::uint64_t>(v.stride(i)));
  return combine(h, static_cast<std::uint64_t>(v.offset));
}

}  // namespace kovar::prim
