# kovar_hide_insides(TARGET): a shared library exports the public classes and functions and nothing else. The list is
# cmake/kovar.map, so the headers need no export macro; the test symbols.exported checks the result.
function(kovar_hide_insides target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY")
    set(map "${PROJECT_SOURCE_DIR}/cmake/kovar.map")
    target_link_options(${target} PRIVATE "LINKER:--version-script=${map}" "LINKER:--no-undefined")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${map}")
  endif()
endfunction()
