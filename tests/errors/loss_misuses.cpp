// Wrong uses of the anchor-box loss and of losses over images, for the table of errors_test.cpp.

#include <span>

#include "errors/misuse.hpp"

namespace kovar::test {
namespace {

Ref<MPS::CNNYOLOLossDescriptor> boxes(std::vector<float> anchors = {1.f, 1.f}, std::size_t count = 1) {
  using T = MPS::CNNLossType;
  return MPS::CNNYOLOLossDescriptor::cnnLossDescriptor(T::MeanSquaredError, T::Huber, T::SigmoidCrossEntropy,
                                                       T::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum,
                                                       std::as_bytes(std::span(anchors)), count);
}
Ref<MPS::CNNLossDescriptor> squared(MPS::CNNReductionType reduction) {
  return MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanSquaredError, reduction);
}
Ref<MPS::NNImageNode> node() { return MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("x")); }

}  // namespace

std::vector<Misuse> lossMisuses() {
  return {
      {"anchor-box loss without anchors", [] { MPS::CNNYOLOLoss(device(), boxes({}, 0)); },
       "CNNYOLOLoss: numberOfAnchorBoxes is 0; it must lie between 1 and 65536"},
      {"fewer bytes than anchors",
       [] {
         MPS::CNNYOLOLoss(device(), boxes({1.f, 1.f}, 2));
       },
       "CNNYOLOLoss: 8 bytes of anchorBoxes; 2 pairs of float32 need 16"},
      {"anchor without a side",
       [] {
         MPS::CNNYOLOLoss(device(), boxes({1.f, 0.f}));
       },
       "CNNYOLOLoss: anchor box 0 is 1.000000 x 0.000000 cells; both sides must be above 0"},
      {"anchor-box term of another type",
       [] {
         const auto d = boxes();
         d->setWHLossDescriptor(MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy,
                                                                          MPS::CNNReductionType::Sum));
         MPS::CNNYOLOLoss(device(), d);
       },
       "CNNYOLOLoss: whLossDescriptor: loss type 2 does not apply to this term; use MeanAbsoluteError, "
       "MeanSquaredError "
       "or Huber"},
      {"anchor-box term missing",
       [] {
         const auto d = boxes();
         d->setClassesLossDescriptor(nullptr);
         MPS::CNNYOLOLoss(device(), d);
       },
       "CNNYOLOLoss: classesLossDescriptor is null"},
      {"anchor-box loss without descriptor", [] { MPS::CNNYOLOLoss(device(), nullptr); },
       "CNNYOLOLoss: lossDescriptor is null"},
      {"channels that are no anchors",
       [] {
         MPS::CNNYOLOLoss(device(), boxes({1.f, 1.f, 2.f, 2.f}, 2)).encode(commands(), image(1, 1, 7), labels(7));
       },
       "CNNYOLOLoss.encode: the source has 7 feature channels for 2 anchor boxes; each takes 5 and one for every "
       "class"},
      {"forward loss with small labels",
       [] {
         MPS::NNForwardLoss kernel(device(), squared(MPS::CNNReductionType::Sum));
         kernel.encodeBatch(commands(), {image(4, 4, 4)}, {image(4, 3, 4)}, {}, MPS::StateBatch{}, {image(1, 1, 1)});
       },
       "NNForwardLoss.encodeBatch: labels are 4 x 3 x 4, the prediction 4 x 4 x 4; they must be at least as large"},
      {"forward loss into another size",
       [] {
         MPS::NNForwardLoss kernel(device(), squared(MPS::CNNReductionType::Mean));
         kernel.encodeBatch(commands(), {image(4, 4, 4)}, {image(4, 4, 4)}, {}, MPS::StateBatch{}, {image(4, 4, 4)});
       },
       "NNForwardLoss.encodeBatch: the destination is 4 x 4 x 1; it must be 1 x 1 x 1"},
      {"forward loss without labels",
       [] {
         MPS::NNForwardLoss kernel(device(), squared(MPS::CNNReductionType::Sum));
         static_cast<MPS::CNNKernel&>(kernel).encode(commands(), image(4, 4, 4), image(1, 1, 1));
       },
       "NNForwardLoss.encodeBatch: needs labels; use the forms that take label images"},
      {"loss gradient of another size",
       [] {
         MPS::NNLossGradient kernel(device(), squared(MPS::CNNReductionType::Sum));
         kernel.encodeBatch(commands(), {image(4, 4, 4)}, {image(4, 4, 4)}, {image(4, 4, 4)}, {}, {}, {image(4, 4, 4)});
       },
       "NNLossGradient.encodeBatch: the incoming gradient is 4 x 4 x 4; it must be 1 x 1 x 1"},
      {"loss gradient with the state of another kernel",
       [] {
         const auto source = image(4, 4, 4);
         const auto state = pooling()->resultState(source, {}, image(2, 2, 4));
         MPS::NNLossGradient kernel(device(), squared(MPS::CNNReductionType::Sum));
         kernel.encodeBatch(commands(), {image(1, 1, 1)}, {source}, {image(4, 4, 4)}, {}, {state}, {image(4, 4, 4)});
       },
       "NNLossGradient.encodeBatch: the state was made by a kernel of another class; use that of the NNForwardLoss"},
      {"forward loss node of one source",
       [] {
         MPS::NNForwardLossNode::create(std::vector<Ref<MPS::NNImageNode>>{node()},
                                        squared(MPS::CNNReductionType::Sum));
       },
       "NNForwardLossNode: 1 sources given; it reads predictions, labels and perhaps weights"},
  };
}

}  // namespace kovar::test
