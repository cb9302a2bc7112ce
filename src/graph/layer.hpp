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

/// What the copies of one graph's layers share.
struct GraphCopy {
  Ref<MTL::Device> device;
  std::map<const WeightsCell*, std::shared_ptr<WeightsCell>> cells;
  std::map<const MPS::CNNConvolutionDataSource*, Ref<MPS::CNNConvolutionDataSource>> sources;

  /// The copy of a cell, over the copy of its data source; made the first time it is asked for.
  std::shared_ptr<WeightsCell> cell(const WeightsCell& original, const char* who);
  /// A kernel with its cell replaced by the copy.
  template <class K>
  Ref<K> withWeights(const K& kernel, const char* who) {
    return ConvolutionAccess::copyWith(kernel, cell(*ConvolutionAccess::cell(kernel), who));
  }
  template <class K>
  Ref<K> kernel(const Ref<K>& original) {
    return std::static_pointer_cast<K>(original->copy(device));
  }
};

class GraphLayer;
/// A layer in an archive: which kind, the kernel it runs and the numbers it adds.
struct LayerRecord {
  std::string kind;
  Ref<MPS::Kernel> kernel;
  std::vector<std::size_t> numbers;
};
/// The layer of a record; throws Error for one that no layer gives.
std::unique_ptr<GraphLayer> layerOf(const LayerRecord& record);
// Its parts, where the layers are.
std::unique_ptr<GraphLayer> reshapeLayer(const LayerRecord& record);
std::unique_ptr<GraphLayer> batchNormalizationLayer(const LayerRecord& record);
std::unique_ptr<GraphLayer> transposeLayer(const LayerRecord& record);
std::unique_ptr<GraphLayer> labelledLossLayer(const LayerRecord& record);
std::unique_ptr<GraphLayer> lossLayer(const LayerRecord& record);

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
  /// The same layer over copies of its kernels.
  virtual std::unique_ptr<GraphLayer> copyFor(GraphCopy& copy) const = 0;
  /// Whether it runs on so many images and states.
  virtual bool takes(std::size_t images, std::size_t /*states*/) const { return images >= 1; }
  /// Throws Error for a layer that cannot be written: one that trains, or that calls the caller's code.
  virtual LayerRecord record() const = 0;
};

[[noreturn]] void refuseTraining(const MPS::Kernel& kernel);
[[noreturn]] void refuseCallback(const MPS::Kernel& kernel);

/// A layer that is a unary kernel.
class UnaryLayer : public GraphLayer {
 public:
  explicit UnaryLayer(Ref<MPS::CNNKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(GraphBuild&) override {}
  MPS::ImageBatch encode(LayerCall& call) override;
  MPS::CNNKernelBase* kernel() override { return kernel_.get(); }
  std::unique_ptr<GraphLayer> copyFor(GraphCopy& copy) const override {
    return std::make_unique<UnaryLayer>(copy.kernel(kernel_));
  }
  LayerRecord record() const override { return {"unary", kernel_, {}}; }

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
  std::unique_ptr<GraphLayer> copyFor(GraphCopy& copy) const override {
    return std::make_unique<BinaryLayer>(copy.kernel(kernel_));
  }
  bool takes(std::size_t images, std::size_t) const override { return images >= 2; }
  LayerRecord record() const override { return {"binary", kernel_, {}}; }

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
  std::unique_ptr<GraphLayer> copyFor(GraphCopy& copy) const override {
    return std::make_unique<MultiaryLayer>(copy.kernel(kernel_));
  }
  LayerRecord record() const override { return {"multiary", kernel_, {}}; }

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
  std::unique_ptr<GraphLayer> copyFor(GraphCopy& copy) const override {
    return std::make_unique<GradientLayer>(copy.kernel(kernel_));
  }
  bool takes(std::size_t images, std::size_t) const override { return images >= 2; }
  LayerRecord record() const override { return {"gradient", kernel_, {}}; }

 protected:
  GradientLayer() = default;
  Ref<MPS::CNNGradientKernel> kernel_;
};

}  // namespace kovar::nn
