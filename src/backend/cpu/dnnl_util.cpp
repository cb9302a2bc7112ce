#include "backend/cpu/dnnl_util.hpp"

#if KOVAR_HAS_ONEDNN
#include <dnnl.h>
#endif

namespace kovar::cpu {

std::string dnnlVersion() {
#if KOVAR_HAS_ONEDNN
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
#else
  return {};
#endif
}

}  // namespace kovar::cpu
