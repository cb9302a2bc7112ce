#pragma once
// Lanes: every scalar formula of the library is written once, as a template over the lane type V.
//
//   V = Floats   a SIMD vector of the CPU target being compiled (Highway), in namespace maths::N_SSE4, N_AVX2, N_AVX3
//   ... V = float    in each of those namespaces too, with the same bits; and in maths::scalar for ordinary host code
//   and CUDA
//
// Two kinds of header
//   maths/X.hpp      plain types and tables (neuron types, parameter structs, sizes). Include anywhere.
//   maths/X-inl.hpp  functors. A file that uses SIMD includes them once per target, after Highway:
//
//       #undef HWY_TARGET_INCLUDE
//       #define HWY_TARGET_INCLUDE "backend/cpu/this_file.cpp"
//       #include "hwy/foreach_target.h"
//       #include "hwy/highway.h"
//       #include "maths/neuron-inl.hpp"
//       HWY_BEFORE_NAMESPACE();
//       namespace kovar::cpu::HWY_NAMESPACE {
//       namespace m = kovar::maths::HWY_NAMESPACE;
//       void relu(const float* x, float* y) { m::store(m::ReLU{0.1f}.fwd(m::load<m::Floats>(x)), y); }
//       }
//       HWY_AFTER_NAMESPACE();
//
//     A file without Highway includes them plainly and finds the float versions in kovar::maths::scalar.
//
// Vocabulary (lane-inl.hpp), for V = Floats and V = float alike; M = MaskOf<V>, B = BitsOf<V> (32-bit unsigned lanes)
//   kWidth<V>   load<V>(p)  store(v, p)  loadBits<B>(p)  storeBits(b, p)      full width, no alignment asked for
//   V(c)        + - * / unary -          fma(a,b,c)  sqrt(x)  abs(x)  copySign(magnitude, sign)
//   < <= > >= == !=  -> M                both(m,n)  either(m,n)  invert(m)  anyOf(m)  allOf(m)  select(m, yes, no)
//   isNaN(x)  isFinite(x)                floor(x)  trunc(x)  roundEven(x)
//   pickLess(a,b)     a < b ? a : b      so b where they are equal or where either is NaN
//   pickGreater(a,b)  a > b ? a : b      likewise
//   minNumber(a,b)  maxNumber(a,b)       IEEE minNum, maxNum: a NaN loses against a number
//   clamp(x,lo,hi)                       NaN stays NaN
//   sign(x)                              -1, 0, 1; NaN stays NaN
//   bitsOf(x) -> B  fromBits(b) -> V     signedToFloat(b)  floatToSigned(x)   the bits read as int32, |value| < 2^31
//   B(c)  + - * & | ^ ~  shiftLeft<k>(b)  shiftRight<k>(b) (logical)  mulHigh(a,b) (upper half of the 64-bit product)
//   productError(a, b, p)                a*b - p exactly, for p = a*b rounded
//   polynomial(x, c0, c1, ...)           c0 + c1 x + ..., Horner with fma
// Elementary functions (functions-inl.hpp); bounds in docs/numerics.md
//   exp expm1 log log1p tanh erf pow sigmoid normalTail sinCosTurns
//
// Exactness: no multiply and add is ever fused but by fma(). On targets with FMA (KOVAR_LANES_FUSED) all functions give
// the same bits as the float versions and as CUDA; on SSE4 fma() rounds twice and results may differ in the last place.
// Never negate the result of fma(): gcc makes one instruction of it that gives the other zero. Negate its operands.

#include <cstdint>

// Chosen by the first -inl header that a file includes.
#ifdef HWY_HIGHWAY_INCLUDED
#define KOVAR_LANES_VECTOR 1
#else
#define KOVAR_LANES_VECTOR 0
#endif

#if KOVAR_LANES_VECTOR
/// Opens the namespace of one set of lanes: maths::N_AVX2 and so on, or maths::scalar.
#define KOVAR_LANES_BEGIN \
  HWY_BEFORE_NAMESPACE(); \
  namespace kovar::maths::HWY_NAMESPACE {
#define KOVAR_LANES_END \
  }                     \
  HWY_AFTER_NAMESPACE();
#define KOVAR_LANES HWY_NAMESPACE
#define KOVAR_LANES_FUSED HWY_NATIVE_FMA
#else
#define KOVAR_LANES_BEGIN namespace kovar::maths::scalar {
#define KOVAR_LANES_END }
#define KOVAR_LANES scalar
#define KOVAR_LANES_FUSED 1
#endif

/// In front of every function on lanes: inlined always (a SIMD value must not cross a call between instruction sets),
/// and callable from CUDA device code.
#ifdef __CUDACC__
#define KOVAR_LANE __host__ __device__ __forceinline__
/// In front of a template that calls what its caller hands in: that may be a host or a device lambda.
#define KOVAR_LANE_VISITOR _Pragma("nv_exec_check_disable")
#else
#define KOVAR_LANE [[gnu::always_inline]] inline
#define KOVAR_LANE_VISITOR
#endif
