// The format of archives. Header: magic, version, size and checksum of what follows. Then fields: a byte for the length
// of the name, the name, 8 bytes for the size, the value. An object is a field named "object" whose value is the length
// and text of its class's name, followed by the fields of its members.

#include "kovar/MPS/Core/Archive.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/edge.hpp"

namespace kovar::MPS {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::array<char, 8> kMagic{'K', 'o', 'v', 'a', 'r', 'A', 'r', 'c'};
constexpr std::uint64_t kVersion = 1;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint64_t version = kVersion, size = 0, checksum = 0;
};

/// FNV-1a: any single changed byte changes it.
std::uint64_t checksumOf(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001b3u;
  return hash;
}

constexpr std::string_view kObject = "object";

}  // namespace

Archive::Archive() = default;

Archive::Archive(std::span<const std::byte> data) : reading_(true) {
  Header h;
  if (data.size() < sizeof h)
    base::raise("Archive: " + std::to_string(data.size()) + " bytes are no archive; it begins with " +
                std::to_string(sizeof h) + " bytes of header");
  std::memcpy(&h, data.data(), sizeof h);
  if (h.magic != kMagic)
    base::raise("Archive: the bytes do not begin as an archive does; give what Archive::data() returned");
  if (h.version != kVersion)
    base::raise("Archive: version " + std::to_string(h.version) + " of the format; this library reads version " +
                std::to_string(kVersion));
  const std::span<const std::byte> payload = data.subspan(sizeof h);
  if (h.size != payload.size())
    base::raise("Archive: " + std::to_string(payload.size()) + " bytes behind the header, which says " +
                std::to_string(h.size) + "; the archive was cut short or added to");
  if (h.checksum != checksumOf(payload))
    base::raise("Archive: the checksum does not match; the bytes have been changed since they were written");
  bytes_.assign(payload.begin(), payload.end());
  end_ = bytes_.size();
}

std::vector<std::byte> Archive::data() const {
  Header h;
  h.size = bytes_.size();
  h.checksum = checksumOf(bytes_);
  std::vector<std::byte> all(sizeof h + bytes_.size());
  std::memcpy(all.data(), &h, sizeof h);
  std::copy(bytes_.begin(), bytes_.end(), all.begin() + sizeof h);
  return all;
}

void Archive::refuse(const std::string& text) const {
  std::string where = "Archive: ";
  for (const std::string& name : path_) where += name + ": ";
  base::raise(where + text);
}

void Archive::require(bool holds, std::string_view name, std::string_view what) const {
  if (!holds) refuse(std::string(name) + " " + std::string(what));
}

// --- fields

void Archive::beginField(std::string_view name, std::size_t size) {
  if (name.size() > 255) refuse("the name of a field has " + std::to_string(name.size()) + " bytes; at most 255");
  const auto length = static_cast<std::uint8_t>(name.size());
  const auto append = [&](const void* from, std::size_t n) {
    const auto* p = static_cast<const std::byte*>(from);
    bytes_.insert(bytes_.end(), p, p + n);
  };
  append(&length, 1);
  append(name.data(), name.size());
  const std::uint64_t bytes = size;
  append(&bytes, sizeof bytes);
}

std::size_t Archive::readField(std::string_view name) {
  const auto cutShort = [&]() { refuse("the archive ends before " + std::string(name)); };
  if (remaining() < 1) cutShort();
  const auto length = static_cast<std::size_t>(bytes_[position_]);
  if (remaining() < 1 + length + sizeof(std::uint64_t)) cutShort();
  const std::string_view found(reinterpret_cast<const char*>(bytes_.data() + position_ + 1), length);
  if (found != name) {
    std::string shown;
    for (const char c : found) shown += c >= ' ' && c <= '~' ? c : '?';
    refuse("finds '" + shown + "' where " + std::string(name) + " is wanted; read objects in the order of writing");
  }
  std::uint64_t size = 0;
  std::memcpy(&size, bytes_.data() + position_ + 1 + length, sizeof size);
  position_ += 1 + length + sizeof size;
  if (size > remaining())
    refuse(std::string(name) + " has " + std::to_string(size) + " bytes, the archive only " +
           std::to_string(remaining()) + " more");
  return static_cast<std::size_t>(size);
}

void Archive::raw(std::string_view name, void* value, std::size_t size) {
  if (!reading_) {
    beginField(name, size);
    const auto* p = static_cast<const std::byte*>(value);
    bytes_.insert(bytes_.end(), p, p + size);
    return;
  }
  const std::size_t found = readField(name);
  if (found != size)
    refuse(std::string(name) + " has " + std::to_string(found) + " bytes, wanted are " + std::to_string(size));
  std::memcpy(value, bytes_.data() + position_, size);
  position_ += size;
}

template <class T>
void Archive::array(std::string_view name, std::vector<T>& values) {
  if (!reading_) {
    beginField(name, values.size() * sizeof(T));
    const auto* p = reinterpret_cast<const std::byte*>(values.data());
    bytes_.insert(bytes_.end(), p, p + values.size() * sizeof(T));
    return;
  }
  const std::size_t size = readField(name);  // no more than there is
  if (size % sizeof(T) != 0)
    refuse(std::string(name) + " has " + std::to_string(size) + " bytes, which are no whole values of " +
           std::to_string(sizeof(T)));
  values.resize(size / sizeof(T));
  if (size > 0) std::memcpy(values.data(), bytes_.data() + position_, size);
  position_ += size;
}

