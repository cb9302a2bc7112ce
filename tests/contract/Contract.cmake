# bin/test_contract is written from the tables of tests/contract/data: it compiles and links only if every documented
# member is there with its documented type.
find_package(Python3 QUIET COMPONENTS Interpreter)
if(NOT Python3_FOUND)
  message(STATUS "kovar: no python3: the test of the documented interface is left out")
  return()
endif()
set(contract "${CMAKE_CURRENT_LIST_DIR}")
foreach(number RANGE 1 4)
  list(APPEND contract_sources "${CMAKE_CURRENT_BINARY_DIR}/contract/contract_${number}.cpp")
endforeach()
file(GLOB contract_tables CONFIGURE_DEPENDS "${contract}/*.py" "${contract}/*.tsv" "${contract}/data/*.tsv")
file(GLOB_RECURSE contract_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/kovar/*.hpp")
file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/contract")
add_custom_command(
  OUTPUT ${contract_sources}
  COMMAND "${Python3_EXECUTABLE}" "${contract}/generate.py" ${contract_sources}
  DEPENDS ${contract_tables} ${contract_headers}
  COMMENT "Writing the test of the documented interface"
  VERBATIM)
# Only types are looked at.
set_source_files_properties(${contract_sources} PROPERTIES COMPILE_OPTIONS "-O0;-w")
kovar_add_test_folder(contract ${contract_sources})
