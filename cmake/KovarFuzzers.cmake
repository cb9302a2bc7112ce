# One program for each tests/fuzz/*.cpp, which holds a LLVMFuzzerTestOneInput.
#   KOVAR_BUILD_FUZZERS  bin/fuzz_NAME: libFuzzer (clang only), run by scripts/check-all
#   KOVAR_BUILD_TESTS    bin/replay_NAME: the same code over the files of tests/fuzz/corpus/NAME, as test "fuzz.NAME"
file(GLOB kovar_fuzz_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*.cpp")
if(KOVAR_BUILD_FUZZERS AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "KOVAR_BUILD_FUZZERS needs clang, the compiler is ${CMAKE_CXX_COMPILER_ID}: cmake --preset fuzz")
endif()

foreach(source IN LISTS kovar_fuzz_sources)
  cmake_path(GET source STEM name)
  if(KOVAR_BUILD_FUZZERS)
    add_executable(fuzz_${name} "${source}")
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_include_directories(fuzz_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_libraries(fuzz_${name} PRIVATE kovar_internal kovar_oracle)
  endif()
  if(KOVAR_BUILD_TESTS)
    add_executable(replay_${name} "${source}" "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/replay/main.cpp")
    target_include_directories(replay_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_libraries(replay_${name} PRIVATE kovar_internal kovar_oracle)
    add_test(NAME fuzz.${name} COMMAND replay_${name} "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name}")
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
endforeach()
