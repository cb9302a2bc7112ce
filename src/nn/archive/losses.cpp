// What activations and losses write and read. Their constructors have the rules for what was read.

#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNYOLOLoss.hpp"
#include "kovar/MPS/NN/NNLoss.hpp"
#include "nn/archive/values.hpp"

namespace kovar::MPS {

void CNNNeuron::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::code(coder, descriptor_);
  if (coder.isReading()) moveSlopes();
}
void CNNNeuronGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  nn::code(coder, descriptor_);
  if (coder.isReading()) slopes_ = CNNNeuronGradient(device_, descriptor_).slopes_;
}

void CNNLoss::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::code(coder, descriptor_);
  CNNLoss(device_, descriptor_);
}
void CNNYOLOLoss::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::code(coder, descriptor_);
  if (!coder.isReading()) return;
  const CNNYOLOLoss made(device_, descriptor_);
  xy_ = made.xy_;
  wh_ = made.wh_;
  confidence_ = made.confidence_;
  classes_ = made.classes_;
}

namespace {

void codeScalars(Archive& coder, NNLossScalars& s) {
  coder.code("weight", s.weight);
  coder.code("labelSmoothing", s.labelSmoothing);
  coder.code("epsilon", s.epsilon);
  coder.code("delta", s.delta);
}

}  // namespace

void NNForwardLoss::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::code(coder, descriptor_);
  codeScalars(coder, scalars_);
  CNNLoss(device_, descriptor_);
}
void NNLossGradient::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  nn::code(coder, descriptor_);
  codeScalars(coder, scalars_);
  coder.code("computeLabelGradients", labelGradients_);
  coder.code("lossMeanInGradient", meanInGradient_);
  CNNLoss(device_, descriptor_);
}

}  // namespace kovar::MPS
