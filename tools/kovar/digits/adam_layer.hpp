#pragma once
// A convolution or fully connected layer that learns: its weights, and Adam's moments beside them.

#include <span>
#include <string>
#include <vector>

#include "kovar/kovar.hpp"

namespace kovar::tools {

/// A data source that updates itself on the device. The weights in use belong to the training graph and are updated
/// there, in place. values() sees them after a step that was encoded while keep() was on: such a step writes them here
/// as well.
class AdamLayer final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  AdamLayer(const Ref<MTL::Device>& device, std::string label, const Ref<MPS::CNNConvolutionDescriptor>& descriptor,
            float learningRate);

  const std::string& name() const { return label_; }
  /// Inputs of one output value.
  std::size_t fanIn() const;
  /// [outputs][kernelHeight][kernelWidth][inputs]
  std::vector<std::size_t> weightShape() const;
  /// What load() hands out. Write them before a graph is made; read them once the step that kept them has completed.
  std::span<float> weightValues() const;
  std::span<float> biasValues() const;
  /// Adam's moments of the weights and of the biases, of the last completed step.
  std::span<float> firstMoments(bool ofBiases) const;
  std::span<float> secondMoments(bool ofBiases) const;
  /// The vector that MPS::MatrixRandom fills.
  Ref<MPS::Vector> weightVector() const;

  std::size_t timeStep() const { return adam_->timeStep(); }
  void setTimeStep(std::size_t timeStep) { adam_->setTimeStep(timeStep); }
  void setKeep(bool keep) { keep_ = keep; }

  MPS::DataType dataType() override { return MPS::DataType::Float32; }
  MPS::DataType kernelWeightsDataType() override { return MPS::DataType::Float32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return weightValues().data(); }
  const float* biasTerms() override { return biasValues().data(); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return label_; }
  using CNNConvolutionDataSource::update;
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> update(
      const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::CNNConvolutionGradientState>& gradientState,
      const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& sourceState) override;

 private:
  std::string label_;
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
  Ref<MPS::NNOptimizerAdam> adam_;
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> kept_;
  std::vector<Ref<MPS::Vector>> first_, second_;  // [0] of the weights, [1] of the biases
  bool keep_ = false;
};

}  // namespace kovar::tools
