// libpng reports errors by longjmp, which must not leap over C++ objects with destructors. So every call of libpng is
// made from a function of plain variables only, which works on a structure that lives outside of it.
#include <png.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "base/io/picture.hpp"
#include "base/io/picture_limits.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

struct Reading {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::uint8_t> rest;
  char error[200] = "unknown fault";
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int channels = 0;
  std::vector<png_bytep> rows;

  ~Reading() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct Writing {
  png_structp png = nullptr;
  png_infop info = nullptr;
  Bytes out;
  char error[200] = "unknown fault";
  std::vector<png_bytep> rows;

  ~Writing() { png_destroy_write_struct(&png, &info); }
};

template <class State>
[[noreturn]] void onError(png_structp png, png_const_charp message) {
  State& state = *static_cast<State*>(png_get_error_ptr(png));
  std::snprintf(state.error, sizeof state.error, "%s", message);
  png_longjmp(png, 1);
}

void onWarning(png_structp, png_const_charp) {}  // what can be decoded is decoded

void onRead(png_structp png, png_bytep out, std::size_t size) {
  Reading& state = *static_cast<Reading*>(png_get_io_ptr(png));
  if (size > state.rest.size()) png_error(png, "the file ends too early; is it cut short?");
  std::memcpy(out, state.rest.data(), size);
  state.rest = state.rest.subspan(size);
}

// Appends; false instead of an exception, which must not pass through libpng.
bool append(Bytes& out, png_const_bytep bytes, std::size_t size) noexcept {
  try {
    out.insert(out.end(), bytes, bytes + size);
    return true;
  } catch (...) {
    return false;
  }
}

void onWrite(png_structp png, png_bytep bytes, std::size_t size) {
  if (!append(static_cast<Writing*>(png_get_io_ptr(png))->out, bytes, size)) png_error(png, "out of memory");
}

bool readHead(Reading& state) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_read_fn(state.png, &state, onRead);
  // Of the optional chunks only tRNS changes pixels. The others are skipped: libpng would take all the memory that a
  // text chunk says it has or unpacks to.
  png_set_keep_unknown_chunks(state.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_user_limits(state.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // our own limits say it in our own words
  png_read_info(state.png, state.info);
  state.width = png_get_image_width(state.png, state.info);
  state.height = png_get_image_height(state.png, state.info);
  return true;
}

// Takes memory for rows, so the size must have been checked.
bool prepare(Reading& state) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_expand(state.png);  // palettes, fewer than 8 bits, transparent colours
  png_set_scale_16(state.png);
  (void)png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  state.channels = png_get_channels(state.png, state.info);
  return true;
}

bool readRows(Reading& state) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_read_image(state.png, state.rows.data());
  png_read_end(state.png, nullptr);
  return true;
}

bool writeAll(Writing& state, png_uint_32 width, png_uint_32 height, int colourType) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_write_fn(state.png, &state, onWrite, nullptr);
  png_set_IHDR(state.png, state.info, width, height, 8, colourType, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_set_rows(state.png, state.info, state.rows.data());
  png_write_png(state.png, state.info, PNG_TRANSFORM_IDENTITY, nullptr);
  return true;
}

int colourTypeOf(int channels) {
  switch (channels) {
    case 1:
      return PNG_COLOR_TYPE_GRAY;
    case 2:
      return PNG_COLOR_TYPE_GRAY_ALPHA;
    case 3:
      return PNG_COLOR_TYPE_RGB;
    default:
      return PNG_COLOR_TYPE_RGB_ALPHA;
  }
}

std::vector<png_bytep> rowsOf(std::uint8_t* pixels, std::size_t height, std::size_t rowBytes) {
  std::vector<png_bytep> rows(height);
  for (std::size_t y = 0; y < height; ++y) rows[y] = pixels + y * rowBytes;
  return rows;
}

}  // namespace

Result<Picture> decodePng(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& limits) {
  Reading state;
  const auto failure = [&] { return Failure{concat("cannot read ", inQuotes(name), " as PNG: ", state.error)}; };
  state.rest = bytes;
  state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, onError<Reading>, onWarning);
  if (state.png != nullptr) state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) return failure();
  if (!readHead(state)) return failure();
  KOVAR_TRY(checkPictureSize(state.width, state.height, 1, name, limits));
  if (!prepare(state)) return failure();
  const auto channels = static_cast<std::uint64_t>(state.channels);
  KOVAR_TRY(checkPictureSize(state.width, state.height, channels, name, limits));
  Picture picture{static_cast<int>(state.width), static_cast<int>(state.height), state.channels, {}};
  picture.pixels.resize(static_cast<std::size_t>(channels * state.width * state.height));
  state.rows = rowsOf(picture.pixels.data(), state.height, static_cast<std::size_t>(channels * state.width));
  if (!readRows(state)) return failure();
  return picture;
}

Result<Bytes> encodePng(const Picture& picture) {
  const auto width = static_cast<std::uint64_t>(picture.width);
  const auto height = static_cast<std::uint64_t>(picture.height);
  const auto channels = static_cast<std::uint64_t>(picture.channels);
  if (picture.width <= 0 || picture.height <= 0 || picture.channels < 1 || picture.channels > 4 ||
      width * channels > PNG_UINT_31_MAX || width * height * channels != picture.pixels.size()) {
    return Failure{concat("cannot write a picture of ", picture.width, " x ", picture.height, " pixels, ",
                          picture.channels, " channels and ", picture.pixels.size(), " samples as PNG")};
  }
  Writing state;
  const auto failure = [&] { return Failure{concat("cannot write a picture as PNG: ", state.error)}; };
  state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, onError<Writing>, onWarning);
  if (state.png != nullptr) state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) return failure();
  // libpng wants rows it could change, and does not.
  state.rows = rowsOf(const_cast<std::uint8_t*>(picture.pixels.data()), static_cast<std::size_t>(height),
                      static_cast<std::size_t>(width * channels));
  if (!writeAll(state, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
                colourTypeOf(picture.channels))) {
    return failure();
  }
  return std::move(state.out);
}

}  // namespace kovar::base::io
