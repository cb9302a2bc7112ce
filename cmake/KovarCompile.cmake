# kovar_flags: how every target of this repository is compiled. Never exported.

# CMake's own flags for Release are -O3 -DNDEBUG with g++ and clang; nothing is added, so one binary serves every x86-64.

add_library(kovar_flags INTERFACE)
target_compile_features(kovar_flags INTERFACE cxx_std_20)
target_compile_options(
  kovar_flags
  INTERFACE
    # The same bits from every compiler: a multiply and an add are fused only where the source says so.
    $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>
    # Square roots become one instruction; nobody reads errno.
    $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall>
    $<$<COMPILE_LANGUAGE:CXX>:-Wextra>
    # The same for kernels; the formulas of src/maths are constexpr functions. CMake 3.25 has no word for C++20 here.
    $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffp-contract=off>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # gcc 12 warns about string concatenation inside its own library (GCC bug 105651).
  target_compile_options(kovar_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(KOVAR_WERROR)
  target_compile_options(kovar_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()

if(KOVAR_SANITIZE)
  target_compile_options(kovar_flags INTERFACE -fsanitize=${KOVAR_SANITIZE} -fno-omit-frame-pointer
                                               -fno-sanitize-recover=all)
  target_link_options(kovar_flags INTERFACE -fsanitize=${KOVAR_SANITIZE})
endif()
if(KOVAR_BUILD_FUZZERS)
  # The whole library reports the edges it takes, or the fuzzer is blind.
  target_compile_options(kovar_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
