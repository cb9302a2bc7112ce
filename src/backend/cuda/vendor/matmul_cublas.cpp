// Matrix products by cuBLASLt. It thinks in columns, so it is asked for the transposed product: C' = B' A'.

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "backend/cuda/matmul.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "backend/cuda/reduce.hpp"
#include "backend/cuda/vendor/library.hpp"
#include "backend/cuda/vendor/versions.hpp"

namespace kovar::cuda {
namespace {

using base::Failure;
using base::Result;
using base::Status;
using prim::View;

constexpr std::size_t kWorkspace = std::size_t{32} << 20;

struct Blas {
  decltype(cublasLtCreate)* create;
  decltype(cublasLtGetVersion)* version;
  decltype(cublasLtGetStatusName)* nameOf;
  decltype(cublasLtMatmul)* matmul;
  decltype(cublasLtMatmulAlgoGetHeuristic)* heuristic;
  decltype(cublasLtMatmulDescCreate)* descCreate;
  decltype(cublasLtMatmulDescDestroy)* descDestroy;
  decltype(cublasLtMatmulDescSetAttribute)* descSet;
  decltype(cublasLtMatrixLayoutCreate)* layoutCreate;
  decltype(cublasLtMatrixLayoutDestroy)* layoutDestroy;
  decltype(cublasLtMatmulPreferenceCreate)* preferenceCreate;
  decltype(cublasLtMatmulPreferenceDestroy)* preferenceDestroy;
  decltype(cublasLtMatmulPreferenceSetAttribute)* preferenceSet;

  static Result<Blas> load() {
    KOVAR_TRY_ASSIGN(const Library library, Library::open({"libcublasLt.so.13", "libcublasLt.so.12"}));
    Blas b{};
    KOVAR_TRY(library.find(b.create, "cublasLtCreate"));
    KOVAR_TRY(library.find(b.version, "cublasLtGetVersion"));
    KOVAR_TRY(library.find(b.nameOf, "cublasLtGetStatusName"));
    KOVAR_TRY(library.find(b.matmul, "cublasLtMatmul"));
    KOVAR_TRY(library.find(b.heuristic, "cublasLtMatmulAlgoGetHeuristic"));
    KOVAR_TRY(library.find(b.descCreate, "cublasLtMatmulDescCreate"));
    KOVAR_TRY(library.find(b.descDestroy, "cublasLtMatmulDescDestroy"));
    KOVAR_TRY(library.find(b.descSet, "cublasLtMatmulDescSetAttribute"));
    KOVAR_TRY(library.find(b.layoutCreate, "cublasLtMatrixLayoutCreate"));
    KOVAR_TRY(library.find(b.layoutDestroy, "cublasLtMatrixLayoutDestroy"));
    KOVAR_TRY(library.find(b.preferenceCreate, "cublasLtMatmulPreferenceCreate"));
    KOVAR_TRY(library.find(b.preferenceDestroy, "cublasLtMatmulPreferenceDestroy"));
    KOVAR_TRY(library.find(b.preferenceSet, "cublasLtMatmulPreferenceSetAttribute"));
    return b;
  }
};

/// The library, loaded once; a failure is kept and told every time.
const Result<Blas>& blas() {
  static const Result<Blas> loaded = Blas::load();
  return loaded;
}

Status done(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  return Failure{std::string("cuBLASLt: ") + what + ": " + (*blas()).nameOf(status)};
}

/// One handle a device; it lives as long as the process.
Result<cublasLtHandle_t> handleOf(int ordinal) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  std::scoped_lock lock(mutex);
  if (const auto known = handles.find(ordinal); known != handles.end()) return known->second;
  cublasLtHandle_t handle = nullptr;
  KOVAR_TRY(done((*blas()).create(&handle), "starting"));
  handles.emplace(ordinal, handle);
  return handle;
}

/// An operand as a matrix in columns: `transposed` when its rows lie together in our view.
struct Columns {
  bool transposed = false;
  std::int64_t rows = 0, columns = 0, leading = 0;
};

/// A view r by c, read as the matrix c by r in columns, or as r by c to be transposed.
Result<Columns> columnsOf(const View& v) {
  const std::int64_t r = v.dim(0), c = v.dim(1), s0 = v.stride(0), s1 = v.stride(1);
  if (s1 == 1 || c == 1) {
    const std::int64_t leading = r == 1 ? c : s0;
    if (leading >= c) return Columns{false, c, r, leading};
  }
  if (s0 == 1 || r == 1) {
    const std::int64_t leading = c == 1 ? r : s1;
    if (leading >= r) return Columns{true, r, c, leading};
  }
  return Failure{"neither rows nor columns of " + v.text() + " lie together"};
}

bool direct(const View& v) { return v.dtype == prim::DType::F32 && columnsOf(v).ok(); }

/// Everything of one product; the library's descriptors live as long.
struct Product {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspaceBytes = 0, workspaceAt = 0;
  float beta = 0.f;
  MatmulShape shape;
  DenseOperand left, right;
  Epilogue epilogue;
  std::shared_ptr<const PreparedReduce> rows;

  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    const Blas& lt = *blas();
    if (a != nullptr) lt.layoutDestroy(a);
    if (b != nullptr) lt.layoutDestroy(b);
    if (c != nullptr) lt.layoutDestroy(c);
    if (desc != nullptr) lt.descDestroy(desc);
  }

