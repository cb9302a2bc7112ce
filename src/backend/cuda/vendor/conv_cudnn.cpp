// Convolutions by cuDNN's graph interface: one operation a graph, channels last, engines in the order of its
// heuristics. Bias, neuron and what else follows run in one pass of ours, so that their NaN rules are ours too.

#include <cudnn_backend.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/choices.hpp"
#include "backend/cuda/conv.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "backend/cuda/reduce.hpp"
#include "backend/cuda/vendor/library.hpp"
#include "backend/cuda/vendor/trial.hpp"
#include "backend/cuda/vendor/versions.hpp"
#include "base/log.hpp"
#include "prim/prim.hpp"

namespace kovar::cuda {
namespace {

using base::Failure;
using base::Result;
using base::Status;
using prim::Direction;
using prim::View;

/// Plans that want more are passed over: the scratch of one operation is kept by the queue.
constexpr std::int64_t kMostWorkspace = std::int64_t{1} << 30;

struct Dnn {
  decltype(cudnnCreate)* create;
  decltype(cudnnSetStream)* setStream;
  decltype(cudnnGetVersion)* version;
  decltype(cudnnGetErrorString)* errorString;
  decltype(cudnnBackendCreateDescriptor)* descriptor;
  decltype(cudnnBackendDestroyDescriptor)* destroy;
  decltype(cudnnBackendSetAttribute)* set;
  decltype(cudnnBackendGetAttribute)* get;
  decltype(cudnnBackendFinalize)* finalize;
  decltype(cudnnBackendExecute)* execute;

  static Result<Dnn> load() {
    KOVAR_TRY_ASSIGN(const Library library, Library::open({"libcudnn.so.9"}));
    Dnn d{};
    KOVAR_TRY(library.find(d.create, "cudnnCreate"));
    KOVAR_TRY(library.find(d.setStream, "cudnnSetStream"));
    KOVAR_TRY(library.find(d.version, "cudnnGetVersion"));
    KOVAR_TRY(library.find(d.errorString, "cudnnGetErrorString"));
    KOVAR_TRY(library.find(d.descriptor, "cudnnBackendCreateDescriptor"));
    KOVAR_TRY(library.find(d.destroy, "cudnnBackendDestroyDescriptor"));
    KOVAR_TRY(library.find(d.set, "cudnnBackendSetAttribute"));
    KOVAR_TRY(library.find(d.get, "cudnnBackendGetAttribute"));
    KOVAR_TRY(library.find(d.finalize, "cudnnBackendFinalize"));
    KOVAR_TRY(library.find(d.execute, "cudnnBackendExecute"));
    return d;
  }
};

/// The library, loaded once; a failure is kept and told every time.
const Result<Dnn>& dnn() {
  static const Result<Dnn> loaded = Dnn::load();
  return loaded;
}

Status done(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return {};
  return Failure{std::string("cuDNN: ") + what + ": " + (*dnn()).errorString(status)};
}

/// A handle and the lock that its use needs: one stream at a time.
struct Handle {
  cudnnHandle_t raw = nullptr;
  std::mutex mutex;
};

/// One handle a device; it lives as long as the process.
Result<Handle*> handleOf(int ordinal) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<Handle>> handles;
  std::scoped_lock lock(mutex);
  auto& handle = handles[ordinal];
  if (handle == nullptr) {
    auto fresh = std::make_unique<Handle>();
    KOVAR_TRY(done((*dnn()).create(&fresh->raw), "starting"));
    handle = std::move(fresh);
  }
  return handle.get();
}

/// One descriptor of the library. The first error is kept; later calls do nothing.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) { note((*dnn()).descriptor(type, &raw_), "a descriptor"); }
  ~Descriptor() {
    if (raw_ != nullptr) (*dnn()).destroy(raw_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
    if (status_.ok()) note((*dnn()).set(raw_, name, type, count, values), "describing a convolution");
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    if (!other.status_.ok() && status_.ok()) status_ = other.status_;
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other.raw_);
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T value) {
    set(name, type, 1, static_cast<const void*>(&value));
  }
  const Status& finalize() {
    if (status_.ok()) note((*dnn()).finalize(raw_), "describing a convolution");
    return status_;
  }
  cudnnBackendDescriptor_t raw() const { return raw_; }
  const Status& status() const { return status_; }

