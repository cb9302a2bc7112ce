#pragma once
// The one place where a Failure becomes an exception: the public edge.

#include <string>
#include <utility>

#include "base/result.hpp"
#include "kovar/Error.hpp"

namespace kovar::base {

[[noreturn]] inline void raise(const std::string& text) { throw Error(text); }

template <class T>
T unwrap(Result<T> result) {
  if (!result.ok()) raise(result.failure().text);
  return std::move(*result);
}

inline void unwrap(const Status& status) {
  if (!status.ok()) raise(status.failure().text);
}

}  // namespace kovar::base
