#pragma once

#include <cstddef>
#include <span>

#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Graph stage of CNNNeuron. Implements MPSCNNNeuronNode.
class CNNNeuronNode : public NNFilterNode {
 public:
  static Ref<CNNNeuronNode> create(const Ref<NNImageNode>& source, const Ref<NNNeuronDescriptor>& descriptor);
  float a() const { return descriptor_->a(); }
  float b() const { return descriptor_->b(); }
  float c() const { return descriptor_->c(); }

 protected:
  CNNNeuronNode(const Ref<NNImageNode>& source, const Ref<NNNeuronDescriptor>& descriptor);
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNNeuronNode"; }

  Ref<NNNeuronDescriptor> descriptor_;
};

/// Graph stage of CNNNeuronGradient. Implements MPSCNNNeuronGradientNode.
class CNNNeuronGradientNode : public NNGradientFilterNode {
 public:
  CNNNeuronGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                        const Ref<NNGradientStateNode>& gradientState, const Ref<NNNeuronDescriptor>& descriptor);
  static Ref<CNNNeuronGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                           const Ref<NNGradientStateNode>& gradientState,
                                           const Ref<NNNeuronDescriptor>& descriptor);
  Ref<NNNeuronDescriptor> descriptor() const { return descriptor_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNNeuronGradientNode"; }

  Ref<NNNeuronDescriptor> descriptor_;
};

// One class per function; parameters and defaults as in NNNeuronDescriptor.

/// Implements MPSCNNNeuronAbsoluteNode.
class CNNNeuronAbsoluteNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronAbsoluteNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronAbsoluteNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronAbsoluteNode>(source);
  }

 protected:
  const char* className() const override { return "CNNNeuronAbsoluteNode"; }
};

/// Implements MPSCNNNeuronELUNode.
class CNNNeuronELUNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronELUNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronELUNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronELUNode>(source);
  }
  CNNNeuronELUNode(const Ref<NNImageNode>& source, float a);
  static Ref<CNNNeuronELUNode> create(const Ref<NNImageNode>& source, float a) {
    return std::make_shared<CNNNeuronELUNode>(source, a);
  }

 protected:
  const char* className() const override { return "CNNNeuronELUNode"; }
};

/// Implements MPSCNNNeuronReLUNNode.
class CNNNeuronReLUNNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronReLUNNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronReLUNNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronReLUNNode>(source);
  }
  CNNNeuronReLUNNode(const Ref<NNImageNode>& source, float a, float b);
  static Ref<CNNNeuronReLUNNode> create(const Ref<NNImageNode>& source, float a, float b) {
    return std::make_shared<CNNNeuronReLUNNode>(source, a, b);
  }

 protected:
  const char* className() const override { return "CNNNeuronReLUNNode"; }
};

/// Implements MPSCNNNeuronLinearNode.
class CNNNeuronLinearNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronLinearNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronLinearNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronLinearNode>(source);
  }
  CNNNeuronLinearNode(const Ref<NNImageNode>& source, float a, float b);
  static Ref<CNNNeuronLinearNode> create(const Ref<NNImageNode>& source, float a, float b) {
    return std::make_shared<CNNNeuronLinearNode>(source, a, b);
  }

 protected:
  const char* className() const override { return "CNNNeuronLinearNode"; }
};

/// Implements MPSCNNNeuronReLUNode.
class CNNNeuronReLUNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronReLUNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronReLUNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronReLUNode>(source);
  }
  CNNNeuronReLUNode(const Ref<NNImageNode>& source, float a);
  static Ref<CNNNeuronReLUNode> create(const Ref<NNImageNode>& source, float a) {
    return std::make_shared<CNNNeuronReLUNode>(source, a);
  }

 protected:
  const char* className() const override { return "CNNNeuronReLUNode"; }
};

/// Implements MPSCNNNeuronSigmoidNode.
class CNNNeuronSigmoidNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronSigmoidNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronSigmoidNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronSigmoidNode>(source);
  }

 protected:
  const char* className() const override { return "CNNNeuronSigmoidNode"; }
};

/// Implements MPSCNNNeuronHardSigmoidNode.
class CNNNeuronHardSigmoidNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronHardSigmoidNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronHardSigmoidNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronHardSigmoidNode>(source);
  }
  CNNNeuronHardSigmoidNode(const Ref<NNImageNode>& source, float a, float b);
  static Ref<CNNNeuronHardSigmoidNode> create(const Ref<NNImageNode>& source, float a, float b) {
    return std::make_shared<CNNNeuronHardSigmoidNode>(source, a, b);
  }

 protected:
  const char* className() const override { return "CNNNeuronHardSigmoidNode"; }
};

