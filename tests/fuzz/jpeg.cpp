// JPEG, and the choice of the form by content.

#include "fuzz/support/picture.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kovar;
  fuzz::checkPicture(base::io::decodeJpeg({data, size}, "input", fuzz::kPictureLimits));
  fuzz::requireOneLine(base::io::decodePicture({data, size}, "input", fuzz::kPictureLimits));
  return 0;
}