 private:
  void note(cudnnStatus_t status, const char* what) {
    if (status != CUDNN_STATUS_SUCCESS) status_ = done(status, what);
  }

  cudnnBackendDescriptor_t raw_ = nullptr;
  Status status_;
};

enum : std::int64_t { kSource = 1, kWeights = 2, kResult = 3 };

/// A rank-4 view n, y, x, c in the library's order n, c, y, x.
void describeTensor(Descriptor& t, const View& v, std::int64_t id) {
  const std::int64_t dims[4] = {v.dim(0), v.dim(3), v.dim(1), v.dim(2)};
  std::int64_t strides[4] = {v.stride(0), v.stride(3), v.stride(1), v.stride(2)};
  const std::int64_t start = v.offset * bytesOf(v);
  const std::int64_t alignment = start % 16 == 0 ? 16 : start % 8 == 0 ? 8 : start % 4 == 0 ? 4 : 2;
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
        v.dtype == prim::DType::F16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT);
  t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment);
  t.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
  t.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
  t.finalize();
}

struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
};

Names namesOf(Direction direction) {
  switch (direction) {
    case Direction::Forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case Direction::Data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case Direction::Weights:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

/// Weight gradients of two engines are not what they should be (cuDNN 9.19 on an H100, docs/cuda.md): the Winograd
/// engine, which carries no note, loses half the digits with windows other than 3x3, and the first engine with its twin
/// leaves out parts of the sum where windows are dilated, and of some where they are not.
bool trusted(std::int64_t engine, const prim::Conv& desc) {
  constexpr std::int64_t kFirst = 1, kTwin = 20, kWinograd = 17;
  if (desc.direction != Direction::Weights) return true;
  if (engine == kWinograd) return desc.y.kernel == 3 && desc.x.kernel == 3;
  return engine != kFirst && engine != kTwin;
}

/// Whether an engine computes what we promise: the same bits every run (unless the environment says otherwise), and
/// float32 throughout unless less is allowed. index: its number, which stays the same from version to version.
bool acceptable(const Descriptor& config, const prim::Conv& desc, std::int64_t& index) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.raw();
  std::int64_t count = 0;
  if ((*dnn()).get(config.raw(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw) !=
      CUDNN_STATUS_SUCCESS)
    return false;
  if ((*dnn()).get(raw, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, &index) != CUDNN_STATUS_SUCCESS ||
      !trusted(index, desc))
    return false;
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  if ((*dnn()).get(raw, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                   static_cast<std::int64_t>(notes.size()), &count, notes.data()) != CUDNN_STATUS_SUCCESS)
    return false;
  for (std::int64_t i = 0; i < count; ++i) {
    switch (notes[static_cast<std::size_t>(i)]) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        if (!engineSwitches().anyOrder) return false;
        break;
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return false;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        if (!desc.reducedPrecision) return false;
        break;
      default:
        break;
    }
  }
  return true;
}

/// Puts a plan's work on the stream; data: source, weights, result.
Status start(Handle& handle, const Descriptor& plan, const std::array<void*, 3>& data, void* workspace,
             cudaStream_t stream) {
  const std::int64_t ids[3] = {kSource, kWeights, kResult};
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  KOVAR_TRY(pack.finalize());
  std::scoped_lock lock(handle.mutex);
  KOVAR_TRY(done((*dnn()).setStream(handle.raw, stream), "choosing a stream"));
  return done((*dnn()).execute(handle.raw, plan.raw(), pack.raw()), "convolution");
}

/// One convolution, chosen and ready.
struct Product {
  Handle* handle = nullptr;
  std::unique_ptr<Descriptor> plan;
  std::int64_t workspaceBytes = 0;
  std::size_t workspaceAt = 0;
  ConvShape shape;
  DenseOperand first, second;  ///< what is read, in the order source or gradient, weights or gradient
  Epilogue epilogue;
  std::shared_ptr<const PreparedReduce> bias;

  /// Asks the library for engines for these views and takes the first that can be used, or the fastest.
  Status choose(Device& device, const View& x, const View& w, const View& y) {
    const prim::Conv& d = shape.desc;
    Descriptor tx(CUDNN_BACKEND_TENSOR_DESCRIPTOR), tw(CUDNN_BACKEND_TENSOR_DESCRIPTOR),
        ty(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    describeTensor(tx, x, kSource);
    describeTensor(tw, w, kWeights);
    describeTensor(ty, y, kResult);
    Descriptor conv(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const auto after = [](const prim::Window& v, std::int64_t from, std::int64_t to) {
      return std::int64_t{to - 1} * v.stride + v.extent() - v.pad - from;
    };
    const std::int64_t dilation[2] = {d.y.dilation, d.x.dilation}, stride[2] = {d.y.stride, d.x.stride},
                       before[2] = {d.y.pad, d.x.pad},
                       behind[2] = {after(d.y, x.dim(1), y.dim(1)), after(d.x, x.dim(2), y.dim(2))};
    if (before[0] < 0 || before[1] < 0) return Failure{"a window that starts inside the source"};
    std::int64_t post[2] = {std::max<std::int64_t>(0, behind[0]), std::max<std::int64_t>(0, behind[1])};
    // Rows that no window reaches are fine: they are left over by the stride.
    if (-behind[0] >= d.y.stride || -behind[1] >= d.x.stride)
      return Failure{"windows that stop before the source ends"};
    if (before[0] >= d.y.extent() || before[1] >= d.x.extent() || post[0] >= d.y.extent() || post[1] >= d.x.extent())
      return Failure{"windows that lie outside the source altogether"};
    conv.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    conv.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
    conv.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
    conv.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    conv.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    conv.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    conv.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, post);
    conv.finalize();
    const Names names = namesOf(d.direction);
    Descriptor operation(names.operation);
    operation.set(names.conv, conv);
    operation.set(names.x, tx);
    operation.set(names.w, tw);
    operation.set(names.y, ty);
    operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.f);
    operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.f);
    KOVAR_TRY(operation.finalize());
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle->raw);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
    KOVAR_TRY(graph.finalize());
    // The heuristics' own order, then what always works.
    const bool measured = engineSwitches().measure;
    std::string problem;
    std::optional<std::int64_t> known;
    if (measured) {
      problem = cudnnVersion() + " " + device.name() + " " + prim::textOf(prim::Prim(d));
      for (const View* v : {&x, &w, &y}) problem += " " + v->text();
      known = choices().find(problem);
    }
    std::vector<Usable> usable;
    std::int64_t position = 0;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
      if (usable.empty() || (measured && !known))
        listUsable(graph, mode, known, measured && !known ? kMostTried : 1, position, usable);
    if (usable.empty()) return Failure{"cuDNN has no engine for it that gives float32 results, the same every time"};
    const std::size_t best = usable.size() > 1 ? fastest(device, {x, w, y}, usable) : 0;
    if (measured && !known) choices().put(problem, usable[best].position);
    plan = std::move(usable[best].plan);
    workspaceBytes = usable[best].workspaceBytes;
    if (base::traceEnabled("dispatch"))
      base::trace("dispatch", "cuDNN's engine " + std::to_string(usable[best].engine) + " for " + prim::textOf(d));
    return {};
  }

  /// An engine that can be used.
  struct Usable {
    std::int64_t position = 0;  ///< among all that the heuristics name
    std::int64_t engine = -1;
    std::unique_ptr<Descriptor> plan;
    std::int64_t workspaceBytes = 0;
  };
  static constexpr std::size_t kMostTried = 16;

  /// Appends engines that can be used, until there are `most`; with `only`, the one of that position if it can.
  void listUsable(const Descriptor& graph, cudnnBackendHeurMode_t mode, std::optional<std::int64_t> only,
                  std::size_t most, std::int64_t& position, std::vector<Usable>& usable) const {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    if (!heuristics.finalize().ok()) return;
    constexpr std::int64_t kMost = 32;
    std::vector<std::unique_ptr<Descriptor>> configs;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (std::int64_t i = 0; i < kMost; ++i) {
      configs.push_back(std::make_unique<Descriptor>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
      raw.push_back(configs.back()->raw());
    }
    std::int64_t count = 0;
    if ((*dnn()).get(heuristics.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, &count,
                     raw.data()) != CUDNN_STATUS_SUCCESS)
      return;
    for (std::int64_t i = 0; i < std::min(count, kMost) && usable.size() < most; ++i, ++position) {
      Descriptor& config = *configs[static_cast<std::size_t>(i)];
      Usable u;
      u.position = position;
      if ((only && *only != position) || !acceptable(config, shape.desc, u.engine)) continue;
      u.plan = std::make_unique<Descriptor>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      u.plan->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle->raw);
      u.plan->set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (!u.plan->finalize().ok()) continue;
      std::int64_t one = 0;
      if ((*dnn()).get(u.plan->raw(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &one,
                       &u.workspaceBytes) == CUDNN_STATUS_SUCCESS &&
          u.workspaceBytes <= kMostWorkspace)
        usable.push_back(std::move(u));
    }
  }

  /// Times them; an earlier one must be clearly slower to lose: noise should not decide. Those that fail are left out.
  std::size_t fastest(Device& device, const std::array<View, 3>& views, const std::vector<Usable>& usable) const {
    Trial trial(device, views);
    std::size_t best = 0;
    float bestTime = 0.f;
    std::string told;
    for (std::size_t i = 0; i < usable.size(); ++i) {
      const Result<float> time =
          trial.seconds(static_cast<std::size_t>(usable[i].workspaceBytes),
                        [&](cudaStream_t stream, std::span<std::byte* const> data, std::byte* workspace) {
                          return start(*handle, *usable[i].plan, {data[0], data[1], data[2]}, workspace, stream);
                        });
      if (!time.ok()) continue;
      if (base::traceEnabled("dispatch"))
        told += " " + std::to_string(usable[i].engine) + ": " + std::to_string(*time * 1e6f) + " us";
      if (bestTime > 0.f && *time >= 0.97f * bestTime) continue;
      best = i;
      bestTime = *time;
    }
    if (!told.empty()) base::trace("dispatch", "cuDNN's engines measured for " + prim::textOf(shape.desc) + ":" + told);
    return best;
  }

  Status run(const Context& context, const prim::Invocation& inv) const {
    KOVAR_TRY_ASSIGN(std::byte* const a, first.start(context.stream, inv));
    KOVAR_TRY_ASSIGN(std::byte* const b, second.start(context.stream, inv));
    std::byte* out = epilogue.targetData(inv) + epilogue.target().offset * bytesOf(epilogue.target());
    void *x = a, *w = b, *y = out;
    if (shape.desc.direction == Direction::Data) x = out, y = a;
    if (shape.desc.direction == Direction::Weights) w = out, y = b;
    KOVAR_TRY(start(*handle, *plan, {x, w, y}, inv.scratch + workspaceAt, context.stream));
    KOVAR_TRY(check(epilogue.finish(context.stream, inv), "convolution"));
    if (bias == nullptr) return {};
    return check(bias->run(context.stream, inv.args[shape.dstArg].data, inv.args[shape.biasArg].data, inv.scratch),
                 "bias gradient of a convolution");
  }
};