  Status layout(cublasLtMatrixLayout_t& to, const Columns& m) {
    return done((*blas()).layoutCreate(&to, CUDA_R_32F, static_cast<std::uint64_t>(m.rows),
                                       static_cast<std::uint64_t>(m.columns), m.leading),
                "describing a matrix");
  }
  template <class T>
  Status set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return done((*blas()).descSet(desc, attribute, &value, sizeof value), "describing the product");
  }

  Status choose() {
    const Blas& lt = *blas();
    cublasLtMatmulPreference_t raw = nullptr;
    KOVAR_TRY(done(lt.preferenceCreate(&raw), "choosing"));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return done(lt.preferenceSet(raw, attribute, &value, sizeof value), "choosing");
    };
    Status status = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(kWorkspace));
    // Views may start at any element.
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      const View& v = attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES   ? right.view()
                      : attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES ? left.view()
                                                                                : epilogue.target();
      const std::uint32_t aligned = v.offset % 4 == 0 ? 16 : v.offset % 2 == 0 ? 8 : 4;
      if (status.ok()) status = prefer(attribute, aligned);
    }
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    if (status.ok())
      status = done(lt.heuristic(handle, desc, a, b, c, c, raw, 1, &result, &found), "choosing an algorithm");
    lt.preferenceDestroy(raw);
    KOVAR_TRY(status);
    if (found == 0) return Failure{"cuBLASLt has no algorithm for it"};
    algorithm = result.algo;
    workspaceBytes = result.workspaceSize;
    return {};
  }

  Status run(const Context& context, const prim::Invocation& inv) const {
    KOVAR_TRY_ASSIGN(std::byte* const l, left.start(context.stream, inv));
    KOVAR_TRY_ASSIGN(std::byte* const r, right.start(context.stream, inv));
    std::byte* out = epilogue.targetData(inv) + epilogue.target().offset * bytesOf(epilogue.target());
    const float one = 1.f;
    KOVAR_TRY(done((*blas()).matmul(handle, desc, &one, r, a, l, b, &beta, out, c, out, c, &algorithm,
                                    inv.scratch + workspaceAt, workspaceBytes, context.stream),
                   "product"));
    KOVAR_TRY(check(epilogue.finish(context.stream, inv), "matrix product"));
    if (rows == nullptr) return {};
    return check(rows->run(context.stream, inv.args[0].data, inv.args[shape.rowSumArg].data, inv.scratch),
                 "row sums of a matrix product");
  }
};

}  // namespace

std::string cublasVersion() {
  const Result<Blas>& lt = blas();
  if (!lt.ok()) return {};
  const std::size_t v = (*lt).version();
  return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
}

Status prepareMatmulCublas(Device& device, const prim::Matmul& desc, std::span<const View> views,
                           const prim::PrepareOptions&, CudaPlan& plan) {
  if (!blas().ok()) return Failure{"libcublasLt: " + blas().failure().text};
  auto p = std::make_shared<Product>();
  p->shape = describe(desc, views);
  const MatmulShape& s = p->shape;
  KOVAR_TRY_ASSIGN(p->handle, handleOf(device.ordinal()));
  // The result must have its rows together: its transposed form cannot be asked for.
  const bool straight = direct(s.c) && (s.c.stride(1) == 1 || s.n == 1);
  EpilogueNeeds needs;
  needs.floatsOnly = true;
  needs.denseOnly = !straight;
  needs.biasArg = desc.bias ? static_cast<int>(s.biasArg) : -1;
  needs.accumulate = desc.accumulate && !straight;
  p->beta = desc.accumulate && straight ? 1.f : 0.f;
  if (desc.accumulate && (desc.bias || !desc.post.empty())) {
    needs.accumulate = true;
    p->beta = 0.f;
  }
  p->left = DenseOperand(s.a, 0, direct(s.a), plan);
  p->right = DenseOperand(s.b, 1, direct(s.b), plan);
  p->epilogue = Epilogue(desc.post, views, s.cArg, s.own, needs, plan);
  KOVAR_TRY_ASSIGN(const Columns left, columnsOf(p->left.view()));
  KOVAR_TRY_ASSIGN(const Columns right, columnsOf(p->right.view()));
  KOVAR_TRY_ASSIGN(const Columns result, columnsOf(p->epilogue.target()));
  if (result.transposed && s.n != 1) return Failure{"the rows of the result do not lie together"};
  const cublasComputeType_t compute = desc.reducedPrecision ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  KOVAR_TRY(done((*blas()).descCreate(&p->desc, compute, CUDA_R_32F), "describing the product"));
  KOVAR_TRY(p->set(CUBLASLT_MATMUL_DESC_TRANSA, right.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  KOVAR_TRY(p->set(CUBLASLT_MATMUL_DESC_TRANSB, left.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  KOVAR_TRY(p->layout(p->a, right));
  KOVAR_TRY(p->layout(p->b, left));
  KOVAR_TRY(p->layout(p->c, Columns{false, s.n, s.m,
                                    s.n == 1 ? (s.m == 1 ? 1 : p->epilogue.target().stride(0))
                                             : (s.m == 1 ? s.n : p->epilogue.target().stride(0))}));
  KOVAR_TRY(p->choose());
  p->workspaceAt = plan.reserve(p->workspaceBytes);
  p->rows = prepareRowSum(device, s, plan);
  plan.cacheBytes += 4096;
  plan.body = [p = std::shared_ptr<const Product>(std::move(p))](const Context& context, const prim::Invocation& inv) {
    return p->run(context, inv);
  };
  return {};
}

}  // namespace kovar::cuda
