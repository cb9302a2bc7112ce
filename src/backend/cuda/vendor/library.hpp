#pragma once
// NVIDIA's libraries, loaded when the program runs: a machine without them works, with our own slower kernels.

#include <initializer_list>
#include <string>

#include "base/result.hpp"

namespace kovar::cuda {

/// A shared library that stays loaded.
class Library {
 public:
  /// The first of these names that the system's loader finds (LD_LIBRARY_PATH, the system's folders).
  static base::Result<Library> open(std::initializer_list<const char*> names);

  /// Fills a function pointer; fails when the library does not have it.
  template <class F>
  base::Status find(F*& function, const char* name) const {
    KOVAR_TRY_ASSIGN(void* const address, symbol(name));
    function = reinterpret_cast<F*>(address);
    return {};
  }

 private:
  base::Result<void*> symbol(const char* name) const;

  void* handle_ = nullptr;
  std::string name_;
};

}  // namespace kovar::cuda
