#pragma once
// What the operating system says about this machine, as far as the CPU device wants to know.

#include <cstddef>
#include <string>

namespace kovar::cpu {

/// The processor's name for people, e.g. "AMD EPYC"; the architecture where the system does not tell.
std::string processorName();
/// Bytes of memory this process may use: the machine's, or its cgroup's limit where that is lower.
std::size_t memoryBytes();
/// Threads this process may run at once: processors it may be scheduled on, at most its cgroup's quota rounded up.
int usableProcessors();

}  // namespace kovar::cpu
