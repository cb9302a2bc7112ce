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
    # Under a name of our own, which the installed package defines too: a user's other oneDNN is then left alone.
    add_library(kovar::onednn SHARED IMPORTED GLOBAL)
    set_target_properties(
      kovar::onednn
      PROPERTIES IMPORTED_LOCATION "${KOVAR_DEPS_DIR}/onednn/lib/libdnnl.so.3"
                 IMPORTED_SONAME libdnnl.so.3
                 INTERFACE_INCLUDE_DIRECTORIES "${KOVAR_DEPS_DIR}/onednn/include")
  else()
    message(STATUS "kovar: no oneDNN in ${KOVAR_DEPS_DIR}/onednn: building with our own kernels (scripts/deps fetches it)")
  endif()
endif()

if(KOVAR_WITH_CUDA)
  # Machine code for Hopper, and PTX that newer GPUs translate when the program starts.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  find_package(CUDAToolkit 13 REQUIRED)
  # Headers alone: the libraries are found when the program runs.
  find_path(KOVAR_CUDNN_INCLUDE cudnn_backend.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(NOT KOVAR_CUDNN_INCLUDE)
    message(FATAL_ERROR "KOVAR_WITH_CUDA=ON: cudnn_backend.h was not found; install cuDNN 9's headers (package cudnn9-cuda-13) "
                        "or set KOVAR_CUDNN_INCLUDE to their folder")
  endif()
endif()
