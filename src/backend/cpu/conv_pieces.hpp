#pragma once
// The fixed grid of a convolution: which smaller convolutions it is cut into so that threads can share it. The grid
// depends on the shape alone, so results have the same bits for any number of threads.

#include <cstdint>
#include <vector>

#include "backend/cpu/conv.hpp"

namespace kovar::cpu {

/// A convolution over a part of the images, rows and channels of another. Extents are those of src and dst in the
/// forward sense. Two pieces with equal extents and padding are served by one primitive.
struct ConvPiece {
  std::int64_t n = 0, hs = 0, hd = 0, ci = 0, co = 0, groups = 1;
  std::int64_t padTop = 0, padBottom = 0, padLeft = 0, padRight = 0;
  std::int64_t firstImage = 0, firstSrcRow = 0, firstDstRow = 0, firstSrcChannel = 0, firstDstChannel = 0;
  std::size_t block = 0;  ///< which block of weights it uses

  bool sameWork(const ConvPiece& o) const {
    return n == o.n && hs == o.hs && hd == o.hd && ci == o.ci && co == o.co && groups == o.groups &&
           padTop == o.padTop && padBottom == o.padBottom;
  }
  prim::View srcOf(const prim::View& src) const;
  prim::View dstOf(const prim::View& dst) const;
};

/// The pieces of a forward convolution or a data gradient, each of which writes its own part of the result: whole
/// images where there are enough, else rows, or channel blocks where the weights are larger than a core's cache.
std::vector<ConvPiece> resultPieces(const ConvShape& s);

/// The pieces of a weight gradient: blocks of output channels (of groups, in a grouped convolution), and where images
/// are large enough to pay for it also parts of the batch, whose gradients are then added in order.
struct WeightPieces {
  std::vector<ConvPiece> pieces;  ///< batch part within block: piece = block * batchParts + part
  std::size_t batchParts = 1;
};
WeightPieces weightPieces(const ConvShape& s);

}  // namespace kovar::cpu
