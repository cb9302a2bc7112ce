#include "backend/cpu/matmul.hpp"

#include <algorithm>
#include <utility>

namespace kovar::cpu {
namespace {

prim::View swapped(prim::View v, bool swap) {
  if (swap) {
    std::swap(v.dims[0], v.dims[1]);
    std::swap(v.strides[0], v.strides[1]);
  }
  return v;
}

}  // namespace

MatmulShape describe(const prim::Matmul& desc, std::span<const prim::View> views) {
  MatmulShape s;
  s.desc = desc;
  s.a = swapped(views[0], desc.transposeA);
  s.b = swapped(views[1], desc.transposeB);
  s.biasArg = 2;
  s.cArg = desc.bias ? 3 : 2;
  s.rowSumArg = s.cArg + 1;
  s.ownArgs = s.cArg + (desc.rowSum ? 2 : 1) + (desc.update ? 1 + prim::statesOf(desc.step.kind) : 0);
  s.c = views[s.cArg];
  if (desc.bias) s.bias = views[s.biasArg];
  if (desc.rowSum) s.rowSum = views[s.rowSumArg];
  s.m = s.c.dim(0), s.n = s.c.dim(1), s.k = s.a.dim(1);
  return s;
}

std::vector<prim::Access> matmulAccess(const prim::Matmul& desc) {
  using prim::Access;
  const Access result = desc.accumulate ? Access::ReadWrite : Access::Write;
  std::vector<Access> access = {Access::Read, Access::Read};
  if (desc.bias) access.push_back(Access::Read);
  access.push_back(result);
  if (desc.rowSum) access.push_back(result);
  if (desc.update) {
    access.push_back(Access::Read);
    access.insert(access.end(), prim::statesOf(desc.step.kind), Access::ReadWrite);
  }
  return access;
}

MatmulUpdate::MatmulUpdate(const MatmulShape& s, std::span<const prim::View> views)
    : states_(prim::statesOf(s.desc.step.kind)), valuesArg_(s.cArg + (s.desc.rowSum ? 2 : 1)), resultArg_(s.cArg) {
  for (std::size_t i = 0; i <= states_; ++i) views_[i] = views[valuesArg_ + i];
  views_[states_ + 1] = s.c;
}

void MatmulUpdate::run(const StepRule& rule, const prim::Invocation& inv, float* gradient, std::int64_t row,
                       std::int64_t column, std::int64_t count) const {
  float* pointers[kMaxStepArgs] = {gradient};
  for (std::size_t i = 0; i <= states_ + 1; ++i)
    pointers[i + 1] =
        at<float>(inv, i <= states_ ? valuesArg_ + i : resultArg_, views_[i]) + row * views_[i].stride(0) + column;
  stepRun(rule, pointers, count);
}

void rowSums(Context& context, const MatmulShape& s, const float* a, float* d) {
  // A few partial sums a row: short chains, less loss, and rows beside each other where A is transposed.
  constexpr std::int64_t kRows = 16, kParts = 8;
  const auto chunks = static_cast<std::size_t>((s.m + kRows - 1) / kRows);
  context.pool.run(chunks, [&](std::size_t chunk) {
    const std::int64_t first = static_cast<std::int64_t>(chunk) * kRows, count = std::min(kRows, s.m - first);
    float parts[kRows][kParts] = {};
    const std::int64_t rowStride = s.a.stride(0), columnStride = s.a.stride(1);
    if (rowStride <= columnStride) {
      for (std::int64_t k = 0; k < s.k; ++k)
        for (std::int64_t r = 0; r < count; ++r) parts[r][k % kParts] += a[(first + r) * rowStride + k * columnStride];
    } else {
      for (std::int64_t r = 0; r < count; ++r)
        for (std::int64_t k = 0; k < s.k; ++k) parts[r][k % kParts] += a[(first + r) * rowStride + k * columnStride];
    }
    for (std::int64_t r = 0; r < count; ++r) {
      float sum = 0.f;
      for (const float part : parts[r]) sum += part;
      float& out = d[(first + r) * s.rowSum.stride(0)];
      out = (s.desc.accumulate ? out : 0.f) + sum;
    }
  });
}

std::span<const Candidate<prim::Matmul>> matmulCandidates() {
  static constexpr Candidate<prim::Matmul> kList[] = {
      {"cpu:matmul:blocked", prepareMatmulBlocked},
      {"cpu:matmul:generic", prepareMatmulGeneric},
  };
  return kList;
}

}  // namespace kovar::cpu
