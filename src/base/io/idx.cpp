#include "base/io/idx.hpp"

#include <algorithm>
#include <utility>

#include "base/io/gzip.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

constexpr std::uint8_t kUnsignedByte = 0x08;
constexpr std::size_t kMostDimensions = 4;

const char* elementName(std::uint8_t code) {
  switch (code) {
    case kUnsignedByte:
      return "unsigned bytes";
    case 0x09:
      return "signed bytes";
    case 0x0b:
      return "16-bit integers";
    case 0x0c:
      return "32-bit integers";
    case 0x0d:
      return "32-bit floats";
    case 0x0e:
      return "64-bit floats";
    default:
      return nullptr;
  }
}

std::uint32_t bigEndian(std::span<const std::uint8_t> bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

Failure notIdx(std::string_view name, const std::string& why) {
  return {concat("cannot read ", inQuotes(name), " as IDX: ", why)};
}

// Takes the bytes over: a training set is large, and its values need not exist twice.
Result<IdxArray> parsePlain(Bytes owned, std::string_view name, std::uint64_t limit) {
  const std::span<const std::uint8_t> bytes = owned;
  if (bytes.size() < 4) return notIdx(name, concat("it has ", bytes.size(), " bytes, wanted a header of at least 4"));
  const char* element = elementName(bytes[2]);
  const std::size_t rank = bytes[3];
  if (bytes[0] != 0 || bytes[1] != 0 || element == nullptr || rank == 0) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string magic;
    for (std::size_t i = 0; i < 4; ++i) {
      magic += kDigits[bytes[i] >> 4];
      magic += kDigits[bytes[i] & 15];
    }
    return notIdx(name, "the magic number is 0x" + magic + ", wanted 0x00000801 (labels) or 0x00000803 (images)");
  }
  if (bytes[2] != kUnsignedByte) return notIdx(name, concat("it holds ", element, ", wanted unsigned bytes"));
  if (rank > kMostDimensions)
    return notIdx(name, concat("it has ", rank, " dimensions, wanted 1 to ", kMostDimensions));
  const std::size_t header = 4 + 4 * rank;
  if (bytes.size() < header) {
    return notIdx(name, concat("it ends inside its header: ", bytes.size(), " of ", header, " bytes"));
  }
  IdxArray array;
  std::uint64_t wanted = 1;
  bool tooLarge = false;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::uint32_t size = bigEndian(bytes.subspan(4 + 4 * i));
    array.shape.push_back(size);
    // With zero somewhere the product is zero, however large the others are.
    tooLarge = tooLarge || (size != 0 && wanted > limit / size);
    if (!tooLarge) wanted *= size;
  }
  if (std::find(array.shape.begin(), array.shape.end(), 0) != array.shape.end()) {
    wanted = 0;
  } else if (tooLarge) {
    return notIdx(name,
                  concat("its sizes ", listed(array.shape), " stand for more than the limit of ", limit, " bytes"));
  }
  const std::uint64_t given = bytes.size() - header;
  if (given != wanted) {
    return notIdx(name, concat("its sizes ", listed(array.shape), " want ", wanted, " values, the file has ", given,
                               given < wanted ? "; is it cut short?" : "; what follows them does not belong there"));
  }
  owned.erase(owned.begin(), owned.begin() + static_cast<std::ptrdiff_t>(header));
  array.values = std::move(owned);
  return array;
}

std::uint64_t withHeader(std::uint64_t limit) {
  constexpr std::uint64_t kHeader = 4 + 4 * kMostDimensions;
  return limit + std::min(kHeader, UINT64_MAX - limit);
}

}  // namespace

Result<IdxArray> parseIdx(std::span<const std::uint8_t> bytes, std::string_view name, std::uint64_t limit) {
  if (!isGzip(bytes)) return parsePlain(Bytes(bytes.begin(), bytes.end()), name, limit);
  KOVAR_TRY_ASSIGN(Bytes plain, gunzip(bytes, withHeader(limit), name));
  return parsePlain(std::move(plain), name, limit);
}

Result<IdxArray> readIdx(const std::string& path, std::uint64_t limit) {
  KOVAR_TRY_ASSIGN(Bytes bytes, readFile(path, withHeader(limit)));
  if (!isGzip(bytes)) return parsePlain(std::move(bytes), path, limit);
  KOVAR_TRY_ASSIGN(Bytes plain, gunzip(bytes, withHeader(limit), path));
  return parsePlain(std::move(plain), path, limit);
}

Result<LabelledImages> readLabelledImages(const std::string& imagesPath, const std::string& labelsPath, int classes) {
  KOVAR_TRY_ASSIGN(IdxArray images, readIdx(imagesPath));
  KOVAR_TRY_ASSIGN(IdxArray labels, readIdx(labelsPath));
  if (images.shape.size() == 1 && labels.shape.size() == 3) {
    return Failure{concat("images and labels are swapped: ", inQuotes(imagesPath), " holds labels and ",
                          inQuotes(labelsPath), " holds images")};
  }
  if (images.shape.size() != 3) {
    return Failure{concat(inQuotes(imagesPath), " has shape ", listed(images.shape),
                          ", wanted images: [count, height, width]",
                          images.shape.size() == 1 ? "; is it the label file?" : "")};
  }
  if (labels.shape.size() != 1) {
    return Failure{concat(inQuotes(labelsPath), " has shape ", listed(labels.shape), ", wanted labels: [count]",
                          labels.shape.size() == 3 ? "; is it the image file?" : "")};
  }
  if (images.shape[0] != labels.shape[0]) {
    return Failure{concat(inQuotes(imagesPath), " has ", images.shape[0], " images but ", inQuotes(labelsPath), " has ",
                          labels.shape[0], " labels; do they belong together?")};
  }
  if (images.values.empty()) {
    return Failure{concat(inQuotes(imagesPath), " has shape ", listed(images.shape), ", wanted at least one pixel")};
  }
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    if (labels.values[i] >= classes) {
      return Failure{
          concat(inQuotes(labelsPath), " has label ", int{labels.values[i]}, " at ", i, ", wanted 0 to ", classes - 1)};
    }
  }
  LabelledImages out;
  out.count = images.shape[0];
  out.height = images.shape[1];
  out.width = images.shape[2];
  out.pixels = std::move(images.values);
  out.labels = std::move(labels.values);
  return out;
}

}  // namespace kovar::base::io
