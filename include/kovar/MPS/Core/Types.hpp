#pragma once
// Plain types of the MPS namespace shared by all kernels: enumerations with the documented names and values, and
// structs.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "kovar/MTL/Types.hpp"

namespace kovar::MPS {

enum class DeviceOptions : std::size_t {
  Default = 0,        ///< no preference
  LowPower = 1,       ///< favour a device that draws little power
  SkipRemovable = 2,  ///< ignore removable devices
};

enum class KernelOptions : std::size_t {
  None = 0,                   ///< no option set
  SkipAPIValidation = 1,      ///< skip argument checks while encoding
  AllowReducedPrecision = 2,  ///< internal arithmetic may use less precision
  DisableInternalTiling = 4,  ///< process the region as one tile
  InsertDebugGroups = 8,      ///< mark encoded work with debug groups
  Verbose = 16,               ///< print notes to standard error
};

enum class ImageEdgeMode : std::size_t {
  Zero = 0,            ///< outside pixels are zero (alpha one if none stored)
  Clamp = 1,           ///< outside pixels repeat the nearest edge pixel
  Mirror = 2,          ///< mirror about the edge pixel, not repeating it
  MirrorWithEdge = 3,  ///< mirror about the edge, repeating the edge pixel
  Constant = 4,        ///< outside pixels take a kernel-given constant
};

enum class ImageFeatureChannelFormat : std::size_t {
  None = 0,       ///< format left for the library to pick
  Unorm8 = 1,     ///< 8-bit unsigned normalized, 0 to 1
  Unorm16 = 2,    ///< 16-bit unsigned normalized, 0 to 1
  Float16 = 3,    ///< 16-bit floating point
  Float32 = 4,    ///< 32-bit floating point
  Reserved0 = 5,  ///< reserved value
  Count = 6,      ///< number of formats
};

enum class DataType : std::uint32_t {
  Invalid = 0,                        ///< no valid type
  FloatBit = 0x10000000,              ///< flag for floating-point types
  Float32 = 0x10000020,               ///< 32-bit floating point
  Float16 = 0x10000010,               ///< 16-bit floating point
  ComplexBit = 0x1000000,             ///< flag for complex types
  ComplexFloat32 = 0x11000040,        ///< complex with two 32-bit floats
  ComplexFloat16 = 0x11000020,        ///< complex with two 16-bit floats
  SignedBit = 0x20000000,             ///< flag for signed integer types
  IntBit = 0x20000000,                ///< older name of the signed flag (deprecated)
  Int8 = 0x20000008,                  ///< 8-bit signed integer
  Int16 = 0x20000010,                 ///< 16-bit signed integer
  Int32 = 0x20000020,                 ///< 32-bit signed integer
  Int64 = 0x20000040,                 ///< 64-bit signed integer
  UInt8 = 8,                          ///< 8-bit unsigned integer
  UInt16 = 16,                        ///< 16-bit unsigned integer
  UInt32 = 32,                        ///< 32-bit unsigned integer
  UInt64 = 64,                        ///< 64-bit unsigned integer
  AlternateEncodingBit = 0x80000000,  ///< flag for other encodings
  Bool = 0x80000008,                  ///< 8-bit boolean
  NormalizedBit = 0x40000000,         ///< flag for normalized types
  Unorm1 = 0x40000001,                ///< 1-bit unsigned normalized
  Unorm8 = 0x40000008,                ///< 8-bit unsigned normalized
};

enum class AliasingStrategy : std::size_t {
  Default = 0,                   ///< alias when possible, otherwise copy
  DontCare = 0,                  ///< same value as the default
  ShallAlias = 1,                ///< must alias, else fail
  ShallNotAlias = 2,             ///< must copy
  AliasingReserved = 3,          ///< both alias bits, reserved
  PreferTemporaryMemory = 4,     ///< copies prefer temporary memory
  PreferNonTemporaryMemory = 8,  ///< copies prefer ordinary memory
};

enum class PurgeableState : std::size_t {
  AllocationDeferred = 0,  ///< storage not allocated yet
  KeepCurrent = 1,         ///< query without changing
  NonVolatile = 2,         ///< contents must be kept
  Volatile = 3,            ///< contents may be dropped
  Empty = 4,               ///< contents dropped
};

enum class DataLayout : std::size_t {
  HeightxWidthxFeatureChannels = 0,  ///< channels vary fastest (HWC)
  FeatureChannelsxHeightxWidth = 1,  ///< columns vary fastest (CHW)
};

enum class StateResourceType : std::size_t {
  None = 0,     ///< no resource at that index
  Buffer = 1,   ///< resource is a buffer
  Texture = 2,  ///< resource is a texture
};

enum class AlphaType : std::size_t {
  NonPremultiplied = 0,  ///< colour not multiplied by alpha
  AlphaIsOne = 1,        ///< alpha taken as one
  Premultiplied = 2,     ///< colour already multiplied by alpha
};

constexpr DeviceOptions operator|(DeviceOptions a, DeviceOptions b) {
  return static_cast<DeviceOptions>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr DeviceOptions operator&(DeviceOptions a, DeviceOptions b) {
  return static_cast<DeviceOptions>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr DeviceOptions operator~(DeviceOptions a) { return static_cast<DeviceOptions>(~static_cast<std::size_t>(a)); }
constexpr KernelOptions operator|(KernelOptions a, KernelOptions b) {
  return static_cast<KernelOptions>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr KernelOptions operator&(KernelOptions a, KernelOptions b) {
  return static_cast<KernelOptions>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr KernelOptions operator~(KernelOptions a) { return static_cast<KernelOptions>(~static_cast<std::size_t>(a)); }
constexpr AliasingStrategy operator|(AliasingStrategy a, AliasingStrategy b) {
  return static_cast<AliasingStrategy>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr AliasingStrategy operator&(AliasingStrategy a, AliasingStrategy b) {
  return static_cast<AliasingStrategy>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr AliasingStrategy operator~(AliasingStrategy a) {
  return static_cast<AliasingStrategy>(~static_cast<std::size_t>(a));
}

/// Position in pixels, signed; z counts images.
struct Offset {
  std::ptrdiff_t x = 0, y = 0, z = 0;
  bool operator==(const Offset&) const = default;
};

/// Position and extent with fractions, for resampling kernels.
struct Origin {
  double x = 0, y = 0, z = 0;
  bool operator==(const Origin&) const = default;
};
struct Size {
  double width = 0, height = 0, depth = 0;
  bool operator==(const Size&) const = default;
};
struct Region {
  Origin origin;
  Size size;
  bool operator==(const Region&) const = default;
};

/// destination = source * scale + translate, in destination pixels.
struct ScaleTransform {
  double scaleX = 1, scaleY = 1, translateX = 0, translateY = 0;
  bool operator==(const ScaleTransform&) const = default;
};

struct DimensionSlice {
  std::size_t start = 0, length = 0;
  bool operator==(const DimensionSlice&) const = default;
};

struct ImageCoordinate {
  std::size_t x = 0, y = 0, channel = 0;
  bool operator==(const ImageCoordinate&) const = default;
};
struct ImageRegion {
  ImageCoordinate offset, size;
  bool operator==(const ImageRegion&) const = default;
};

/// Which feature channels readBytes and writeBytes move: `numberOfFeatureChannelsToReadWrite` from
/// `featureChannelOffset`.
struct ImageReadWriteParams {
  std::size_t featureChannelOffset = 0, numberOfFeatureChannelsToReadWrite = 0;
  bool operator==(const ImageReadWriteParams&) const = default;
};

struct Range {
  std::size_t location = 0, length = 0;
  bool operator==(const Range&) const = default;
};

struct Float2 {
  float x = 0, y = 0;
};

struct StateTextureInfo {
  std::size_t width = 0, height = 0, depth = 0, arrayLength = 0;
  MTL::PixelFormat pixelFormat = MTL::PixelFormat::Invalid;
  MTL::TextureType textureType = MTL::TextureType::Type2D;
  MTL::TextureUsage usage = MTL::TextureUsage::Unknown;
  std::size_t _reserved[4] = {};
};

/// Lengths of the dimensions of an n-d array.
using Shape = std::vector<std::size_t>;

/// The clip rectangle that clips nothing: the whole destination.
inline constexpr MTL::Region RectNoClip{
    {0, 0, 0},
    {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max(),
     std::numeric_limits<std::size_t>::max()}};

/// Bytes of one element, 0 for Invalid and for types smaller than a byte.
std::size_t sizeofMPSDataType(DataType type);

}  // namespace kovar::MPS
