#include "nn/convolution_geometry.hpp"

namespace kovar::nn {

void spreadBlocks(Recorder& list, const Tensor& blocks, std::int64_t scale, const Tensor& destination) {
  const std::int64_t channels = destination.c();
  const auto strideOf = [](const Tensor& t, int axis) { return t.view.stride(axis); };
  if (destination.h() == blocks.h() * scale && destination.w() == blocks.w() * scale) {
    // All at once: image, block row, row in it, block column, column in it, channel.
    prim::View from = blocks.view, to = destination.view;
    from.rank = to.rank = 6;
    from.dims = to.dims = {blocks.n(), blocks.h(), scale, blocks.w(), scale, channels};
    from.strides = {strideOf(blocks, 0),
                    strideOf(blocks, 1),
                    scale * channels * strideOf(blocks, 3),
                    strideOf(blocks, 2),
                    channels * strideOf(blocks, 3),
                    strideOf(blocks, 3)};
    to.strides = {strideOf(destination, 0),         scale * strideOf(destination, 1), strideOf(destination, 1),
                  scale * strideOf(destination, 2), strideOf(destination, 2),         strideOf(destination, 3)};
    list.op(prim::Copy{}, {blocks.as(from).read(), destination.as(to).write()});
    return;
  }
  // Some blocks are cut: each place in the block by itself.
  for (std::int64_t row = 0; row < std::min(scale, destination.h()); ++row)
    for (std::int64_t column = 0; column < std::min(scale, destination.w()); ++column) {
      prim::View to = destination.view;
      to.cut(1, row, destination.h() - row);
      to.cut(2, column, destination.w() - column);
      for (const int axis : {1, 2}) {
        const auto a = static_cast<std::size_t>(axis);
        to.dims[a] = (to.dims[a] + scale - 1) / scale;
        to.strides[a] *= scale;
      }
      prim::View from = blocks.view;
      from.cut(1, 0, to.dim(1));
      from.cut(2, 0, to.dim(2));
      from.cut(3, channels * (scale * row + column), channels);
      list.op(prim::Copy{}, {blocks.as(from).read(), destination.as(to).write()});
    }
}

}  // namespace kovar::nn
