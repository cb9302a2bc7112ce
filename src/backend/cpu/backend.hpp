#pragma once
// The CPU as a device.

#include <memory>

#include "prim/backend.hpp"

namespace kovar::cpu {

/// Makes the CPU device with `threads` threads, the caller of enqueue() counted. 0 or less: the environment variable
/// KOVAR_THREADS, else as many as this process may run on (its affinity and its cgroup's quota).
/// enqueue() returns when the work is done; several streams may be used from several threads at once.
std::unique_ptr<prim::Backend> makeCpuBackend(int threads);

/// The number of threads that makeCpuBackend(0) takes.
int defaultThreadCount();

}  // namespace kovar::cpu
