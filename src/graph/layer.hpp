#pragma once
// What a graph runs for one filter node.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kovar/MPS/NN/CNNConvolutionNode.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"
#include "nn/core/access.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::nn {

/// Reaches into nodes.
struct NodeAccess {
  static const std::vector<Ref<MPS::NNImageNode>>& sources(const MPS::NNFilterNode& n) { return n.sources_; }
  static const std::vector<Ref<MPS::NNStateNode>>& sourceStates(const MPS::NNFilterNode& n) { return n.sourceStates_; }
  static MPS::NNFilterNode* producer(const MPS::NNImageNode& n) { return n.producer_; }
  static MPS::NNFilterNode* producer(const MPS::NNStateNode& n) { return n.producer_; }
  static MPS::NNImageNode& result(MPS::NNFilterNode& n) { return n.result_; }
  static std::unique_ptr<GraphLayer> makeLayer(MPS::NNFilterNode& n, const Ref<MTL::Device>& d) {
    return n.doMakeLayer(d);
  }
  static bool isItsOwnGradient(const MPS::NNFilterNode& n) { return n.doIsItsOwnGradient(); }
  static std::vector<Ref<MPS::NNGradientFilterNode>> gradientFilters(MPS::NNFilterNode& n,
                                                                     const Ref<MPS::NNImageNode>& g) {
    return n.doGradientFilters(g);
  }
  static const Ref<MPS::CNNConvolutionDataSource>& weights(const MPS::CNNConvolutionNode& n) { return n.weights_; }
  static std::string described(const MPS::NNFilterNode& n) { return n.described(); }
};

/// What the layers of one graph share while it is built.
struct GraphBuild {
  Ref<MTL::Device> device;
  std::map<std::pair<MPS::CNNConvolutionDataSource*, WeightsForm>, std::shared_ptr<WeightsCell>> weights;

  /// The cell of a data source in one form; loaded the first time it is asked for.
  std::shared_ptr<WeightsCell> cell(const Ref<MPS::CNNConvolutionDataSource>& source, const char* who,
                                    WeightsForm form = WeightsForm::AsGiven);
};

/// One run of one layer.
struct LayerCall {
  Ref<MTL::CommandBuffer> commandBuffer;
  std::vector<MPS::ImageBatch> sources;
  std::vector<MPS::StateBatch> states;
  bool batch = true;
  bool wantStates = false, statesAreTemporary = true;
  MPS::StateBatch resultStates;  ///< filled in when wantStates
};

class GraphLayer {
 public:
  virtual ~GraphLayer() = default;
  /// Makes the kernel.
  virtual void build(GraphBuild& build) = 0;
  virtual MPS::ImageBatch encode(LayerCall& call) = 0;
  virtual void reload() {}
  /// False: the result image is not wanted; the layer runs for its other effects, if it has any.
  virtual void setResultWanted(bool) {}
  virtual bool hasOtherEffects() const { return false; }
  /// True when the state that reaches this layer must outlive the command buffer.
  virtual bool needsLastingState() const { return false; }

  void setUp(const Ref<MPS::NNPadding>& padding, const std::string& label);
  void setAllocator(const Ref<MPS::ImageAllocator>& allocator);
  /// The kernel, or null for layers that run several.
  virtual MPS::CNNKernelBase* kernel() = 0;
};

/// A layer that is a unary kernel.
class UnaryLayer : public GraphLayer {
 public:
  explicit UnaryLayer(Ref<MPS::CNNKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(GraphBuild&) override {}
  MPS::ImageBatch encode(LayerCall& call) override;
  MPS::CNNKernelBase* kernel() override { return kernel_.get(); }

 protected:
  UnaryLayer() = default;
  Ref<MPS::CNNKernel> kernel_;
};

/// A layer that is a kernel with two sources.
class BinaryLayer : public GraphLayer {
 public:
  explicit BinaryLayer(Ref<MPS::CNNBinaryKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(GraphBuild&) override {}
  MPS::ImageBatch encode(LayerCall& call) override;
  MPS::CNNKernelBase* kernel() override { return kernel_.get(); }

 protected:
  Ref<MPS::CNNBinaryKernel> kernel_;
};

/// A layer that is a kernel with as many sources as the node.
class MultiaryLayer final : public GraphLayer {
 public:
  explicit MultiaryLayer(Ref<MPS::CNNMultiaryKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(GraphBuild&) override {}
  MPS::ImageBatch encode(LayerCall& call) override;
  MPS::CNNKernelBase* kernel() override { return kernel_.get(); }

 private:
  Ref<MPS::CNNMultiaryKernel> kernel_;
};

/// A layer that is a gradient kernel: sources are the gradient and the forward image, the state is the forward
/// kernel's.
class GradientLayer : public GraphLayer {
 public:
  explicit GradientLayer(Ref<MPS::CNNGradientKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(GraphBuild&) override {}
  MPS::ImageBatch encode(LayerCall& call) override;
  MPS::CNNKernelBase* kernel() override { return kernel_.get(); }

 protected:
  GradientLayer() = default;
  Ref<MPS::CNNGradientKernel> kernel_;
};

}  // namespace kovar::nn
