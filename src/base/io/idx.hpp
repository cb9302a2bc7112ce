#pragma once
// IDX, the format of MNIST and its kin: a magic number (type and rank), sizes as 32-bit big-endian numbers, values.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/file.hpp"

namespace kovar::base::io {

/// Unsigned bytes in up to four dimensions, the last one varying fastest.
struct IdxArray {
  std::vector<std::int64_t> shape;
  Bytes values;
};

/// The most that is unpacked from one file: 22 times the size of MNIST's training images.
inline constexpr std::uint64_t kIdxLimit = std::uint64_t{1} << 30;

/// Reads IDX bytes, packed with gzip or plain. Refused: another magic number or element type, more than four
/// dimensions, fewer or more values than the sizes say. `name` is what messages call the input.
Result<IdxArray> parseIdx(std::span<const std::uint8_t> bytes, std::string_view name, std::uint64_t limit = kIdxLimit);

/// The same from a file.
Result<IdxArray> readIdx(const std::string& path, std::uint64_t limit = kIdxLimit);

/// Pictures and the class of each.
struct LabelledImages {
  std::int64_t count = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  Bytes pixels;  ///< count x height x width, one channel
  Bytes labels;  ///< count values in [0, classes)
};

/// Reads an image file (three dimensions) and a label file (one dimension) that belong together. Refused besides what
/// readIdx refuses: the two swapped, different counts, empty pictures, a label that is not below `classes`.
Result<LabelledImages> readLabelledImages(const std::string& imagesPath, const std::string& labelsPath, int classes);

}  // namespace kovar::base::io
