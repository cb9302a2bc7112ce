# What libkovar links. All of it is private: no public header names any of these libraries.
# scripts/deps installs them; docs/building.md lists them.

find_package(Threads REQUIRED)
find_package(hwy CONFIG REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(ZLIB REQUIRED)

# Distributions carry an older oneDNN with another interface, so only our own copy is looked at.
set(KOVAR_HAS_ONEDNN 0)
if(KOVAR_WITH_ONEDNN AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  find_package(dnnl 3.2 CONFIG QUIET PATHS "${KOVAR_DEPS_DIR}/onednn" NO_DEFAULT_PATH)
  if(dnnl_FOUND)
    set(KOVAR_HAS_ONEDNN 1)
    message(STATUS "kovar: oneDNN ${dnnl_VERSION} in ${KOVAR_DEPS_DIR}/onednn")
  else()
    message(STATUS "kovar: no oneDNN in ${KOVAR_DEPS_DIR}/onednn: building with our own kernels only (scripts/deps fetches it)")
  endif()
endif()
