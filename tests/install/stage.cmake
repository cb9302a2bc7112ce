# Installs a build and then moves the tree, because users unpack a package where they like.
file(REMOVE_RECURSE "${KOVAR_PREFIX}" "${KOVAR_PREFIX}.first")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${KOVAR_BUILD}" --prefix "${KOVAR_PREFIX}.first"
                COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${KOVAR_PREFIX}.first" "${KOVAR_PREFIX}")
file(GLOB programs "${KOVAR_PREFIX}/bin/kovar")
foreach(program IN LISTS programs)
  execute_process(COMMAND "${program}" devices COMMAND_ERROR_IS_FATAL ANY)
endforeach()
