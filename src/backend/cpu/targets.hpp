#pragma once
// The instruction sets the vector code is compiled for. To be included before any Highway header. SSE4 is the least
// that an x86-64 machine must have; each further target costs compile time and code size in every family.

#include <hwy/detect_compiler_arch.h>

#if HWY_ARCH_X86
#define HWY_BASELINE_TARGETS HWY_SSE4
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SCALAR | HWY_EMU128)
#endif
