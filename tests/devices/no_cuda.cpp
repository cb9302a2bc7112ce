// In place of the emulation (KOVAR_EMULATE_CUDA off): there is no CUDA device.
#include "backend/cuda/backend.hpp"

namespace kovar::cuda {

int deviceCount(std::string* why) {
  if (why) *why = "this build holds no CUDA back end";
  return 0;
}

base::Result<std::unique_ptr<prim::Backend>> makeCudaBackend(int) {
  return base::Failure{"this build holds no CUDA back end and does not emulate one; set KOVAR_EMULATE_CUDA"};
}

}  // namespace kovar::cuda
