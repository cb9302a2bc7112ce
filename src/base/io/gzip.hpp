#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/io/file.hpp"

namespace kovar::base::io {

/// True when the bytes begin like a gzip file.
bool isGzip(std::span<const std::uint8_t> bytes);

/// The content of a gzip file, all members of it, refused when it unpacks to more than `limit` bytes: a few bytes of
/// input cannot fill the memory. `name` is what messages call the input.
Result<Bytes> gunzip(std::span<const std::uint8_t> bytes, std::uint64_t limit, std::string_view name);

}  // namespace kovar::base::io
