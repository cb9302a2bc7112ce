#pragma once
// A device whose memory the host cannot reach and whose work runs late, for tests on machines that have no such device:
// the processor's kernels behind addresses that fault, and a stream that collects work until somebody waits.

#include <memory>

#include "prim/backend.hpp"

namespace kovar::test {

std::unique_ptr<prim::Backend> makeOffsetDevice();

}  // namespace kovar::test
