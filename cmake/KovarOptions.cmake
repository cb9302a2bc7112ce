# Every switch of the build stands here. A project that adds kovar as a subdirectory gets the library alone.

option(BUILD_SHARED_LIBS "Build libkovar as a shared library" OFF)
option(KOVAR_WITH_ONEDNN "Use oneDNN 3.2 for heavy CPU primitives where scripts/deps has put it" ON)
option(KOVAR_WITH_CUDA "Build the CUDA back end" OFF)
option(KOVAR_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(KOVAR_BUILD_TOOLS "Build the kovar program" ${PROJECT_IS_TOP_LEVEL})
option(KOVAR_BUILD_EXAMPLES "Build the examples" ${PROJECT_IS_TOP_LEVEL})
option(KOVAR_BUILD_BENCH "Build the benchmarks" OFF)
option(KOVAR_EMULATE_CUDA "Without KOVAR_WITH_CUDA, tests run the CUDA back end's kernels on the processor" ON)
option(KOVAR_BUILD_FUZZERS "Build the libFuzzer programs (clang only)" OFF)
option(KOVAR_WERROR "Treat compiler warnings as errors" OFF)

set(KOVAR_SANITIZE "" CACHE STRING "Sanitizers for every target: address, undefined, thread, or a comma-separated list")
set(KOVAR_DEPS_DIR "${PROJECT_SOURCE_DIR}/build/deps" CACHE PATH "Where scripts/deps puts what no distribution packages")

# One binary directory may be moved around: programs find the libraries beside them.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

find_program(KOVAR_CCACHE ccache)
mark_as_advanced(KOVAR_CCACHE)
if(KOVAR_CCACHE AND PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${KOVAR_CCACHE}")
endif()