// --- objects

std::string Archive::readClassName() {
  readField(kObject);
  if (remaining() < 1) refuse("the archive ends before the name of a class");
  const auto length = static_cast<std::size_t>(bytes_[position_]);
  if (remaining() < 1 + length) refuse("the archive ends within the name of a class");
  std::string name(reinterpret_cast<const char*>(bytes_.data() + position_ + 1), length);
  for (char& c : name)
    if (c < ' ' || c > '~') c = '?';
  position_ += 1 + length;
  return name;
}

std::string Archive::nextClassName() const {
  if (!reading_) refuse("nextClassName: the archive is being written; make one over its data()");
  if (remaining() == 0) return {};
  Archive ahead;
  ahead.reading_ = true;
  // The name lies within the first bytes: 1 + 6 + 8 for the field, 1 + 255 for the name.
  const std::size_t look = std::min<std::size_t>(remaining(), 512);
  ahead.bytes_.assign(bytes_.begin() + static_cast<std::ptrdiff_t>(position_),
                      bytes_.begin() + static_cast<std::ptrdiff_t>(position_ + look));
  ahead.end_ = look;
  // The size of the whole object is no matter here.
  if (look > 1 + kObject.size() + sizeof(std::uint64_t)) {
    const std::uint64_t rest = look - (1 + kObject.size() + sizeof rest);
    std::memcpy(ahead.bytes_.data() + 1 + kObject.size(), &rest, sizeof rest);
  }
  return ahead.readClassName();
}

void Archive::object(std::string_view className, const std::function<void()>& members) {
  const std::size_t position = position_, end = end_, size = bytes_.size();
  path_.emplace_back(className);
  try {
    if (reading_) {
      const std::size_t field = readField(kObject);
      position_ = position;
      end_ = position + 1 + kObject.size() + sizeof(std::uint64_t) + field;
      if (const std::string found = readClassName(); found != className)
        refuse("the archive holds a " + found + " here; read it with the constructor of its class or decodeKernel");
      members();
      if (remaining() != 0) refuse(std::to_string(remaining()) + " bytes of the object are left over");
      end_ = end;
    } else {
      beginField(kObject, 0);
      const std::size_t begin = bytes_.size();
      bytes_.push_back(static_cast<std::byte>(className.size()));
      for (const char c : className) bytes_.push_back(static_cast<std::byte>(c));
      members();
      const std::uint64_t length = bytes_.size() - begin;
      std::memcpy(bytes_.data() + begin - sizeof length, &length, sizeof length);
    }
  } catch (...) {
    path_.pop_back();
    position_ = position;
    end_ = end;
    if (!reading_) bytes_.resize(size);
    throw;
  }
  path_.pop_back();
}

// --- values

void Archive::code(std::string_view name, bool& value) {
  std::uint8_t byte = value ? 1 : 0;
  raw(name, &byte, 1);
  require(byte <= 1, name, "is neither true nor false");
  value = byte == 1;
}
void Archive::code(std::string_view name, std::uint32_t& value) { raw(name, &value, sizeof value); }
void Archive::code(std::string_view name, std::uint64_t& value) { raw(name, &value, sizeof value); }
void Archive::code(std::string_view name, std::int64_t& value) { raw(name, &value, sizeof value); }
void Archive::code(std::string_view name, float& value) { raw(name, &value, sizeof value); }
void Archive::code(std::string_view name, double& value) { raw(name, &value, sizeof value); }
void Archive::code(std::string_view name, std::vector<std::byte>& value) { array(name, value); }
void Archive::code(std::string_view name, std::vector<float>& value) { array(name, value); }
void Archive::code(std::string_view name, std::vector<double>& value) { array(name, value); }
void Archive::code(std::string_view name, std::vector<std::uint32_t>& value) { array(name, value); }

void Archive::code(std::string_view name, std::string& value) {
  const auto bytes = std::as_bytes(std::span(value));
  std::vector<std::byte> all(bytes.begin(), bytes.end());
  array(name, all);
  value.assign(reinterpret_cast<const char*>(all.data()), all.size());
}

void Archive::code(std::string_view name, std::optional<float>& value) {
  std::vector<float> all;
  if (value) all.push_back(*value);
  array(name, all);
  require(all.size() <= 1, name, "must be one number or none");
  value = all.empty() ? std::nullopt : std::optional(all[0]);
}

void Archive::code(std::string_view name, Offset& v) {
  std::array<std::int64_t, 3> all{v.x, v.y, v.z};
  raw(name, all.data(), sizeof all);
  v = {all[0], all[1], all[2]};
}
void Archive::code(std::string_view name, ImageCoordinate& v) {
  std::array<std::uint64_t, 3> all{v.x, v.y, v.channel};
  raw(name, all.data(), sizeof all);
  v = {all[0], all[1], all[2]};
}
void Archive::code(std::string_view name, MTL::Size& v) {
  std::array<std::uint64_t, 3> all{v.width, v.height, v.depth};
  raw(name, all.data(), sizeof all);
  v = {all[0], all[1], all[2]};
}
void Archive::code(std::string_view name, MTL::Region& v) {
  std::array<std::uint64_t, 6> all{v.origin.x, v.origin.y, v.origin.z, v.size.width, v.size.height, v.size.depth};
  raw(name, all.data(), sizeof all);
  v = {{all[0], all[1], all[2]}, {all[3], all[4], all[5]}};
}

}  // namespace kovar::MPS
