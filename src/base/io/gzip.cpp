#include "base/io/gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "base/io/text.hpp"

namespace kovar::base::io {

bool isGzip(std::span<const std::uint8_t> bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

Result<Bytes> gunzip(std::span<const std::uint8_t> bytes, std::uint64_t limit, std::string_view name) {
  constexpr std::size_t kLargestStep = std::size_t{1} << 30;  // zlib counts in 32 bits
  constexpr int kGzipOnly = 15 + 16;                          // the largest window, and no other wrapper
  limit = std::min<std::uint64_t>(limit, PTRDIFF_MAX - 1);

  z_stream stream = {};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK)
    return Failure{concat("cannot unpack ", inQuotes(name), ": out of memory")};
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, &inflateEnd);

  Bytes out;
  // The last four bytes give the size of a single member: one allocation then does. They may lie, so they are believed
  // only as far as deflate can expand what is there, about 1032 times.
  if (bytes.size() >= 18) {
    const auto tail = bytes.last(4);
    const std::uint64_t said =
        tail[0] | std::uint64_t{tail[1]} << 8 | std::uint64_t{tail[2]} << 16 | std::uint64_t{tail[3]} << 24;
    out.resize(static_cast<std::size_t>(std::min({said + 1, std::uint64_t{1032} * bytes.size(), limit + 1})));
  }
  std::size_t filled = 0;
  std::size_t taken = 0;
  for (;;) {
    if (filled == out.size()) {
      if (filled > limit) {
        return Failure{concat("cannot unpack ", inQuotes(name), ": it holds more than the limit of ", limit, " bytes")};
      }
      const std::uint64_t larger = std::max<std::uint64_t>(std::uint64_t{2} * filled, 16384);
      out.resize(static_cast<std::size_t>(std::min(larger, limit + 1)));
    }
    const std::size_t input = std::min(bytes.size() - taken, kLargestStep);
    const std::size_t room = std::min(out.size() - filled, kLargestStep);
    stream.next_in = const_cast<Bytef*>(bytes.data() + taken);  // zlib reads only
    stream.avail_in = static_cast<uInt>(input);
    stream.next_out = out.data() + filled;
    stream.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream, Z_NO_FLUSH);
    taken += input - stream.avail_in;
    filled += room - stream.avail_out;
    if (code == Z_STREAM_END) {
      if (!isGzip(bytes.subspan(taken))) break;
      inflateReset(&stream);  // another member follows
    } else if (code == Z_MEM_ERROR) {
      return Failure{concat("cannot unpack ", inQuotes(name), ": out of memory")};
    } else if (code == Z_BUF_ERROR || (code == Z_OK && taken == bytes.size() && stream.avail_out != 0)) {
      return Failure{concat("cannot unpack ", inQuotes(name), ": the gzip data end after ", bytes.size(),
                            " bytes, before their own end; is the file cut short?")};
    } else if (code != Z_OK) {
      return Failure{concat("cannot unpack ", inQuotes(name), ": the gzip data are damaged near byte ", taken, " (",
                            stream.msg != nullptr ? stream.msg : "unknown fault", ")")};
    }
  }
  if (filled > limit) {
    return Failure{concat("cannot unpack ", inQuotes(name), ": it holds more than the limit of ", limit, " bytes")};
  }
  if (taken != bytes.size()) {
    return Failure{concat("cannot unpack ", inQuotes(name), ": ", bytes.size() - taken, " bytes follow the gzip data")};
  }
  out.resize(filled);
  return out;
}

}  // namespace kovar::base::io
