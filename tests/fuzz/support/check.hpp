#pragma once
// What every fuzzer demands of a reader, besides not crashing.

#include <cstdio>
#include <cstdlib>

#include "base/result.hpp"

namespace kovar::fuzz {

/// Ends the program, which is how a fuzzer reports a find, unless `holds`.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// A refusal is one line of text.
template <class T>
void requireOneLine(const base::Result<T>& result) {
  if (result.ok()) return;
  const std::string& text = result.failure().text;
  require(!text.empty() && text.find('\n') == std::string::npos, "a failure is one line");
}

}  // namespace kovar::fuzz
