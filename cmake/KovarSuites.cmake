# Read by ctest: lists the suites of one test program and adds a test for each.
if(NOT EXISTS "${kovar_test_program}")
  add_test("${kovar_test_name}.not-built" "${kovar_test_program}")
  set_tests_properties("${kovar_test_name}.not-built" PROPERTIES LABELS "${kovar_test_name}")
  return()
endif()
execute_process(
  COMMAND "${kovar_test_program}" --gtest_list_tests
  OUTPUT_VARIABLE kovar_listing
  RESULT_VARIABLE kovar_listing_status)
if(NOT kovar_listing_status EQUAL 0)
  add_test("${kovar_test_name}.cannot-list" "${kovar_test_program}" --gtest_list_tests)
  return()
endif()
string(REPLACE ";" " " kovar_listing "${kovar_listing}")
string(REPLACE "\n" ";" kovar_listing "${kovar_listing}")
foreach(kovar_line IN LISTS kovar_listing)
  # "Suite." or "Prefix/Suite/0.  # TypeParam = float"; cases are indented.
  if(kovar_line MATCHES "^([A-Za-z0-9_/]+)\\.( |$)")
    set(kovar_suite "${CMAKE_MATCH_1}")
    add_test("${kovar_test_name}.${kovar_suite}" "${kovar_test_program}" "--gtest_filter=${kovar_suite}.*"
             "--gtest_brief=1")
    set_tests_properties("${kovar_test_name}.${kovar_suite}" PROPERTIES LABELS "${kovar_test_name}" WORKING_DIRECTORY
                                                                        "${kovar_test_folder}" TIMEOUT 600)
  endif()
endforeach()
