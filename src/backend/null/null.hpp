#pragma once
// A device that plans everything and computes nothing: for tests of lifetimes, order and shapes, and a stub to copy.

#include <memory>

#include "prim/backend.hpp"

namespace kovar::null_device {

/// Memory is real host memory. prepare() checks the arguments and then always says yes, with implementation
/// "null:<family>"; enqueue() does nothing, except that it runs the functions of Call primitives.
std::unique_ptr<prim::Backend> makeNullBackend();

}  // namespace kovar::null_device
