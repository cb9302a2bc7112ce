// Devices that test programs can be pointed at with KOVAR_TEST_DEVICE, beside those of the library:
//   distant, distant:1   memory that the host cannot reach, work that runs late (offset_device.hpp)
//   emulated             the CUDA back end's own code, run by tests/emulation (builds without CUDA)

#include "base/edge.hpp"
#include "devices/offset_device.hpp"
#include "runtime/device_registry.hpp"
#ifdef KOVAR_EMULATED_CUDA
#include "backend/cuda/backend.hpp"
#endif

namespace {

[[maybe_unused]] const bool kAdded = [] {
  kovar::rt::addDevice("distant", kovar::test::makeOffsetDevice);
  kovar::rt::addDevice("distant:1", kovar::test::makeOffsetDevice);
#ifdef KOVAR_EMULATED_CUDA
  kovar::rt::addDevice("emulated", [] { return kovar::base::unwrap(kovar::cuda::makeCudaBackend(0)); });
#endif
  return true;
}();

}  // namespace
