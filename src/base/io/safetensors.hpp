#pragma once
// safetensors: named tensors behind a JSON header. The bytes hold no code and are checked before any of them is used.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/file.hpp"
#include "base/result.hpp"

namespace kovar::base::io {

enum class TensorType { Bool, U8, I8, F8E4M3, F8E5M2, I16, U16, F16, BF16, I32, U32, F32, I64, U64, F64 };

/// As the format spells it: "F32".
std::string_view nameOf(TensorType type);
/// Bytes of one element.
std::uint64_t sizeOf(TensorType type);

using TensorShape = std::vector<std::int64_t>;

/// What the header says about one tensor. Elements lie in C order, little-endian.
struct TensorInfo {
  std::string name;
  TensorType type = TensorType::F32;
  TensorShape shape;         ///< empty for a scalar
  std::uint64_t offset = 0;  ///< from the first byte after the header
  std::uint64_t bytes = 0;
};

/// A safetensors file or its bytes in memory. Opening reads and checks the header only, tensors are read when they are
/// asked for. Accepted is what the format allows: a header of at most 100 MB, no name twice, shapes and types that
/// agree with the offsets, tensors that cover the data without gap or overlap. Thread-safe once made.
class Safetensors {
 public:
  static constexpr std::uint64_t kHeaderLimit = 100'000'000;

  static Result<Safetensors> open(const std::string& path);
  /// `name` is what messages call the bytes.
  static Result<Safetensors> parse(Bytes bytes, std::string name);

  /// The path or name given, for messages.
  const std::string& name() const { return name_; }
  /// In the order of their data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Null when there is none of this name.
  const TensorInfo* find(std::string_view tensor) const;

  /// The tensor's bytes into `out`, which must have exactly its size.
  Status read(const TensorInfo& tensor, std::span<std::uint8_t> out) const;

  /// The elements of a tensor of the wanted shape; F32, or F16 and BF16, which are widened exactly.
  /// Fails when the tensor is missing or of another shape or type.
  Result<std::vector<float>> floats(std::string_view tensor, const TensorShape& wanted) const;
  /// The same for exactly U8, I64 and U64.
  Result<std::vector<std::uint8_t>> bytes(std::string_view tensor, const TensorShape& wanted) const;
  Result<std::vector<std::int64_t>> integers(std::string_view tensor, const TensorShape& wanted) const;
  Result<std::vector<std::uint64_t>> unsignedIntegers(std::string_view tensor, const TensorShape& wanted) const;

 private:
  Safetensors() = default;
  Status readHeader(std::uint64_t size);
  Status readAt(std::uint64_t position, std::span<std::uint8_t> out) const;
  Result<const TensorInfo*> require(std::string_view tensor, const TensorShape& wanted) const;
  Failure wrongType(const TensorInfo& tensor, std::string_view wanted) const;
  template <class T>
  Result<std::vector<T>> exactly(std::string_view tensor, const TensorShape& wanted, TensorType type) const;

  std::string name_;
  std::optional<FileReader> file_;  // one of the two holds the bytes
  Bytes memory_;
  std::uint64_t dataStart_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::size_t, std::less<>> byName_;
  std::map<std::string, std::string> metadata_;
};

/// Collects tensors and writes them as one file. The same tensors and metadata give the same bytes, in whatever order
/// they were added. Holds views: the elements must live until save() or bytes() returns.
class SafetensorsWriter {
 public:
  /// Refused: a name given twice, `__metadata__` as a name, names that are not UTF-8, a negative size, and a number of
  /// bytes that differs from shape and type.
  Status add(std::string name, TensorType type, TensorShape shape, std::span<const std::uint8_t> data);
  Status add(std::string name, TensorShape shape, std::span<const float> data);
  Status add(std::string name, TensorShape shape, std::span<const std::int64_t> data);
  Status add(std::string name, TensorShape shape, std::span<const std::uint64_t> data);
  /// Replaces what the key held before. Refused: texts that are not UTF-8.
  Status setMetadata(std::string key, std::string value);

  /// Writes the file whole or not at all.
  Status save(const std::string& path) const;
  Bytes bytes() const;

 private:
  struct Entry {
    TensorType type;
    TensorShape shape;
    std::span<const std::uint8_t> data;
  };
  using Entries = std::map<std::string, Entry>;

  std::vector<Entries::const_iterator> inFileOrder() const;
  std::string head(const std::vector<Entries::const_iterator>& order) const;

  Entries entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace kovar::base::io
