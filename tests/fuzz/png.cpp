// PNG, as it is and with the checksums of its chunks put right: otherwise almost every mutation ends at a checksum.

#include <zlib.h>

#include <utility>

#include "fuzz/support/picture.hpp"

namespace {

std::uint32_t bigEndian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

kovar::base::io::Bytes withRightChecksums(kovar::base::io::Bytes bytes) {
  std::size_t at = 8;  // behind the signature: length, type, data, checksum
  while (bytes.size() - at >= 12) {
    const std::size_t length = bigEndian(&bytes[at]);
    if (length > bytes.size() - at - 12) break;
    const uLong checksum = crc32(0, &bytes[at + 4], static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i)
      bytes[at + 8 + length + i] = static_cast<std::uint8_t>(checksum >> (24 - 8 * i));
    at += 12 + length;
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kovar;
  fuzz::checkPicture(base::io::decodePng({data, size}, "input", fuzz::kPictureLimits));
  if (size < 8) return 0;
  const base::io::Bytes repaired = withRightChecksums({data, data + size});
  fuzz::checkPicture(base::io::decodePng(repaired, "input", fuzz::kPictureLimits));
  return 0;
}
