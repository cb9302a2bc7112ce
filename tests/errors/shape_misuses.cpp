// Wrong uses of kernels that pool, enlarge and reduce, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {

std::vector<Misuse> shapeMisuses() {
  return {
      {"dilation rate of 0", [] { MPS::CNNDilatedPoolingMax(device(), 2, 2, 0, 1, 1, 1); },
       "CNNDilatedPoolingMax: dilation rates 0, 1; each must be at least 1"},
      {"dilated window without taps", [] { MPS::CNNDilatedPoolingMaxGradient(device(), 2, 0, 1, 1, 1, 1); },
       "CNNPoolingGradient: window of 2 x 0 with strides 1, 1; each must be at least 1"},
      {"dilated window too wide", [] { MPS::CNNDilatedPoolingMax(device(), 4097, 2, 4096, 1, 1, 1); },
       "CNNDilatedPoolingMax: 4097 taps that lie 4096 pixels apart reach over 16777217 pixels; at most 16777216"},
      {"dilation rate too large",
       [] { MPS::CNNDilatedPoolingMaxGradient(device(), 2, 2, 1, std::size_t{1} << 40, 1, 1); },
       "CNNDilatedPoolingMaxGradient: dilation rates 1, 1099511627776; each may be at most 16777216"},
      {"L2 pooling with an edge mode of the pad kernel",
       [] {
         MPS::CNNPoolingL2Norm kernel(device(), 2, 2);
         kernel.setEdgeMode(MPS::ImageEdgeMode::Mirror);
         kernel.encode(commands(), image(4, 4, 4), image(4, 4, 4));
       },
       "CNNPoolingL2Norm.encode: edge mode 2 is not one this kernel knows; use Zero or Clamp"},
      {"upsampling by 0", [] { MPS::CNNUpsamplingNearest(device(), 2, 0); },
       "CNNUpsamplingNearest: scale factors 2, 0; each must be at least 1"},
      {"upsampling by too much", [] { MPS::CNNUpsamplingBilinear(device(), std::size_t{1} << 21, 1); },
       "CNNUpsamplingBilinear: scale factors 2097152, 1; each may be at most 1048576"},
      {"upsampling gradient by 0", [] { MPS::CNNUpsamplingBilinearGradient(device(), 0, 1); },
       "CNNUpsamplingBilinearGradient: scale factors 0, 1; each must be at least 1"},
      {"enlarged beyond any image",
       [] {
         MPS::CNNUpsamplingNearest kernel(device(), 1, std::size_t{1} << 20);
         kernel.destinationImageDescriptor({image(1, 2048, 1)}, {});
       },
       "CNNUpsamplingNearest: a source of 2048 rows enlarged 1048576 times is larger than any image"},
      {"upsampling gradient without a state",
       [] {
         MPS::CNNUpsamplingNearestGradient kernel(device(), 2, 2);
         kernel.encode(commands(), image(4, 4, 4), image(2, 2, 4), Ref<MPS::State>());
       },
       "CNNUpsamplingNearestGradient: needs the state that the forward kernel's encode or resultState made; without "
       "one, set the properties and give a destination image"},
      {"upsampling gradient node by a fraction",
       [] {
         const auto node = MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("x"));
         MPS::CNNUpsamplingBilinearGradientNode::create(node, node, nullptr, 1.5, 2);
       },
       "CNNUpsamplingBilinearGradientNode: scale factor 1.500000; it must be a whole number from 1 to 1048576"},
      {"reduction of nothing",
       [] {
         MPS::NNReduceRowMax kernel(device());
         kernel.setClipRectSource({{4, 0, 0}, {1, 1, 1}});
         kernel.encode(commands(), image(4, 4, 4), image(1, 4, 4));
       },
       "NNReduceRowMax.clipRectSource: it holds no pixel of the source"},
      {"reduction of nothing, sized",
       [] {
         MPS::NNReduceColumnMin kernel(device());
         kernel.setClipRectSource({{0, 9, 0}, {1, 1, 1}});
         kernel.destinationImageDescriptor({image(4, 5, 4)}, {});
       },
       "NNReduceColumnMin.clipRectSource: it holds no pixel of a source of 4 x 5 pixels and 1 images"},
      {"weights of another size",
       [] {
         MPS::NNReduceFeatureChannelsAndWeightsMean kernel(device());
         kernel.encode(commands(), image(4, 4, 4), image(4, 3, 4), image(4, 4, 1));
       },
       "NNReduceFeatureChannelsAndWeightsMean.encode: 4 x 4 values and 4 x 3 weights; their parts must be of one size"},
      {"weights of other channels",
       [] {
         MPS::NNReduceFeatureChannelsAndWeightsSum kernel(device());
         kernel.encode(commands(), image(4, 4, 4), image(4, 4, 8), image(4, 4, 1));
       },
       "NNReduceFeatureChannelsAndWeightsSum.encode: the primary source gives 4 feature channels, the secondary 8; "
       "each "
       "value takes one weight"},
      {"base of the reduction nodes",
       [] {
         const auto node = MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("x"));
         MPS::NNGraph::graph(device(), MPS::NNUnaryReductionNode::create(node)->resultImage(), true);
       },
       "NNUnaryReductionNode: the base class computes nothing; use a subclass, such as NNReductionRowMeanNode"},
  };
}

}  // namespace kovar::test