/// Implements MPSCNNNeuronSoftPlusNode.
class CNNNeuronSoftPlusNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronSoftPlusNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronSoftPlusNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronSoftPlusNode>(source);
  }
  CNNNeuronSoftPlusNode(const Ref<NNImageNode>& source, float a, float b);
  static Ref<CNNNeuronSoftPlusNode> create(const Ref<NNImageNode>& source, float a, float b) {
    return std::make_shared<CNNNeuronSoftPlusNode>(source, a, b);
  }

 protected:
  const char* className() const override { return "CNNNeuronSoftPlusNode"; }
};

/// Implements MPSCNNNeuronSoftSignNode.
class CNNNeuronSoftSignNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronSoftSignNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronSoftSignNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronSoftSignNode>(source);
  }

 protected:
  const char* className() const override { return "CNNNeuronSoftSignNode"; }
};

/// Implements MPSCNNNeuronTanHNode.
class CNNNeuronTanHNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronTanHNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronTanHNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronTanHNode>(source);
  }
  CNNNeuronTanHNode(const Ref<NNImageNode>& source, float a, float b);
  static Ref<CNNNeuronTanHNode> create(const Ref<NNImageNode>& source, float a, float b) {
    return std::make_shared<CNNNeuronTanHNode>(source, a, b);
  }

 protected:
  const char* className() const override { return "CNNNeuronTanHNode"; }
};

/// Implements MPSCNNNeuronPReLUNode.
class CNNNeuronPReLUNode : public CNNNeuronNode {
 public:
  /// One float32 slope per feature channel.
  CNNNeuronPReLUNode(const Ref<NNImageNode>& source, std::span<const std::byte> aData);
  static Ref<CNNNeuronPReLUNode> create(const Ref<NNImageNode>& source, std::span<const std::byte> aData) {
    return std::make_shared<CNNNeuronPReLUNode>(source, aData);
  }

 protected:
  const char* className() const override { return "CNNNeuronPReLUNode"; }
};

/// Implements MPSCNNNeuronPowerNode.
class CNNNeuronPowerNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronPowerNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronPowerNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronPowerNode>(source);
  }
  CNNNeuronPowerNode(const Ref<NNImageNode>& source, float a, float b, float c);
  static Ref<CNNNeuronPowerNode> create(const Ref<NNImageNode>& source, float a, float b, float c) {
    return std::make_shared<CNNNeuronPowerNode>(source, a, b, c);
  }

 protected:
  const char* className() const override { return "CNNNeuronPowerNode"; }
};

/// Implements MPSCNNNeuronExponentialNode.
class CNNNeuronExponentialNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronExponentialNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronExponentialNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronExponentialNode>(source);
  }
  CNNNeuronExponentialNode(const Ref<NNImageNode>& source, float a, float b, float c);
  static Ref<CNNNeuronExponentialNode> create(const Ref<NNImageNode>& source, float a, float b, float c) {
    return std::make_shared<CNNNeuronExponentialNode>(source, a, b, c);
  }

 protected:
  const char* className() const override { return "CNNNeuronExponentialNode"; }
};

/// Implements MPSCNNNeuronLogarithmNode.
class CNNNeuronLogarithmNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronLogarithmNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronLogarithmNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronLogarithmNode>(source);
  }
  CNNNeuronLogarithmNode(const Ref<NNImageNode>& source, float a, float b, float c);
  static Ref<CNNNeuronLogarithmNode> create(const Ref<NNImageNode>& source, float a, float b, float c) {
    return std::make_shared<CNNNeuronLogarithmNode>(source, a, b, c);
  }

 protected:
  const char* className() const override { return "CNNNeuronLogarithmNode"; }
};

/// Implements MPSCNNNeuronGeLUNode.
class CNNNeuronGeLUNode : public CNNNeuronNode {
 public:
  explicit CNNNeuronGeLUNode(const Ref<NNImageNode>& source);
  static Ref<CNNNeuronGeLUNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNNeuronGeLUNode>(source);
  }

 protected:
  const char* className() const override { return "CNNNeuronGeLUNode"; }
};

}  // namespace kovar::MPS
