#pragma once
// Small helpers for the texts of failures, which are one line whatever a file or its name holds.

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace kovar::base::io {

/// All arguments, one after the other, as text.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// `text` between single quotes, fit for one line: control characters become `?`, long texts lose their middle.
std::string inQuotes(std::string_view text);

/// `[2, 3, 5]`
template <class Integer>
std::string listed(const std::vector<Integer>& values) {
  std::ostringstream out;
  out << '[';
  for (std::size_t i = 0; i < values.size(); ++i) out << (i == 0 ? "" : ", ") << values[i];
  out << ']';
  return out.str();
}

}  // namespace kovar::base::io
