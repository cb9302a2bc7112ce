#pragma once
// NVIDIA GPUs through CUDA.

#include <memory>
#include <string>

#include "prim/backend.hpp"

namespace kovar::cuda {

/// How many GPUs the driver shows: 0 without a driver, `why` then says why (one line).
int deviceCount(std::string* why = nullptr);

/// The back end of GPU number `ordinal`. Fails when there is no such GPU, or it is older than compute capability 7.0.
base::Result<std::unique_ptr<prim::Backend>> makeCudaBackend(int ordinal);

}  // namespace kovar::cuda
