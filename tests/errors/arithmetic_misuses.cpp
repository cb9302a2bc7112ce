// Wrong uses of arithmetic, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {

std::vector<Misuse> arithmeticMisuses() {
  return {
      {"comparison of no kind",
       [] { MPS::NNCompare(device()).setComparisonType(static_cast<MPS::NNComparisonType>(9)); },
       "NNCompare.comparisonType: 9 is not an NNComparisonType"},
      {"gradient stride", [] { MPS::CNNAddGradient(device(), false).setSecondaryStrideInFeatureChannels(3); },
       "CNNAddGradient.secondaryStrideInFeatureChannels: 3; a stride is 0 (repeat) or 1"},
      {"gradient of a sum without a state",
       [] {
         MPS::CNNAddGradient(device(), false).encode(commands(), image(2, 2, 4), image(2, 2, 4), Ref<MPS::State>());
       },
       "CNNAddGradient: needs the state that the forward kernel's encode or resultState made; without one, set the "
       "properties and give a destination image"},
      {"gradient with a state of another class",
       [] {
         const auto x = image(2, 2, 4);
         const auto state = MPS::CNNAdd(device()).resultState(x, x, {}, x);
         MPS::CNNSubtractGradient(device(), false).encode(commands(), x, x, state);
       },
       "CNNSubtractGradient: the state was made by another arithmetic class; use that of this gradient's forward "
       "kernel"},
      {"gradient with a state of another family",
       [] {
         const auto x = image(4, 4, 4);
         const auto state = pooling()->resultState(x, {}, x);
         MPS::CNNSubtractGradient(device(), false).encode(commands(), x, x, state);
       },
       "CNNSubtractGradient: the state is not a CNNArithmeticGradientState; give the one that the forward kernel "
       "recorded "
       "into"},
      {"gradient before the forward kernel",
       [] {
         const auto x = image(2, 2, 4);
         MPS::CNNAdd add(device());
         add.setMaximumValue(6.f);
         const auto state = add.resultState(x, x, {}, x);
         MPS::CNNAddGradient(device(), true).encode(commands(), x, x, state);
       },
       "CNNAddGradient.encode: the forward kernel's limits change values, but the state has no mask of them yet; "
       "encode "
       "the forward kernel with this state first"},
      {"quotient with a state",
       [] {
         const auto x = image(2, 2, 4);
         const auto state =
             std::dynamic_pointer_cast<MPS::CNNArithmeticGradientState>(MPS::CNNAdd(device()).resultState(x, x, {}, x));
         MPS::CNNDivide(device()).encode(commands(), x, x, state, image(2, 2, 4));
       },
       "CNNDivide.encode: a destination state is given, but this class has no gradient; encode without one"},
      {"product with an operand of other channels",
       [] {
         MPS::CNNMultiplyGradient k(device(), false);
         k.encode(commands(), image(2, 2, 4), image(2, 2, 8), nullptr, image(2, 2, 4));
       },
       "CNNMultiplyGradient.encode: the gradient gives 4 feature channels, the other operand 8; both must be those of "
       "the "
       "forward kernel, see the source channel offsets and maximums"},
      {"three operands",
       [] {
         const auto n = MPS::NNImageNode::create(nullptr);
         MPS::NNAdditionNode::create({n, n, n});
       },
       "NNBinaryArithmeticNode: 3 source images given; an arithmetic stage combines two"},
      {"graph of no operation",
       [] {
         const auto n = MPS::NNImageNode::create(nullptr);
         MPS::NNGraph::graph(device(), MPS::NNBinaryArithmeticNode::create(n, n)->resultImage(), true);
       },
       "NNBinaryArithmeticNode: the base class computes nothing; use NNAdditionNode or one of its kin"},
      {"gradient stage of another stage",
       [] {
         const auto n = MPS::NNImageNode::create(nullptr);
         MPS::NNAdditionGradientNode({n}, MPS::CNNPoolingMaxNode::create(n, 2), false);
       },
       "NNArithmeticGradientNode: forwardFilter is not an arithmetic node; give the node whose gradient this is"},
  };
}

}  // namespace kovar::test
