#include "base/io/safetensors.hpp"

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/io/safetensors_header.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

static_assert(std::endian::native == std::endian::little, "the elements are copied as they are");

constexpr std::uint64_t kLengthBytes = 8;

float widenedBFloat16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

float widenedFloat16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = bits >> 10 & 31u;
  const std::uint32_t mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

Result<Safetensors> Safetensors::open(const std::string& path) {
  KOVAR_TRY_ASSIGN(FileReader file, FileReader::open(path));
  Safetensors out;
  out.name_ = path;
  const std::uint64_t size = file.size();
  out.file_.emplace(std::move(file));
  KOVAR_TRY(out.readHeader(size));
  return out;
}

Result<Safetensors> Safetensors::parse(Bytes bytes, std::string name) {
  Safetensors out;
  out.name_ = std::move(name);
  out.memory_ = std::move(bytes);
  KOVAR_TRY(out.readHeader(out.memory_.size()));
  return out;
}

Status Safetensors::readAt(std::uint64_t position, std::span<std::uint8_t> out) const {
  if (file_) return file_->read(position, out);
  if (!out.empty()) std::memcpy(out.data(), memory_.data() + position, out.size());
  return {};
}

Status Safetensors::readHeader(std::uint64_t size) {
  const std::string prefix = concat("cannot read ", inQuotes(name_), " as safetensors: ");
  if (size < kLengthBytes) return Failure{concat(prefix, "it has ", size, " bytes, wanted a header length of 8 bytes")};
  std::uint64_t length = 0;
  KOVAR_TRY(readAt(0, std::span(reinterpret_cast<std::uint8_t*>(&length), kLengthBytes)));
  if (length > kHeaderLimit) {
    return Failure{concat(prefix, "its header would have ", length, " bytes, wanted at most ", kHeaderLimit,
                          "; it is probably another kind of file")};
  }
  if (length > size - kLengthBytes) {
    return Failure{concat(prefix, "its header has ", length, " bytes, the file ends after ", size - kLengthBytes,
                          "; is it cut short?")};
  }
  std::string json(static_cast<std::size_t>(length), '\0');
  KOVAR_TRY(readAt(kLengthBytes, std::span(reinterpret_cast<std::uint8_t*>(json.data()), json.size())));
  if (!json.starts_with('{')) return Failure{prefix + "its header does not begin with '{'; it is another kind of file"};
  dataStart_ = kLengthBytes + length;
  KOVAR_TRY_ASSIGN(SafetensorsHeader header, parseSafetensorsHeader(json, size - dataStart_, name_));
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
  for (std::size_t i = 0; i < tensors_.size(); ++i) byName_.emplace(tensors_[i].name, i);
  return {};
}

const TensorInfo* Safetensors::find(std::string_view tensor) const {
  const auto found = byName_.find(tensor);
  return found == byName_.end() ? nullptr : &tensors_[found->second];
}

Status Safetensors::read(const TensorInfo& tensor, std::span<std::uint8_t> out) const {
  if (out.size() != tensor.bytes) {
    return Failure{concat("tensor ", inQuotes(tensor.name), " of ", inQuotes(name_), " has ", tensor.bytes,
                          " bytes, the place for it has ", out.size())};
  }
  return readAt(dataStart_ + tensor.offset, out);
}

Result<const TensorInfo*> Safetensors::require(std::string_view tensor, const TensorShape& wanted) const {
  const TensorInfo* found = find(tensor);
  if (found == nullptr) {
    return Failure{
        concat(inQuotes(name_), " has no tensor ", inQuotes(tensor), "; is it the file of another network?")};
  }
  if (found->shape != wanted) {
    return Failure{concat("tensor ", inQuotes(tensor), " of ", inQuotes(name_), " has shape ", listed(found->shape),
                          ", wanted ", listed(wanted))};
  }
  return found;
}

Failure Safetensors::wrongType(const TensorInfo& tensor, std::string_view wanted) const {
  return {concat("tensor ", inQuotes(tensor.name), " of ", inQuotes(name_), " has type ", nameOf(tensor.type),
                 ", wanted ", wanted)};
}

template <class T>
Result<std::vector<T>> Safetensors::exactly(std::string_view tensor, const TensorShape& wanted, TensorType type) const {
  KOVAR_TRY_ASSIGN(const TensorInfo* info, require(tensor, wanted));
  if (info->type != type) return wrongType(*info, nameOf(type));
  std::vector<T> out(static_cast<std::size_t>(info->bytes / sizeof(T)));
  KOVAR_TRY(read(*info, std::span(reinterpret_cast<std::uint8_t*>(out.data()), out.size() * sizeof(T))));
  return out;
}

Result<std::vector<float>> Safetensors::floats(std::string_view tensor, const TensorShape& wanted) const {
  KOVAR_TRY_ASSIGN(const TensorInfo* info, require(tensor, wanted));
  if (info->type == TensorType::F32) return exactly<float>(tensor, wanted, TensorType::F32);
  if (info->type != TensorType::F16 && info->type != TensorType::BF16) return wrongType(*info, "F32, F16 or BF16");
  KOVAR_TRY_ASSIGN(const std::vector<std::uint16_t> narrow, exactly<std::uint16_t>(tensor, wanted, info->type));
  std::vector<float> out;
  out.reserve(narrow.size());
  for (const std::uint16_t bits : narrow) {
    out.push_back(info->type == TensorType::F16 ? widenedFloat16(bits) : widenedBFloat16(bits));
  }
  return out;
}

Result<std::vector<std::uint8_t>> Safetensors::bytes(std::string_view tensor, const TensorShape& wanted) const {
  return exactly<std::uint8_t>(tensor, wanted, TensorType::U8);
}

Result<std::vector<std::int64_t>> Safetensors::integers(std::string_view tensor, const TensorShape& wanted) const {
  return exactly<std::int64_t>(tensor, wanted, TensorType::I64);
}

Result<std::vector<std::uint64_t>> Safetensors::unsignedIntegers(std::string_view tensor,
                                                                 const TensorShape& wanted) const {
  return exactly<std::uint64_t>(tensor, wanted, TensorType::U64);
}

}  // namespace kovar::base::io
