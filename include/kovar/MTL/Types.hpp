#pragma once
// Plain types of the MTL namespace: enumerations and sizes, with the documented names and values.

#include <cstddef>
#include <cstdint>

#include "kovar/Object.hpp"

namespace kovar::MTL {

enum class StorageMode : std::size_t {
  Shared = 0,      ///< memory shared by CPU and GPU
  Managed = 1,     ///< two copies synchronized on request
  Private = 2,     ///< GPU-only memory
  Memoryless = 3,  ///< tile memory only
};

enum class CPUCacheMode : std::size_t {
  DefaultCache = 0,   ///< ordinary CPU caching
  WriteCombined = 1,  ///< write-combined CPU caching
};

enum class PurgeableState : std::size_t {
  KeepCurrent = 1,  ///< query without changing
  NonVolatile = 2,  ///< contents must be kept
  Volatile = 3,     ///< contents may be dropped
  Empty = 4,        ///< contents dropped
};

enum class TextureUsage : std::size_t {
  Unknown = 0,           ///< usage not stated
  ShaderRead = 1,        ///< read by kernels
  ShaderWrite = 2,       ///< written by kernels
  RenderTarget = 4,      ///< render target
  PixelFormatView = 16,  ///< may be viewed in another format
};

enum class TextureType : std::size_t {
  Type1D = 0,                  ///< one-dimensional
  Type1DArray = 1,             ///< array of one-dimensional
  Type2D = 2,                  ///< two-dimensional
  Type2DArray = 3,             ///< array of two-dimensional slices
  Type2DMultisample = 4,       ///< multisampled two-dimensional
  Cube = 5,                    ///< cube map
  CubeArray = 6,               ///< array of cube maps
  Type3D = 7,                  ///< three-dimensional
  Type2DMultisampleArray = 8,  ///< array of multisampled two-dimensional
  TextureBuffer = 9,           ///< buffer viewed as texture
};

enum class PixelFormat : std::size_t {
  Invalid = 0,           ///< no format
  R8Unorm = 10,          ///< one 8-bit unorm channel
  R16Unorm = 20,         ///< one 16-bit unorm channel
  R16Float = 25,         ///< one 16-bit float channel
  RG8Unorm = 30,         ///< two 8-bit unorm channels
  R32Float = 55,         ///< one 32-bit float channel
  RG16Unorm = 60,        ///< two 16-bit unorm channels
  RG16Float = 65,        ///< two 16-bit float channels
  RGBA8Unorm = 70,       ///< four 8-bit unorm channels
  RGBA8Unorm_sRGB = 71,  ///< four 8-bit sRGB channels
  BGRA8Unorm = 80,       ///< four 8-bit unorm channels, blue first
  RG32Float = 105,       ///< two 32-bit float channels
  RGBA16Unorm = 110,     ///< four 16-bit unorm channels
  RGBA16Float = 115,     ///< four 16-bit float channels
  RGBA32Float = 125,     ///< four 32-bit float channels
};

constexpr TextureUsage operator|(TextureUsage a, TextureUsage b) {
  return static_cast<TextureUsage>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr TextureUsage operator&(TextureUsage a, TextureUsage b) {
  return static_cast<TextureUsage>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr TextureUsage operator~(TextureUsage a) { return static_cast<TextureUsage>(~static_cast<std::size_t>(a)); }

/// Position in pixels, unsigned.
struct Origin {
  std::size_t x = 0, y = 0, z = 0;
  bool operator==(const Origin&) const = default;
};

/// Extent in pixels: width, height and number of slices or images.
struct Size {
  std::size_t width = 0, height = 0, depth = 0;
  bool operator==(const Size&) const = default;
};

struct Region {
  Origin origin;
  Size size;
  bool operator==(const Region&) const = default;
};

/// Life of a command buffer, in this order; Error ends it as Completed does.
enum class CommandBufferStatus : std::size_t {
  NotEnqueued = 0,
  Enqueued = 1,
  Committed = 2,
  Scheduled = 3,
  Completed = 4,
  Error = 5,
};

}  // namespace kovar::MTL
