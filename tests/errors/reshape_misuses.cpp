// Wrong uses of reshape, padding, slice and concatenation, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {

std::vector<Misuse> reshapeMisuses() {
  return {
      {"reshape to another number of elements",
       [] { MPS::NNReshape(device()).encode(commands(), image(3, 2, 4), 5, 1, 5); },
       "NNReshape.encode: 3 x 2 x 4 values cannot become 5 x 1 x 5; the numbers of elements must be equal"},
      {"reshape to nothing", [] { MPS::NNReshape(device()).encode(commands(), image(3, 2, 4), 0, 1, 5); },
       "NNReshape.encode: a shape of 0 x 1 x 5; each must be at least 1"},
      {"reshape of a part",
       [] {
         MPS::NNReshape k(device());
         k.setOffset({1, 0, 0});
         k.encode(commands(), image(3, 2, 4), image(1, 1, 24));
       },
       "NNReshape.encode: whole images are reshaped; leave offset and clipRect at their defaults"},
      {"padding beyond measure",
       [] {
         MPS::NNPad(device(), {0, 0, 0}, {std::size_t{1} << 40, 0, 0}).encode(commands(), image(2, 2, 4));
       },
       "NNPad: a padding of 1099511627776 x 0 x 0; each may be 16777216 at most"},
      {"padding with half a value", [] { MPS::NNPad(device(), {}, {}, std::vector<std::byte>(6)); },
       "NNPad: fillValueArray has 6 bytes; give one float of 4 bytes for each channel written"},
      {"padding with too few values",
       [] {
         MPS::NNPad k(device(), {1, 0, 0}, {}, std::vector<std::byte>(8));
         k.setEdgeMode(MPS::ImageEdgeMode::Constant);
         k.encode(commands(), image(2, 2, 4));
       },
       "NNPad.encode: fillValueArray has 2 values, 4 channels are written; give one for each"},
      {"padding gradient with another's state",
       [] {
         const auto x = image(4, 4, 4);
         MPS::NNPadGradient(device()).encode(commands(), x, x, pooling()->resultState(x, {}, x));
       },
       "NNPadGradient: the gradient state was made by a kernel of another class; use the state of the forward NNPad"},
      {"padding gradient of a part with a state",
       [] {
         const auto x = image(4, 4, 4), y = image(6, 4, 4);
         MPS::NNPad pad(device(), {1, 0, 0}, {1, 0, 0});
         MPS::NNPadGradient(device()).encode(commands(), y, x, pad.resultState(x, {}, y), image(3, 4, 4));
       },
       "NNPadGradient.encode: with a state the destination region must be the forward source's 4 x 4 and the gradient "
       "have 4 feature channels; without one parts can be cut out"},
      {"slice into too few channels",
       [] {
         MPS::NNSlice k(device());
         k.setDestinationFeatureChannelOffset(4);
         k.encode(commands(), image(2, 2, 8), image(2, 2, 4));
       },
       "NNSlice.encode: the destination has 4 feature channels, the kernel writes 8 from channel 4 on; make it at "
       "least 12 "
       "channels"},
      {"concatenation of nothing", [] { MPS::NNConcatenationNode::create({}); },
       "NNConcatenationNode: no source images given; give at least one"},
      {"concatenation gradient of another image",
       [] {
         const auto a = MPS::NNImageNode::create(nullptr), b = MPS::NNImageNode::create(nullptr);
         const auto node = MPS::NNConcatenationNode::create({a});
         MPS::NNConcatenationGradientNode::create(
             b, b, std::static_pointer_cast<MPS::NNGradientStateNode>(node->resultState()));
       },
       "NNConcatenationGradientNode: the state is not that of a concatenation of sourceImage; take both from the "
       "forward "
       "node"},
      {"concatenation of two sizes",
       [] {
         const auto a = MPS::NNImageNode::create(nullptr), b = MPS::NNImageNode::create(nullptr);
         MPS::NNGraph::graph(device(), MPS::NNConcatenationNode::create({a, b})->resultImage(), true)
             ->encode(commands(), {image(2, 2, 4), image(3, 2, 4)});
       },
       "NNConcatenationNode: source 1 is 3 x 2, source 0 2 x 2; concatenated images have one size"},
  };
}

}  // namespace kovar::test
