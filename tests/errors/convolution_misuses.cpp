// Wrong uses of the rarer convolutions, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {
namespace {

Ref<MPS::CNNConvolutionDescriptor> depthwise(std::size_t inputs, std::size_t outputs) {
  return MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, inputs, outputs);
}
Ref<MPS::CNNSubPixelConvolutionDescriptor> subPixel(std::size_t scale, std::size_t outputs) {
  auto d = MPS::CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, outputs);
  d->setSubPixelScaleFactor(scale);
  return d;
}

}  // namespace

std::vector<Misuse> convolutionMisuses() {
  return {
      {"depthwise channels that do not divide", [] { convolution(depthwise(4, 6)); },
       "ConvolutionWeights: a depthwise descriptor with 4 input and 6 output channels; every input channel has as many "
       "filters, make outputFeatureChannels a multiple of inputFeatureChannels"},
      {"depthwise in groups",
       [] {
         const auto d = depthwise(8, 8);
         d->setGroups(2);
         convolution(d);
       },
       "ConvolutionWeights: a depthwise descriptor with 2 groups; leave groups at 1, every input channel is a group of "
       "its own already"},
      {"sub-pixel channels that fill no block", [] { convolution(subPixel(2, 6)); },
       "ConvolutionWeights: 6 outputFeatureChannels with subPixelScaleFactor 2; they fill blocks of 4 pixels, make "
       "them "
       "a multiple of 4"},
      {"gradient of a sub-pixel convolution", [] { MPS::CNNConvolutionGradient(device(), weights(subPixel(2, 8))); },
       "CNNConvolutionGradient: a sub-pixel convolution (subPixelScaleFactor 2) has no gradient; train with a "
       "transposed convolution or an upsampling and a convolution instead"},
      {"8-bit weights without ranges and table",
       [] { MPS::CNNConvolution(device(), wrongSource([](WrongSource& s) { s.type = MPS::DataType::UInt8; })); },
       "CNNConvolution \"conv1\": the data source's dataType() is UInt8 and nothing says what the codes stand for; "
       "return rangesForUInt8Kernel() or lookupTableForUInt8Kernel()"},
      {"half weights of a transposed convolution",
       [] {
         MPS::CNNConvolutionTranspose(device(), wrongSource([](WrongSource& s) { s.type = MPS::DataType::Float16; }));
       },
       "CNNConvolutionTranspose \"conv1\": the data source's dataType() is Float16; a transposed convolution takes "
       "Float32 weights only"},
      {"sub-pixel transposed convolution", [] { MPS::CNNConvolutionTranspose(device(), weights(subPixel(2, 8))); },
       "CNNConvolutionTranspose: the descriptor's subPixelScaleFactor is 2; a transposed convolution enlarges by its "
       "stride, use a CNNConvolutionDescriptor"},
      {"state of another convolution in a transposed gradient",
       [] {
         const auto source = weights(layer(3, 4, 4));
         const auto forward = std::make_shared<MPS::CNNConvolution>(device(), source);
         const Ref<MPS::State> state = forward->resultState(image(4, 4, 4), {}, nullptr);
         MPS::CNNConvolutionTransposeGradient(device(), source)
             .encode(commands(), image(4, 4, 4), image(4, 4, 4), state);
       },
       "CNNConvolutionTransposeGradient.encode: the state is not one of a transposed convolution; use the state that "
       "the CNNConvolutionTranspose with the same data source made"},
      {"transposed window that finds no place",
       [] {
         MPS::CNNConvolutionTranspose kernel(device(), weights(layer(5, 4, 4)));
         kernel.setPadding(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeValidOnly));
         kernel.encode(commands(), image(2, 2, 4));
       },
       "CNNConvolutionTranspose: a window of 5 columns finds no place in a source of 2 columns spread by 1 under the "
       "padding policy; use size same or full"},
      {"float weights of a binary convolution",
       [] {
         MPS::CNNBinaryConvolution(device(), weights(layer(3, 4, 4)), 1.f, MPS::CNNBinaryConvolutionType::XNOR,
                                   MPS::CNNBinaryConvolutionFlags::None);
       },
       "CNNBinaryConvolution: the data source's dataType() is Float32; binary weights are bits in UInt32 words, "
       "[O][kernelHeight][kernelWidth][ceil(I / 32)]"},
      {"transposed convolution node without weights",
       [] { MPS::CNNConvolutionTransposeNode(MPS::NNImageNode::create(nullptr), nullptr, nullptr); },
       "CNNConvolutionTransposeNode: weights is null; give a CNNConvolutionDataSource"},
  };
}

}  // namespace kovar::test