/// How operands are handed over.
enum class Operands {
  Halves,  ///< images as they lie, in float16; weights are rounded to it
  Gaps,    ///< float32 images as they lie, gaps between pixels too
  Packed,  ///< what is not packed float32 is copied
};

bool asItIs(const View& v, Operands how) {
  if (how == Operands::Packed) return v.dtype == prim::DType::F32 && v.dense();
  const prim::DType wanted = how == Operands::Halves ? prim::DType::F16 : prim::DType::F32;
  return v.dtype == wanted && (v.stride(3) == 1 || v.dim(3) == 1);
}

/// One try: operands as they lie where that is allowed, else dense copies of them.
Status attempt(Device& device, const prim::Conv& desc, std::span<const View> views, Operands how, CudaPlan& plan) {
  auto p = std::make_shared<Product>();
  p->shape = describe(desc, views);
  const ConvShape& s = p->shape;
  const bool halves = how == Operands::Halves;
  if (halves && (!desc.reducedPrecision || !asItIs(s.src, how) || !asItIs(s.dst, how)))
    return Failure{"not float16 images whose products may be narrow"};
  KOVAR_TRY_ASSIGN(p->handle, handleOf(device.ordinal()));
  const bool forward = desc.direction == Direction::Forward, weights = desc.direction == Direction::Weights;
  const std::size_t firstArg = desc.direction == Direction::Data ? s.dstArg : s.srcArg;
  const std::size_t secondArg = weights ? s.dstArg : s.weightsArg;
  const prim::DType type = halves ? prim::DType::F16 : prim::DType::F32;
  // Engines for gradients of weights read float16 gaps between rows and images too; a NaN there would spoil the sums.
  const auto ready = [&](const View& v) { return asItIs(v, how) && (!halves || !weights || v.dense()); };
  p->first = DenseOperand(views[firstArg], firstArg, ready(views[firstArg]), plan, type);
  p->second = DenseOperand(views[secondArg], secondArg, ready(views[secondArg]), plan, type);
  EpilogueNeeds needs;
  needs.floatsOnly = !halves || weights;
  needs.roundsBetween = !needs.floatsOnly;
  needs.denseOnly = !asItIs(views[s.resultArg], weights && halves ? Operands::Packed : how);
  needs.biasArg = forward && desc.bias ? static_cast<int>(s.biasArg) : -1;
  needs.accumulate = desc.accumulate;
  p->epilogue = Epilogue(desc.post, views, s.resultArg, s.own, needs, plan);
  View x = p->first.view(), w = p->second.view(), y = p->epilogue.target();
  if (desc.direction == Direction::Data) std::swap(x, y);
  if (weights) std::swap(w, y);
  KOVAR_TRY(p->choose(device, x, w, y));
  p->workspaceAt = plan.reserve(static_cast<std::size_t>(p->workspaceBytes));
  if (weights && desc.bias) {
    View to = s.bias;
    to.rank = 4;
    to.dims = {1, 1, 1, s.bias.dim(0)};
    to.strides = {0, 0, 0, s.bias.stride(0)};
    const prim::Reduce sum{prim::ReduceKind::Sum, 1.f, desc.accumulate};
    p->bias = std::make_shared<const PreparedReduce>(sum, s.dst, to, device.multiprocessors(), plan);
  }
  plan.cacheBytes += 16384;
  plan.body = [p = std::shared_ptr<const Product>(std::move(p))](const Context& context, const prim::Invocation& inv) {
    return p->run(context, inv);
  };
  return {};
}

}  // namespace

std::string cudnnVersion() {
  if (!dnn().ok()) return {};
  const std::size_t v = (*dnn()).version();
  return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
}

Status prepareConvCudnn(Device& device, const prim::Conv& desc, std::span<const View> views,
                        const prim::PrepareOptions&, CudaPlan& plan) {
  if (!dnn().ok()) return Failure{"libcudnn: " + dnn().failure().text};
  for (const Operands how : {Operands::Halves, Operands::Gaps}) {
    if (attempt(device, desc, views, how, plan).ok()) return {};
    plan.scratchBytes = 0;
  }
  return attempt(device, desc, views, Operands::Packed, plan);
}

}  // namespace kovar::cuda
