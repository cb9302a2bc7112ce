#pragma once
// Channels as bits of 32-bit words.

#include <cstdint>

#include "maths/lane.hpp"

namespace kovar::maths {

/// Word `word` of a pixel with every bit set that stands for a channel.
KOVAR_LANE std::uint32_t channelBits(std::int64_t channels, std::int64_t word) {
  const std::int64_t left = channels - 32 * word;
  return left >= 32 ? ~0u : (1u << left) - 1u;
}

}  // namespace kovar::maths
