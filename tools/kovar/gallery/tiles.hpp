#pragma once
// The tiles of the gallery: what kernels of the library make of one picture.

#include <vector>

#include "kovar/MTL/Device.hpp"
#include "kovar/gallery/sheet.hpp"

namespace kovar::tools {

/// The longer side of a tile's picture.
inline constexpr int kTileSide = 320;

/// The picture as the tiles take it: 3 channels, alpha laid on white, enlarged or shrunk until the longer side has
/// kTileSide pixels, both sides multiples of 8 and at least 64 (a picture longer than that is pressed).
base::io::Picture preparedForTiles(const base::io::Picture& picture);

/// Every kernel encoded into one command buffer, which is then run. `picture` as preparedForTiles makes it.
std::vector<Tile> tilesOf(const Ref<MTL::Device>& device, const base::io::Picture& picture);

}  // namespace kovar::tools
