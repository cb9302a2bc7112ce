# Every public header is compiled alone and twice in one file, with a user's strict warnings; all of them are then linked
# into one program, which fails if a header defines something that is not inline.
file(GLOB_RECURSE kovar_public_headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include"
     "${PROJECT_SOURCE_DIR}/include/kovar/*.hpp")
set(kovar_header_sources "${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp")
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp" CONTENT "int main() { return 0; }\n")
foreach(header IN LISTS kovar_public_headers ITEMS kovar/Version.hpp)
  string(REGEX REPLACE "[/.]" "_" name "${header}")
  set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include <${header}>\n#include <${header}>\n")
  list(APPEND kovar_header_sources "${source}")
endforeach()
add_executable(test_headers ${kovar_header_sources})
target_compile_options(test_headers PRIVATE -Wall -Wextra -Wpedantic -Werror)
target_link_libraries(test_headers PRIVATE kovar::kovar)
add_test(NAME headers.alone COMMAND test_headers)
set_tests_properties(headers.alone PROPERTIES LABELS headers)
