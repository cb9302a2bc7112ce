#include "backend/cuda/vendor/library.hpp"

#include <dlfcn.h>

namespace kovar::cuda {

base::Result<Library> Library::open(std::initializer_list<const char*> names) {
  std::string reasons;
  for (const char* name : names) {
    Library library;
    library.handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    library.name_ = name;
    if (library.handle_ != nullptr) return library;
    const char* why = dlerror();
    reasons += (reasons.empty() ? "" : "; ") + std::string(why != nullptr ? why : name);
  }
  return base::Failure{"not found on this machine (" + reasons + "); install it or set LD_LIBRARY_PATH"};
}

base::Result<void*> Library::symbol(const char* name) const {
  void* address = dlsym(handle_, name);
  if (address == nullptr) return base::Failure{name_ + " has no " + name + "; install a newer version"};
  return address;
}

}  // namespace kovar::cuda
