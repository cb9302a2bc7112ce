# kovar_add_test_folder(unit [written...]): every tests/unit/**/*.cpp, and the sources written by other commands, in one
# GoogleTest program bin/test_unit. Each test suite is one CTest test "unit.Suite", labelled "unit". The suites are read
# from the program when ctest starts, not when it is built.
function(kovar_add_test_folder name)
  set(folder "${PROJECT_SOURCE_DIR}/tests/${name}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  list(APPEND sources ${ARGN})
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources})
  # Tests say #include "oracle/conv.hpp" and #include "support/random.hpp".
  target_include_directories(test_${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${folder}")
  target_compile_definitions(test_${name} PRIVATE KOVAR_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # GoogleTest's macros hold an if-else of their own; "if (x) EXPECT_EQ(...)" is fine.
  target_compile_options(test_${name} PRIVATE -Wno-dangling-else)
  target_link_libraries(test_${name} PRIVATE kovar_internal kovar_oracle GTest::gmock GTest::gtest GTest::gtest_main
                                             PNG::PNG JPEG::JPEG ZLIB::ZLIB)
  if(name MATCHES "^(conformance|unit)$" AND TARGET kovar_cuda_emulated)
    target_link_libraries(test_${name} PRIVATE kovar_cuda_emulated)
  endif()
  if(name MATCHES "^(nn|graph)$")
    target_sources(test_${name} PRIVATE $<TARGET_OBJECTS:kovar_test_devices>)
    if(TARGET kovar_cuda_emulated)
      target_link_libraries(test_${name} PRIVATE kovar_cuda_emulated)
    endif()
  endif()
  if(name STREQUAL "tools")
    target_link_libraries(test_${name} PRIVATE kovar_tool_parts)
    if(TARGET kovar_tool)
      # Tests of the command line run the program itself.
      target_compile_definitions(test_${name} PRIVATE KOVAR_PROGRAM="$<TARGET_FILE:kovar_tool>")
      add_dependencies(test_${name} kovar_tool)
    endif()
  endif()

  if(name STREQUAL "examples")
    target_compile_definitions(test_${name} PRIVATE KOVAR_EXAMPLES="$<TARGET_FILE_DIR:example_first_convolution>")
    add_dependencies(test_${name} ${kovar_examples})
  endif()

  set(include_file "${CMAKE_CURRENT_BINARY_DIR}/test_${name}_suites.cmake")
  file(GENERATE OUTPUT "${include_file}" CONTENT
"set(kovar_test_name \"${name}\")
set(kovar_test_program \"$<TARGET_FILE:test_${name}>\")
set(kovar_test_folder \"${PROJECT_BINARY_DIR}\")
include(\"${PROJECT_SOURCE_DIR}/cmake/KovarSuites.cmake\")
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include_file}")
endfunction()
