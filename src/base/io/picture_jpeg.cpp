// libjpeg reports errors through a function that must not return; we longjmp out of it. As with PNG, every call is made
// from a function of plain variables only, so that no C++ object is leapt over.
#include <algorithm>
#include <climits>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>

#include "base/io/picture.hpp"
#include "base/io/picture_limits.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

constexpr int kMostScans = 100;  // a progressive picture has about ten; each one costs a pass over all pixels

struct Reading {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf leave;
  char error[JMSG_LENGTH_MAX] = "unknown fault";

  ~Reading() { jpeg_destroy_decompress(&jpeg); }
};

Reading& readingOf(j_common_ptr jpeg) { return *static_cast<Reading*>(jpeg->client_data); }

[[noreturn]] void onError(j_common_ptr jpeg) {
  Reading& state = readingOf(jpeg);
  jpeg->err->format_message(jpeg, state.error);
  std::longjmp(state.leave, 1);
}

// Damaged data are reported as warnings of level -1: libjpeg would go on with gray or torn pixels. Some warnings say
// nothing about the pixels, and cameras write such files.
void onMessage(j_common_ptr jpeg, int level) {
  const int code = jpeg->err->msg_code;
  const bool harmless = code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR;
  if (level < 0 && !harmless) onError(jpeg);
}

void onProgress(j_common_ptr jpeg) {
  const auto* state = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (state->input_scan_number <= kMostScans) return;
  std::snprintf(readingOf(jpeg).error, JMSG_LENGTH_MAX, "it has more than %d scans", kMostScans);
  std::longjmp(readingOf(jpeg).leave, 1);
}

bool readHead(Reading& state, const std::uint8_t* bytes, unsigned long size, std::size_t mostMemory) {
  if (setjmp(state.leave)) return false;
  jpeg_create_decompress(&state.jpeg);
  state.jpeg.client_data = &state;
  state.jpeg.progress = &state.progress;
  state.jpeg.mem->max_memory_to_use = static_cast<long>(mostMemory);
  jpeg_mem_src(&state.jpeg, bytes, size);
  jpeg_read_header(&state.jpeg, TRUE);
  return true;
}

bool start(Reading& state, J_COLOR_SPACE space) {
  if (setjmp(state.leave)) return false;
  state.jpeg.out_color_space = space;
  jpeg_start_decompress(&state.jpeg);
  return true;
}

bool readRows(Reading& state, std::uint8_t* pixels, std::size_t rowBytes) {
  if (setjmp(state.leave)) return false;
  while (state.jpeg.output_scanline < state.jpeg.output_height) {
    JSAMPROW row = pixels + state.jpeg.output_scanline * rowBytes;
    jpeg_read_scanlines(&state.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&state.jpeg);
  return true;
}

}  // namespace

Result<Picture> decodeJpeg(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& limits) {
  Reading state;
  const auto failure = [&] { return Failure{concat("cannot read ", inQuotes(name), " as JPEG: ", state.error)}; };
  state.jpeg.err = jpeg_std_error(&state.errors);
  state.errors.error_exit = onError;
  state.errors.emit_message = onMessage;
  state.progress.progress_monitor = onProgress;
  state.jpeg.client_data = &state;
  if (bytes.empty()) return Failure{concat("cannot read ", inQuotes(name), " as JPEG: it is empty")};
  // Progressive pictures are kept whole as 16-bit coefficients.
  const auto mostMemory = static_cast<std::size_t>(std::min<std::uint64_t>(limits.pixelBytes, LONG_MAX / 4) * 4);
  if (!readHead(state, bytes.data(), bytes.size(), mostMemory)) return failure();
  const int components = state.jpeg.num_components;
  if (components != 1 && components != 3) {
    return Failure{concat("cannot read ", inQuotes(name), " as JPEG: it has ", components,
                          " colour components, wanted gray or RGB; convert it first")};
  }
  const auto channels = static_cast<std::size_t>(components);
  KOVAR_TRY(checkPictureSize(state.jpeg.image_width, state.jpeg.image_height, channels, name, limits));
  if (!start(state, components == 1 ? JCS_GRAYSCALE : JCS_RGB)) return failure();
  Picture picture{
      static_cast<int>(state.jpeg.output_width), static_cast<int>(state.jpeg.output_height), components, {}};
  const std::size_t rowBytes = channels * state.jpeg.output_width;
  picture.pixels.resize(rowBytes * state.jpeg.output_height);
  if (!readRows(state, picture.pixels.data(), rowBytes)) return failure();
  return picture;
}

}  // namespace kovar::base::io
