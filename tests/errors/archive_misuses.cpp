// Wrong uses of archives, for the table of errors_test.cpp.

#include <cstring>

#include "errors/misuse.hpp"

namespace kovar::test {
namespace {

using Bytes = std::vector<std::byte>;

Bytes writtenPooling() {
  MPS::Archive archive;
  MPS::CNNPoolingMax(device(), 2, 2).encodeWithCoder(archive);
  return archive.data();
}
Bytes changed(std::size_t at, std::byte value) {
  Bytes bytes = writtenPooling();
  bytes[at] = value;
  return bytes;
}
std::string text(const Bytes& bytes, std::size_t less) { return std::to_string(bytes.size() - 32 - less); }

class Policy final : public Object, public MPS::NNPadding {
 public:
  MPS::NNPaddingMethod paddingMethod() override { return MPS::NNPaddingMethod::SizeSame; }
};
class Allocator final : public Object, public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>&, const Ref<MPS::ImageDescriptor>&,
                        const Ref<MPS::Kernel>&) override {
    return nullptr;
  }
};
class Alpha final : public Object, public MPS::NNGramMatrixCallback {
 public:
  float alpha(const Ref<MPS::Image>&, const Ref<MPS::Image>&) override { return 1.f; }
};

Ref<MPS::NNImageNode> input() { return MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("x")); }

/// A kernel that was read, and so has no data source.
Ref<MPS::CNNConvolution> readConvolution() {
  MPS::Archive written;
  MPS::CNNConvolution(device(), weights(layer(1, 4, 4))).encodeWithCoder(written);
  MPS::Archive archive(written.data());
  return std::make_shared<MPS::CNNConvolution>(archive, device());
}

}  // namespace

std::vector<Misuse> archiveMisuses() {
  const Bytes good = writtenPooling();
  return {
      {"a few bytes", [] { MPS::Archive(Bytes(4)); },
       "Archive: 4 bytes are no archive; it begins with 32 bytes of header"},
      {"other bytes", [] { MPS::Archive(changed(0, std::byte{'k'})); },
       "Archive: the bytes do not begin as an archive does; give what Archive::data() returned"},
      {"a later version", [] { MPS::Archive(changed(8, std::byte{9})); },
       "Archive: version 9 of the format; this library reads version 1"},
      {"cut short", [=] { MPS::Archive(std::span(good).first(good.size() - 3)); },
       "Archive: " + text(good, 3) + " bytes behind the header, which says " + text(good, 0) +
           "; the archive was cut short or added to"},
      {"a changed byte", [] { MPS::Archive(changed(100, std::byte{0xee})); },
       "Archive: the checksum does not match; the bytes have been changed since they were written"},
      {"another class",
       [=] {
         MPS::Archive archive(good);
         MPS::CNNPoolingAverage(archive, device());
       },
       "Archive: CNNPoolingAverage: the archive holds a CNNPoolingMax here; read it with the constructor of its class "
       "or "
       "decodeKernel"},
      {"a value that the class refuses",
       [] {
         MPS::Archive written;
         written.object("CNNSoftMax", [&] {
           std::size_t options = 4096;
           written.code("options", options);
         });
         MPS::Archive archive(written.data());
         archive.decodeKernel(device());
       },
       "Archive: CNNSoftMax: options is not a value of its enumeration"},
      {"a field that is not there",
       [] {
         MPS::Archive written;
         written.object("CNNSoftMax", [&] {
           float x = 1.f;
           written.code("alpha", x);
         });
         MPS::Archive archive(written.data());
         archive.decodeKernel(device());
       },
       "Archive: CNNSoftMax: finds 'alpha' where options is wanted; read objects in the order of writing"},
      {"an unknown class",
       [] {
         MPS::Archive written;
         written.object("Mine", [] {});
         MPS::Archive archive(written.data());
         archive.decodeKernel(device());
       },
       "Archive.decodeKernel: the archive holds a Mine here, which is not in the table of kernels; read descriptors "
       "and "
       "graphs with the constructors of their classes"},
      {"reading what is written",
       [] {
         MPS::Archive archive;
         archive.decodeKernel(device());
       },
       "Archive.decodeKernel: the archive is being written; make one over its data()"},
      {"a constructor on an archive that is written",
       [] {
         MPS::Archive archive;
         MPS::CNNSoftMax(archive, device());
       },
       "CNNSoftMax: the archive is being written; make one over its data() and read that"},
      {"writing into what is read",
       [=] {
         MPS::Archive archive(good);
         MPS::CNNSoftMax(device()).encodeWithCoder(archive);
       },
       "CNNSoftMax.encodeWithCoder: the archive is being read; write into an empty one"},
      {"nothing left",
       [] {
         MPS::Archive archive(MPS::Archive().data());
         archive.decodeKernel(device());
       },
       "Archive.decodeKernel: the archive is at its end; nothing is left to read"},
      {"a policy of the caller's",
       [] {
         MPS::CNNSoftMax kernel(device());
         kernel.setPadding(std::make_shared<Policy>());
         MPS::Archive archive;
         kernel.encodeWithCoder(archive);
       },
       "CNNSoftMax.encodeWithCoder: the padding policy is of the caller's own class, which is not written; set a "
       "NNDefaultPadding, write, and set yours again, on the kernel that is read too"},
      {"an allocator of the caller's",
       [] {
         MPS::CNNSoftMax kernel(device());
         kernel.setDestinationImageAllocator(std::make_shared<Allocator>());
         MPS::Archive archive;
         kernel.encodeWithCoder(archive);
       },
       "CNNSoftMax.encodeWithCoder: the image allocator is of the caller's own class, which is not written; set "
       "Image::defaultAllocator(), write, and set yours again, on what is read too"},
      {"a data source that was not written", [] { readConvolution()->reloadWeightsAndBiasesFromDataSource(); },
       "CNNConvolution.reloadWeightsAndBiasesFromDataSource: it has no data source, as it was read from an "
       "archive; make a kernel over a data source instead"},
      {"a graph that trains",
       [] {
         const auto conv = MPS::CNNConvolutionNode::create(input(), weights(layer(1, 4, 4)));
         const auto loss = MPS::CNNLossNode::create(
             conv->resultImage(),
             MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanSquaredError, MPS::CNNReductionType::Sum));
         const auto graph =
             MPS::NNGraph::graph(device(), loss->trainingGraph(nullptr, nullptr).at(0)->resultImage(), false);
         MPS::Archive archive;
         graph->encodeWithCoder(archive);
       },
       "NNGraph.encodeWithCoder: the stage CNNConvolutionGradient trains weights, and the data source that updates "
       "them "
       "is not written; write the graph for inference, or the kernels one by one"},
      {"a graph with a callback",
       [] {
         const auto gram = MPS::NNGramMatrixCalculationNode::create(input());
         gram->setPropertyCallBack(std::make_shared<Alpha>());
         MPS::Archive archive;
         MPS::NNGraph::graph(device(), gram->resultImage(), true)->encodeWithCoder(archive);
       },
       "NNGraph.encodeWithCoder: the stage NNGramMatrixCalculation has a callback, which is not written; make the "
       "graph "
       "without it"},
  };
}

}  // namespace kovar::test
