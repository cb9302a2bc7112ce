#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kovar/MPS/Core/Types.hpp"
#include "kovar/Object.hpp"

namespace kovar::MTL {
class Device;
}

namespace kovar::MPS {

class Kernel;

/// Kernels, descriptors and graphs as bytes, and back. Stands where the documented NSCoder and MPSKeyedUnarchiver
/// stand.
///
///   MPS::Archive written;                              MPS::Archive read(bytes);
///   pool->encodeWithCoder(written);                    auto pool = std::make_shared<MPS::CNNPoolingMax>(read, device);
///   std::vector<std::byte> bytes = written.data();     auto any = read.decodeKernel(device);
///
/// Objects are read in the order in which they were written, each by the constructor of its class, or by decodeKernel.
/// Weights and other parameters travel with their kernel, so that it computes the same bits; data sources do not: a
/// kernel that was read has none. The format is little-endian, versioned and protected by a checksum; every field has
/// its name and size.
///
/// Errors: bytes that are no archive, of a later version, changed or cut short; an object of another class; a value
/// that the class would not accept. Writing into an archive that reads, and the other way round. After an Error an
/// archive is as it was before the object.
class Archive {
 public:
  /// Empty, to be written.
  Archive();
  /// To be read. The bytes are copied and their checksum compared.
  explicit Archive(std::span<const std::byte> data);

  bool isReading() const { return reading_; }
  /// The archive as written so far, or as given.
  std::vector<std::byte> data() const;
  /// Reading: the class of the next object, e.g. "CNNConvolution"; empty at the end.
  std::string nextClassName() const;
  /// Reads the next object, which may be any kernel but a graph.
  Ref<Kernel> decodeKernel(const Ref<MTL::Device>& device);
  /// The classes that decodeKernel knows, by name.
  static std::vector<std::string> kernelClasses();

  // For classes that code themselves: one description of the members serves both directions.

  /// An object: what `members` codes, under the name of its class. Refuses the object of another class, and one of
  /// which `members` leaves a part unread.
  void object(std::string_view className, const std::function<void()>& members);
  /// Writes the value, or reads it. Names are at most 255 bytes long; for messages and to recognise the field.
  void code(std::string_view name, bool& value);
  void code(std::string_view name, std::uint32_t& value);
  void code(std::string_view name, std::uint64_t& value);
  void code(std::string_view name, std::int64_t& value);
  void code(std::string_view name, float& value);
  void code(std::string_view name, double& value);
  void code(std::string_view name, std::string& value);
  void code(std::string_view name, std::vector<std::byte>& value);
  void code(std::string_view name, std::vector<float>& value);
  void code(std::string_view name, std::vector<double>& value);
  void code(std::string_view name, std::vector<std::uint32_t>& value);
  void code(std::string_view name, std::optional<float>& value);
  void code(std::string_view name, Offset& value);
  void code(std::string_view name, ImageCoordinate& value);
  void code(std::string_view name, MTL::Size& value);
  void code(std::string_view name, MTL::Region& value);
  /// A number of an enumeration; read ones must lie in 0 ... last.
  template <class E>
  requires std::is_enum_v<E>
  void code(std::string_view name, E& value, E last) {
    auto number = static_cast<std::uint64_t>(value);
    code(name, number);
    require(!reading_ || number <= static_cast<std::uint64_t>(last), name, "is not a value of its enumeration");
    value = static_cast<E>(number);
  }
  /// Throws Error about the field unless `holds`; `what` goes on after its name, e.g. "must be at least 1".
  void require(bool holds, std::string_view name, std::string_view what) const;
  /// Reading: how many bytes the object under way still has.
  std::size_t remaining() const { return end_ - position_; }

 private:
  void raw(std::string_view name, void* value, std::size_t size);
  template <class T>
  void array(std::string_view name, std::vector<T>& values);
  void beginField(std::string_view name, std::size_t size);
  std::size_t readField(std::string_view name);
  std::string readClassName();
  [[noreturn]] void refuse(const std::string& text) const;

  bool reading_ = false;
  std::vector<std::byte> bytes_;  // behind the header
  std::size_t position_ = 0, end_ = 0;
  std::vector<std::string> path_;  // classes of the objects under way
};

}  // namespace kovar::MPS
