#include "backend/cpu/row_io.hpp"

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/row_io.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {

void readRowHere(DType type, const std::byte* p, std::int64_t step, std::int64_t n, float* out) {
  loadRow(type, p, step, n, out);
}
void writeRowHere(DType type, const float* in, std::int64_t n, std::byte* p, std::int64_t step) {
  storeRow(type, in, n, p, step);
}

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {

HWY_EXPORT(readRowHere);
HWY_EXPORT(writeRowHere);

void readRow(prim::DType type, const std::byte* p, std::int64_t step, std::int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(readRowHere)(type, p, step, n, out);
}
void writeRow(prim::DType type, const float* in, std::int64_t n, std::byte* p, std::int64_t step) {
  HWY_DYNAMIC_DISPATCH(writeRowHere)(type, in, n, p, step);
}

}  // namespace kovar::cpu
#endif
