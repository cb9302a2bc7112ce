#pragma once
// Which of NVIDIA's libraries are there.

#include <string>

namespace kovar::cuda {

/// Empty when the library was not found.
std::string cublasVersion();
std::string cudnnVersion();

}  // namespace kovar::cuda
