// Wrong uses of the public interface, one a row, with the exact message each must give: one line that says what, where,
// what was given, what is wanted and how to fix it. (Wrong uses of the program: tests/tools/refused_test.cpp.)
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "errors/misuse.hpp"
#include "kovar/Support/HostWork.hpp"
#include "kovar/Support/Pictures.hpp"
#include "kovar/Support/Threads.hpp"
#include "unit/io/temporary_folder.hpp"

namespace kovar::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::string pathIn(const base::io::TemporaryFolder& folder, const std::string& name, const std::string& bytes) {
  std::ofstream(folder.file(name), std::ios::binary) << bytes;
  return folder.file(name);
}

using Nodes = MPS::NNImageNode;

Ref<MPS::NNGraph> poolingGraph() {
  const auto source = Nodes::create(std::make_shared<MPS::NamedHandle>("pictures"));
  return MPS::NNGraph::graph(device(), MPS::CNNPoolingMaxNode::create(source, 2, 2)->resultImage(), true);
}

std::vector<Misuse> misuses(const base::io::TemporaryFolder& folder) {
  return {
      // --- devices, buffers, command buffers ---
      {"no such device", [] { MTL::deviceNamed("tpu"); },
       "device \"tpu\": not on this machine or not in this build; there are: cpu"},
      {"buffer of nothing", [] { device()->newBuffer(0); },
       "Device.newBuffer: length is 0; a buffer holds at least one byte"},
      {"buffer from null", [] { device()->newBuffer(nullptr, 16); },
       "Device.newBuffer: bytes is null; give the bytes to copy or use newBuffer(length)"},
      {"no-copy buffer over null", [] { device()->newBufferNoCopy(nullptr, 16, MTL::StorageMode::Shared, {}); },
       "Device.newBufferNoCopy: needs a pointer and a length of at least 1 byte"},
      {"no-copy buffer, misaligned",
       [] {
         alignas(16) static std::array<char, 64> bytes;
         device()->newBufferNoCopy(bytes.data() + 1, 16, MTL::StorageMode::Shared, {});
       },
       "Device.newBufferNoCopy: the pointer lies 1 bytes beyond a multiple of 16; give memory aligned to 16 bytes, or "
       "copy it with newBuffer(bytes, length)"},
      {"heap without descriptor", [] { device()->newHeap(nullptr); },
       "Device.newHeap: needs a descriptor with a size of at least 1 byte"},
      {"heap too small",
       [] {
         const auto descriptor = std::make_shared<MTL::HeapDescriptor>();
         descriptor->setSize(100);
         device()->newHeap(descriptor)->newBuffer(200);
       },
       "Heap.newBuffer: needs 200 bytes, 100 of 100 are free; release resources or make a larger heap"},
      {"range beyond a buffer", [] { device()->newBuffer(8)->didModifyRange(4, 8); },
       "Buffer.didModifyRange: 4 + 8 lies beyond the length of 8 bytes"},
      {"committed twice",
       [] {
         const auto c = commands();
         c->setLabel("step");
         c->commit();
         c->commit();
       },
       "CommandBuffer \"step\": commit() called twice; a command buffer runs once, make a new one"},
      {"encoded after commit",
       [] {
         const auto c = commands();
         c->commit();
         pooling()->encode(c, image(4, 4, 4), image(2, 2, 4));
       },
       "CommandBuffer: encode after commit(); encode into a new command buffer of the queue"},
      {"waited before commit", [] { commands()->waitUntilCompleted(); },
       "CommandBuffer: waitUntilCompleted() before commit() would never return; commit first"},
      {"handler after commit",
       [] {
         const auto c = commands();
         c->commit();
         c->addCompletedHandler([](const auto&) {});
       },
       "CommandBuffer.addCompletedHandler: the buffer is committed; add handlers before commit()"},
      {"event is null", [] { commands()->encodeWait(nullptr, 1); }, "CommandBuffer.encodeWait: event is null"},
      {"handler that throws",
       [] {
         const auto c = commands();
         c->addCompletedHandler([](const auto&) { throw std::runtime_error("out of ink"); });
         runs(c);
       },
       "CommandBuffer: a completed handler threw: out of ink"},
      {"negative thread count", [] { setThreadCount(-1); },
       "setThreadCount: -1 threads; give 1 or more, or 0 for the default"},
      {"predicate misaligned", [] { MPS::Predicate(device()->newBuffer(8), 2); },
       "Predicate: offset 2 in a buffer of 8 bytes; it must be a multiple of 4 with 4 bytes behind it"},

      // --- images ---
      {"image without device", [] { MPS::Image(nullptr, shape(1, 1, 1)); }, "Image: device is null"},
      {"image without descriptor", [] { MPS::Image(device(), nullptr); }, "Image: imageDescriptor is null"},
      {"image of no width", [] { image(0, 4, 4); },
       "Image: 0 x 4 pixels, 4 channels, 1 images; each must be at least 1"},
      {"image without format", [] { MPS::Image(device(), shape(4, 4, 4, 1, Format::None)); },
       "Image: channelFormat is not set; use Unorm8, Unorm16, Float16 or Float32"},
      {"image too large", [] { image(std::size_t{1} << 20, std::size_t{1} << 20, 4); },
       "Image: the image would need more than 2^40 bytes"},
      {"image sizes that overflow", [] { image(~std::size_t{0}, 2, 4); },
       "Image: the image would need more than 2^40 bytes"},
      {"bytes from null", [] { image(4, 4, 4)->writeBytes(nullptr, MPS::DataLayout::HeightxWidthxFeatureChannels, 0); },
       "Image.writeBytes: dataBytes is null"},
      {"rows shorter than pixels",
       [] {
         std::array<float, 64> bytes{};
         image(4, 4, 4)->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 60,
                                   {{0, 0, 0}, {4, 4, 1}}, {0, 4}, 0);
       },
       "Image.readBytes: bytesPerRow is 60, a row of 4 pixels needs 64"},
      {"region beyond the image",
       [] {
         std::array<float, 64> bytes{};
         image(4, 4, 4)->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 64,
                                   {{1, 0, 0}, {4, 4, 1}}, {0, 4}, 0);
       },
       "Image.readBytes: region (1, 0) + 4 x 4 reaches beyond the image of 4 x 4"},
      {"image index beyond the last",
       [] {
         std::array<float, 64> bytes{};
         image(4, 4, 4, 2)->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 2);
       },
       "Image.readBytes: images 2 + 1 of 2; region.size.depth counts images"},
      {"channel offset of 2",
       [] {
         std::array<float, 64> bytes{};
         image(4, 4, 8)->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 64,
                                   {{0, 0, 0}, {4, 4, 1}}, {2, 4}, 0);
       },
       "Image.readBytes: channels 2 + 4 of 8; the offset must be a multiple of 4, the count too unless the offset is "
       "0, both within the image"},
      {"bytes of a temporary",
       [] {
         std::array<float, 256> bytes{};
         temporary(commands())->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
       },
       "TemporaryImage.readBytes: the host cannot reach a temporary image; encode into an Image of your own and read "
       "that"},
      {"channels that are no slice",
       [] {
         image(4, 4, 8)->subImage({2, 4});
       },
       "Image.subImage: channels 2 + 4 of 8; location and length must be multiples of 4 inside the image"},
      {"images beyond the batch",
       [] {
         image(4, 4, 4, 2)->batchRepresentation({1, 2});
       },
       "Image.batchRepresentation: images 1 + 2 of 2"},
      {"read count of a used-up temporary",
       [] {
         const auto c = commands();
         const auto t = temporary(c);
         t->setLabel("features");
         pooling()->encode(c, t);
         t->setReadCount(1);
       },
       "TemporaryImage \"features\".setReadCount: the image is used up (readCount 0), its storage may be another's by "
       "now; raise the count before the last read"},
      {"texture of level 1",
       [] {
         std::array<float, 64> bytes{};
         image(4, 4, 4)->texture()->getBytes(bytes.data(), 64, {{0, 0, 0}, {4, 4, 1}}, 1);
       },
       "Texture.getBytes: mipmapLevel is 1; there is only level 0"},

      // --- encoding ---
      {"kernel without device", [] { MPS::CNNPoolingMax(nullptr, 2, 2, 2, 2); },
       "Kernel: device is null; take one from MTL::createSystemDefaultDevice()"},
      {"no command buffer", [] { pooling()->encode(nullptr, image(4, 4, 4), image(2, 2, 4)); },
       "CNNPoolingMax.encode: commandBuffer is null"},
      {"source is null", [] { pooling()->encode(commands(), nullptr, image(2, 2, 4)); },
       "CNNPoolingMax.encode: source is null"},
      {"destination is null", [] { pooling()->encode(commands(), image(4, 4, 4), Ref<MPS::Image>()); },
       "CNNPoolingMax.encode: destination is null"},
      {"used-up temporary",
       [] {
         const auto c = commands();
         const auto t = temporary(c);
         t->setLabel("features");
         pooling()->encode(c, t);
         pooling()->encode(c, t);
       },
       "CNNPoolingMax.encode: source (TemporaryImage \"features\") is used up: its readCount is 0 and its storage may "
       "be another's; raise readCount before the encode that read it last"},
      {"temporary of another command buffer",
       [] { pooling()->encode(commands(), temporary(commands()), image(4, 4, 4)); },
       "CNNPoolingMax.encode: source is a temporary image of another command buffer; temporaries live in the buffer "
       "they were made for"},
      {"temporary that nobody wrote",
       [] {
         const auto c = commands();
         pooling()->encode(c, temporary(c), image(4, 4, 4));
         runs(c);
       },
       "operation #0 (pool dir=0 kind=0 y=2/s2/d1/p1 x=2/s2/d1/p1 zeroEdge zeroPadY=0 zeroPadX=0): reads temporary "
       "storage that nothing has written; encode its producer first"},
      {"image of another device",
       [] {
         const auto other = std::make_shared<MPS::Image>(otherDevice(), shape(4, 4, 4));
         pooling()->encode(commands(), other, image(2, 2, 4));
       },
       "CNNPoolingMax.encode: source belongs to device null, the kernel to cpu; use one device's objects"},
      {"kernel of another device",
       [] { MPS::CNNPoolingMax(otherDevice(), 2, 2, 2, 2).encode(commands(), image(4, 4, 4), image(2, 2, 4)); },
       "CNNPoolingMax.encode: the kernel belongs to device null, the command buffer to cpu; use copy(device) for a "
       "kernel of the other device"},
      {"in place",
       [] {
         const auto i = image(4, 4, 4);
         std::make_shared<MPS::CNNNeuronReLU>(device(), 0.f)->encode(commands(), i, i);
       },
       "CNNNeuronReLU.encode: the destination shares memory with a source; no kernel works in place, use another "
       "image"},
      {"batch of two sizes",
       [] {
         pooling()->encodeBatch(commands(), {image(4, 4, 4), image(6, 4, 4)}, {image(2, 2, 4), image(2, 2, 4)});
       },
       "CNNPoolingMax.encodeBatch: source[1] is 6 x 4 x 4, the first of the batch 4 x 4 x 4; a batch has one size and "
       "format"},
      {"batches of two lengths",
       [] {
         pooling()->encodeBatch(commands(), {image(4, 4, 4), image(4, 4, 4)}, {image(2, 2, 4)});
       },
       "CNNPoolingMax.encodeBatch: 2 images as source, 1 as destination; counts must match"},
      {"batch of none", [] { pooling()->encodeBatch(commands(), MPS::ImageBatch{}, MPS::ImageBatch{}); },
       "CNNPoolingMax.encodeBatch: the batch is empty; give at least one image"},
      {"image not to be written",
       [] {
         const auto readOnly = std::make_shared<MPS::Image>(
             device(),
             MPS::ImageDescriptor::imageDescriptor(Format::Float32, 2, 2, 4, 1, MTL::TextureUsage::ShaderRead));
         pooling()->encode(commands(), image(4, 4, 4), readOnly);
       },
       "CNNPoolingMax.encode: destination was made without ShaderWrite in its usage; set it in the ImageDescriptor"},
      {"destination with too few channels", [] { pooling()->encode(commands(), image(4, 4, 8), image(2, 2, 4)); },
       "CNNPoolingMax.encode: the destination has 4 feature channels, the kernel writes 8 from channel 0 on; make it "
       "at least 8 channels"},
      {"channels beyond the source",
       [] {
         const auto p = pooling();
         p->setSourceFeatureChannelOffset(4);
         p->encode(commands(), image(4, 4, 4), image(2, 2, 4));
       },
       "CNNPoolingMax.encode: the source has 4 feature channels, reading starts at 4; lower the source channel offset"},
      {"channel offset of 3", [] { pooling()->setDestinationFeatureChannelOffset(3); },
       "CNNPoolingMax.destinationFeatureChannelOffset: 3 is not a multiple of 4"},
      {"edge mode unknown", [] { pooling()->setEdgeMode(static_cast<MPS::ImageEdgeMode>(9)); },
       "CNNPoolingMax.edgeMode: 9 is not an ImageEdgeMode"},
      {"no padding", [] { pooling()->setPadding(nullptr); },
       "CNNPoolingMax.padding: null; use NNDefaultPadding::padding(method)"},
      {"window larger than its source",
       [] {
         const auto p = std::make_shared<MPS::CNNPoolingMax>(device(), 9, 9, 1, 1);
         p->setPadding(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeValidOnly));
         p->encode(commands(), image(4, 4, 4));
       },
       "CNNPoolingMax: a window of 9 columns finds no place in a source of 4 columns under the padding policy; use "
       "size same or a larger source"},
      {"window of nothing", [] { MPS::CNNPoolingMax(device(), 0, 2, 1, 1); },
       "CNNPooling: window of 0 x 2 with strides 1, 1; each must be at least 1"},
      {"stride of 0", [] { MPS::CNNPoolingAverage(device(), 2, 2, 0, 1); },
       "CNNPooling: window of 2 x 2 with strides 0, 1; each must be at least 1"},
      {"offset far away",
       [] {
         const auto c = convolution(layer(3, 4, 4));
         c->setOffset({std::ptrdiff_t{1} << 40, 0, 0});
         c->encode(commands(), image(4, 4, 4), image(4, 4, 4));
       },
       "CNNConvolution \"conv1\": an offset of 1099511627776 pixels lies beyond any image"},

      // --- convolution and its weights ---
      {"wrong channel count", [] { convolution(layer(3, 3, 8))->encode(commands(), image(8, 8, 1), image(8, 8, 8)); },
       "CNNConvolution \"conv1\".encode: the source gives 1 feature channels, 3 are needed; check its size, the source "
       "channel offset and the source channel maximum"},
      {"weights are null", [] { MPS::CNNConvolution(device(), Ref<MPS::CNNConvolutionDataSource>()); },
       "CNNConvolution: weights is null; give a CNNConvolutionDataSource"},
      {"too few weights", [] { ConvolutionWeights(layer(3, 3, 8), std::vector<float>(100)); },
       "ConvolutionWeights: 100 weights given, the descriptor needs 216 (output channels 8 x height 3 x width 3 x "
       "input channels of a group 3)"},
      {"weights that do not load",
       [] { MPS::CNNConvolution(device(), wrongSource([](WrongSource& s) { s.loads = false; })); },
       "CNNConvolution: the data source's load() returned false; it must make weights() and biasTerms() available and "
       "return true"},
      {"weights missing after load",
       [] { MPS::CNNConvolution(device(), wrongSource([](WrongSource& s) { s.hasWeights = false; })); },
       "CNNConvolution \"conv1\": the data source's weights() is null after load(); return the address of the weights"},
      {"source without descriptor",
       [] { MPS::CNNConvolution(device(), wrongSource([](WrongSource& s) { s.hasDescriptor = false; })); },
       "CNNConvolution \"conv1\": the data source's descriptor() is null; return a CNNConvolutionDescriptor"},
      {"weights of the wrong type",
       [] { MPS::CNNConvolution(device(), wrongSource([](WrongSource& s) { s.type = MPS::DataType::UInt32; })); },
       "CNNConvolution \"conv1\": the data source's dataType() is UInt32; weights are Float32, Float16 or UInt8 "
       "(binary convolutions alone take UInt32)"},
      {"kernel of no size", [] { convolution(layer(0, 4, 4)); },
       "ConvolutionWeights: the descriptor's kernelWidth is 0; it must be at least 1 and at most 16777216"},
      {"window larger than any image",
       [] {
         const auto d = layer(3, 4, 4);
         d->setDilationRateX(std::size_t{1} << 25);
         convolution(d);
       },
       "ConvolutionWeights: the descriptor's dilationRateX is 33554432; it must be at least 1 and at most 16777216"},
      {"groups that do not divide",
       [] {
         const auto d = layer(3, 6, 6);
         d->setGroups(4);
         convolution(d);
       },
       "ConvolutionWeights: 6 inputFeatureChannels in 4 groups; with more than one group each must have a multiple of "
       "4 channels"},
      {"group of 3 channels",
       [] {
         const auto d = layer(3, 6, 8);
         d->setGroups(2);
         convolution(d);
       },
       "ConvolutionWeights: 6 inputFeatureChannels in 2 groups; with more than one group each must have a multiple of "
       "4 channels"},
      {"fully connected on another size",
       [] {
         std::make_shared<MPS::CNNFullyConnected>(device(), weights(layer(7, 4, 4)))
             ->encode(commands(), image(8, 8, 4), image(1, 1, 4));
       },
       "CNNFullyConnected.encode: the source is 8 x 8 pixels, the kernel 7 x 7; a fully connected layer's kernel is as "
       "large as its source"},
      {"gradient without state",
       [] {
         std::make_shared<MPS::CNNConvolutionGradient>(device(), weights(layer(3, 4, 4)))
             ->encode(commands(), image(4, 4, 4), image(4, 4, 4), nullptr, image(4, 4, 4));
       },
       "CNNConvolutionGradient.encode: gradientOption asks for weight gradients, which go into a "
       "CNNConvolutionGradientState; give the one that the convolution's encode or resultState made, or set "
       "gradientOption to GradientWithData"},
      {"state of another kernel",
       [] {
         const auto c = commands();
         Ref<MPS::CNNConvolutionGradientState> state;
         convolution(layer(5, 4, 4))->encode(c, image(8, 8, 4), &state, false);
         std::make_shared<MPS::CNNConvolutionGradient>(device(), weights(layer(3, 4, 4)))
             ->encode(c, image(8, 8, 4), image(8, 8, 4), state, image(8, 8, 4));
       },
       "CNNConvolutionGradient.encode: the state holds 1600 bytes of weight gradients, the kernel's weights are 576; "
       "use the state of the convolution with the same data source"},
      {"state of a dropout for a convolution",
       [] {
         const auto c = commands();
         Ref<MPS::State> state;
         std::make_shared<MPS::CNNDropout>(device(), 0.5f, 1, MTL::Size{1, 1, 1})
             ->encode(c, image(8, 8, 4), &state, false);
         std::make_shared<MPS::CNNConvolutionGradient>(device(), weights(layer(3, 4, 4)))
             ->encode(c, image(8, 8, 4), image(8, 8, 4), state, image(8, 8, 4));
       },
       "CNNConvolutionGradient.encode: gradientOption asks for weight gradients, which go into a "
       "CNNConvolutionGradientState; give the one that the convolution's encode or resultState made, or set "
       "gradientOption to GradientWithData"},
      {"secondary batch of another length",
       [] {
         std::make_shared<MPS::CNNNeuronGradient>(
             device(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::ReLU))
             ->encodeBatch(commands(), {image(8, 8, 4)}, {image(8, 8, 4), image(8, 8, 4)}, MPS::StateBatch{},
                           {image(8, 8, 4)});
       },
       "CNNNeuronGradient.encodeBatch: 2 images as secondary source, 1 as destination; counts must match"},
      {"secondary source with fewer channels",
       [] {
         std::make_shared<MPS::CNNNeuronGradient>(
             device(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::ReLU))
             ->encode(commands(), image(8, 8, 8), image(8, 8, 4), nullptr, image(8, 8, 8));
       },
       "CNNNeuronGradient.encode: the source gradient gives 8 feature channels, the source image 4; both must be those "
       "of the forward kernel, see the source channel offsets and maximums"},
      {"state too small for the weights",
       [] {
         const auto c = commands();
         convolution(layer(3, 4, 4))
             ->reloadWeightsAndBiases(c, std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(
                                             device()->newBuffer(64), device()->newBuffer(16)));
       },
       "CNNConvolution \"conv1\".reloadWeightsAndBiases: the state has 64 bytes of weights, the kernel 576; use a "
       "state of a kernel with the same descriptor"},

      // --- neurons, dropout, loss, optimizers, matrices ---
      {"neuron without descriptor", [] { MPS::CNNNeuron(device(), nullptr); },
       "CNNNeuron: neuronDescriptor is null; make one with NNNeuronDescriptor::cnnNeuronDescriptor(type, ...)"},
      {"fewer slopes than channels",
       [] {
         const std::array<float, 4> slopes{};
         std::make_shared<MPS::CNNNeuronPReLU>(device(), slopes.data(), 4)
             ->encode(commands(), image(4, 4, 8), image(4, 4, 8));
       },
       "CNNNeuronPReLU.encode: the PReLU has 4 slopes, the source 8 feature channels; give one slope per channel"},
      {"dropout that keeps nothing",
       [] {
         MPS::CNNDropout(device(), 0.f, 1, {1, 1, 1});
       },
       "CNNDropout: keepProbability is 0.000000; it must lie strictly between 0 and 1"},
      {"dropout of NaN",
       [] {
         MPS::CNNDropout(device(), kNaN, 1, {1, 1, 1});
       },
       "CNNDropout: keepProbability is nan; it must lie strictly between 0 and 1"},
      {"loss without labels", [] { loss()->encode(commands(), image(1, 1, 4), Ref<MPS::CNNLossLabels>()); },
       "CNNLoss.encode: labels are null"},
      {"labels for another batch size",
       [] {
         loss()->encodeBatch(commands(), {image(1, 1, 4), image(1, 1, 4)}, MPS::CNNLossLabelsBatch{labels()});
       },
       "CNNLoss.encodeBatch: 1 labels for 2 images; give one CNNLossLabels per image"},
      {"labels for fewer classes", [] { loss(8)->encode(commands(), image(1, 1, 8), labels(4)); },
       "CNNLoss.encode: labels are 1 x 1 x 4, the prediction 1 x 1 x 8; they must be at least as large"},
      {"labels from too few bytes",
       [] {
         const std::array<float, 2> values{};
         MPS::CNNLossDataDescriptor::cnnLossDataDescriptor(std::as_bytes(std::span(values)),
                                                           MPS::DataLayout::HeightxWidthxFeatureChannels, {1, 1, 4});
       },
       "CNNLossDataDescriptor: 8 bytes of data, 1 x 1 x 4 float32 values need 16"},
      {"learning rate of NaN", [] { MPS::NNOptimizerAdam(device(), kNaN); },
       "NNOptimizerAdam: learningRate is nan; give a finite number"},
      {"learning rate set to infinity", [] { MPS::NNOptimizerAdam(device(), 0.1f).setLearningRate(INFINITY); },
       "NNOptimizerAdam.setLearningRate: learningRate is inf; give a finite number"},
      {"beta of 1",
       [] {
         MPS::NNOptimizerAdam(
             device(), 1.0, 0.999, 1e-8f, 0,
             MPS::NNOptimizerDescriptor::optimizerDescriptor(0.1f, 1.f, MPS::NNRegularizationType::None, 0.f));
       },
       "NNOptimizerAdam: beta1 is 1.000000; it must be at least 0 and below 1"},
      {"vectors of two lengths",
       [] {
         std::make_shared<MPS::NNOptimizerAdam>(device(), 0.1f)
             ->encode(commands(), vector(8), vector(8), vector(7), vector(8), vector(8));
       },
       "NNOptimizerAdam.encode: inputMomentumVector has 1 vector of 7, the values 1 vector of 8; it must be at least "
       "as large"},
      {"vector over a short buffer",
       [] { MPS::Vector(device()->newBuffer(12), MPS::VectorDescriptor::vectorDescriptor(4, MPS::DataType::Float32)); },
       "Vector: the buffer has 12 bytes, the shape needs 16"},
      {"matrix without rows", [] { MPS::MatrixDescriptor::matrixDescriptor(0, 4, 16, MPS::DataType::Float32); },
       "MatrixDescriptor: 0 rows, 4 columns, 1 matrices; each must be at least 1, the data type a whole number of "
       "bytes"},
      {"random numbers of the wrong type",
       [] {
         MPS::MatrixRandomMTGP32(device(), MPS::DataType::Float32, 1,
                                 MPS::MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(0.f, 1.f))
             .encode(commands(), vector(8, MPS::DataType::Float16));
       },
       "MatrixRandomMTGP32.encode: the destination's data type is not the kernel's Float32"},
      {"random numbers of an empty range",
       [] { MPS::MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(1.f, 0.5f); },
       "MatrixRandomDistributionDescriptor: minimum 1.000000 is above maximum 0.500000"},

      // --- graphs ---
      {"graph without filter",
       [] { MPS::NNGraph::graph(device(), Nodes::create(std::make_shared<MPS::NamedHandle>("x")), true); },
       "NNGraph: a result image node is the result of no filter; give a filter node's resultImage()"},
      {"graph without result", [] { MPS::NNGraph::graph(device(), Ref<Nodes>(), true); },
       "NNGraph: a result image node is null"},
      {"graph with a missing source", [] { poolingGraph()->encode(commands(), {}); },
       "NNGraph.encode: 0 source images given, the graph reads 1; give them in the order of sourceImageHandles()"},
      {"graph with a null source", [] { poolingGraph()->encode(commands(), {nullptr}); },
       "NNGraph.encode: a source image is null"},
      {"graph without command buffer", [] { poolingGraph()->encode(nullptr, {image(4, 4, 4)}); },
       "NNGraph.encode: commandBuffer is null"},
      {"node without source", [] { MPS::CNNPoolingMaxNode::create(nullptr, 2, 2); },
       "NNFilterNode: a source image node is null"},
      {"training graph without its labels",
       [] {
         const auto source = Nodes::create(std::make_shared<MPS::NamedHandle>("x"));
         const auto d = MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy,
                                                                  MPS::CNNReductionType::Sum);
         d->setNumberOfClasses(4);
         const auto l = MPS::CNNLossNode::create(
             MPS::CNNFullyConnectedNode::create(source, weights(layer(1, 4, 4)))->resultImage(), d);
         const auto g = MPS::NNGraph::graph(device(), l->trainingGraph(nullptr, nullptr).front()->resultImage(), true);
         g->encodeBatch(commands(), {{image(1, 1, 4)}}, {});
       },
       "NNGraph.encodeBatch: 0 source states given, the graph reads 1; give them in the order of sourceStateHandles()"},
      {"graph fed with the wrong channels",
       [] {
         const auto source = Nodes::create(std::make_shared<MPS::NamedHandle>("x"));
         const auto g = MPS::NNGraph::graph(
             device(), MPS::CNNConvolutionNode::create(source, weights(layer(3, 3, 8)))->resultImage(), true);
         g->encode(commands(), {image(8, 8, 1)});
       },
       "CNNConvolution.encode: the source gives 1 feature channels, 3 are needed; check its size, the source channel "
       "offset and the source channel maximum"},

      // --- a caller's own work, pictures, weights in files ---
      {"host work without a function", [] { encodeHost(commands(), {}, {}, nullptr); },
       "encodeHost: function is empty"},
      {"host work over null", [] { encodeHost(commands(), {Ref<MPS::Image>()}, {}, [](auto, auto) {}); },
       "encodeHost: an entry of reads is null"},
      {"host work that throws",
       [] {
         const auto c = commands();
         encodeHost(c, {}, {image(1, 1, 1)}, [](auto, auto) { throw std::runtime_error("out of ink"); });
         runs(c);
       },
       "encodeHost: the function threw: out of ink"},
      {"picture that is not there", [&folder] { readPicture(device(), folder.file("none.png")); },
       "cannot read 'FOLDER/none.png': no such file or folder"},
      {"not a picture", [&folder] { readPicture(device(), pathIn(folder, "text.png", "hello, this is text")); },
       "cannot read 'FOLDER/text.png' as a picture: it is neither PNG nor JPEG"},
      {"picture cut short", [&folder] { readPicture(device(), pathIn(folder, "cut.png", "\x89PNG\r\n\x1a\n")); },
       "cannot read 'FOLDER/cut.png' as PNG: the file ends too early; is it cut short?"},
      {"picture with 5 channels", [&folder] { readPicture(device(), folder.file("none.png"), 5); },
       "readPicture: 5 channels; give 1 to 4, or 0 for those of the file"},
      {"picture to a folder that is not there",
       [&folder] { writePicture(image(2, 2, 1), folder.file("no/where.png")); },
       "cannot write 'FOLDER/no/where.png': no such file or folder"},
      {"picture to a full disk", [] { writePicture(image(2, 2, 1), "/dev/full"); },
       "cannot write '/dev/full': the disk is full; free some space or choose another place"},
      {"picture of 8 channels", [&folder] { writePicture(image(2, 2, 8), folder.file("x.png")); },
       "writePicture: the image has 8 channels, a picture at most 4; choose some with subImage()"},
      {"weights file that is none", [&folder] { SafetensorsFile(pathIn(folder, "w", "these are no weights")); },
       "cannot read 'FOLDER/w' as safetensors: its header would have 8241904413164529780 bytes, wanted at most "
       "100000000; it is probably another kind of file"},
      {"weights file without the tensor",
       [&folder] {
         SafetensorsFile(pathIn(folder, "e", std::string("\x02\0\0\0\0\0\0\0{}", 10))).floats("conv1.weight");
       },
       "SafetensorsFile FOLDER/e: there is no tensor \"conv1.weight\""},
  };
}

TEST(Errors, EveryWrongUseGivesItsMessage) {
  const base::io::TemporaryFolder folder;
  std::set<std::string> names;
  std::vector<Misuse> table = misuses(folder);
  for (auto* more : {normalizationMisuses, shapeMisuses, lossMisuses, arithmeticMisuses, reshapeMisuses, resizeMisuses,
                     convolutionMisuses, archiveMisuses})
    for (Misuse& m : more()) table.push_back(std::move(m));
  EXPECT_GE(table.size(), 100u);
  for (const Misuse& m : table) {
    EXPECT_TRUE(names.insert(m.name).second) << m.name << " stands twice";
    std::string said;
    try {
      m.use();
      ADD_FAILURE() << m.name << ": no error";
      continue;
    } catch (const Error& error) {
      said = error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << m.name << ": not a kovar::Error: " << error.what();
      continue;
    }
    for (std::size_t at = said.find(folder.path()); at != std::string::npos; at = said.find(folder.path()))
      said.replace(at, folder.path().size(), "FOLDER");
    EXPECT_EQ(said, m.message) << m.name;
    EXPECT_EQ(said.find('\n'), std::string::npos) << m.name;
  }
}

}  // namespace
}  // namespace kovar::test
