#pragma once
// What we need of oneDNN beside its primitives. The library may be absent from a build.

#include <string>

namespace kovar::cpu {

/// "3.2.0", or empty in a build without oneDNN.
std::string dnnlVersion();

}  // namespace kovar::cpu
