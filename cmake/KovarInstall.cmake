# cmake --install: the library, its headers, the program, the CMake package and kovar.pc. oneDNN, where it is used, goes
# into lib/kovar beside the library; everything finds it through $ORIGIN, so an installed tree may be moved.
include(CMakePackageConfigHelpers)

set(kovar_vendor_dir "${CMAKE_INSTALL_LIBDIR}/kovar")
set_target_properties(kovar PROPERTIES INSTALL_RPATH "$ORIGIN/kovar")

install(TARGETS kovar EXPORT kovarTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" "${PROJECT_BINARY_DIR}/include/"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.hpp")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
if(KOVAR_HAS_ONEDNN)
  install(FILES "${KOVAR_DEPS_DIR}/onednn/lib/libdnnl.so.3.2" DESTINATION "${kovar_vendor_dir}" RENAME libdnnl.so.3)
  install(DIRECTORY "${KOVAR_DEPS_DIR}/onednn/licenses/" DESTINATION "${CMAKE_INSTALL_DOCDIR}/onednn")
endif()

install(EXPORT kovarTargets NAMESPACE kovar:: DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/kovar")
set(kovar_is_shared ${BUILD_SHARED_LIBS})
set(KOVAR_VENDOR_DIR "${kovar_vendor_dir}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/kovarConfig.cmake.in" "${PROJECT_BINARY_DIR}/package/kovarConfig.cmake"
  INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/kovar"
  PATH_VARS KOVAR_VENDOR_DIR)
# Before 1.0 every minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/kovarConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/kovarConfig.cmake" "${PROJECT_BINARY_DIR}/package/kovarConfigVersion.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/kovar")

# pkg-config: a static library hands on what it needs, a shared one keeps it to itself.
set(kovar_pc_requires "")
set(kovar_pc_libs "")
if(NOT BUILD_SHARED_LIBS)
  set(kovar_pc_requires "libhwy spdlog fmt libpng libjpeg zlib")
  set(kovar_pc_libs "-pthread")
  if(KOVAR_HAS_ONEDNN)
    string(PREPEND kovar_pc_libs "-L\${libdir}/kovar -l:libdnnl.so.3 -Wl,-rpath,\${libdir}/kovar -lgomp ")
  endif()
endif()
# From lib/pkgconfig up to the prefix, however deep the library folder is.
file(RELATIVE_PATH kovar_pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" kovar_pc_up "${kovar_pc_up}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/kovar.pc.in" "${PROJECT_BINARY_DIR}/package/kovar.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/kovar.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
