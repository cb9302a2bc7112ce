#pragma once
// The JSON header of safetensors, read event by event: nothing is built that the format does not allow.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/safetensors.hpp"

namespace kovar::base::io {

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< in the order of their data
  std::map<std::string, std::string> metadata;
};

/// Parses and checks a header against the `dataBytes` that follow it. Texts of failures start with `name`.
Result<SafetensorsHeader> parseSafetensorsHeader(std::string_view json, std::uint64_t dataBytes, std::string_view name);

/// Bytes of a tensor, or nothing when the number does not fit 63 bits or a size is negative.
std::optional<std::uint64_t> byteCount(TensorType type, const TensorShape& shape);

}  // namespace kovar::base::io
