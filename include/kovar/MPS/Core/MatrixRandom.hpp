#pragma once

#include <cstdint>
#include <limits>

#include "kovar/MPS/Core/Kernel.hpp"
#include "kovar/MPS/Core/Matrix.hpp"

namespace kovar::MPS {

enum class MatrixRandomDistribution : std::size_t {
  Default = 1,  ///< the generator's own: integers of the full range, floats uniform in [0, 1)
  Uniform = 2,  ///< uniform in [minimum, maximum)
  Normal = 3,   ///< normal with mean and standard deviation
};

/// Kind and parameters of a distribution. Implements MPSMatrixRandomDistributionDescriptor.
class MatrixRandomDistributionDescriptor final : public Object {
 public:
  MatrixRandomDistribution distributionType() const { return type_; }
  void setDistributionType(MatrixRandomDistribution distributionType) { type_ = distributionType; }
  float minimum() const { return minimum_; }
  void setMinimum(float minimum) { minimum_ = minimum; }
  float maximum() const { return maximum_; }
  void setMaximum(float maximum) { maximum_ = maximum; }
  float mean() const { return mean_; }
  void setMean(float mean) { mean_ = mean; }
  float standardDeviation() const { return standardDeviation_; }
  void setStandardDeviation(float standardDeviation) { standardDeviation_ = standardDeviation; }
  static Ref<MatrixRandomDistributionDescriptor> uniformDistributionDescriptor(float minimum, float maximum);
  static Ref<MatrixRandomDistributionDescriptor> normalDistributionDescriptor(float mean, float standardDeviation);
  /// Values beyond minimum and maximum are clamped to them.
  static Ref<MatrixRandomDistributionDescriptor> normalDistributionDescriptor(float mean, float standardDeviation,
                                                                              float minimum, float maximum);
  static Ref<MatrixRandomDistributionDescriptor> defaultDistributionDescriptor();

 private:
  MatrixRandomDistribution type_ = MatrixRandomDistribution::Default;
  float minimum_ = 0, maximum_ = 1, mean_ = 0, standardDeviation_ = 1;
  float lowest_ = -std::numeric_limits<float>::max(), highest_ = std::numeric_limits<float>::max();
  friend class MatrixRandom;
};

/// Fills matrices and vectors with random numbers. The values depend on the seed, on how many matrices (or vector
/// objects) this kernel has filled before and on the element's index, and on nothing else. Implements MPSMatrixRandom.
///
/// Errors: a destination whose data type is not the kernel's; data types other than Float32.
class MatrixRandom : public Kernel {
 public:
  DataType destinationDataType() const { return dataType_; }
  MatrixRandomDistribution distributionType() const { return distribution_->distributionType(); }
  /// First matrix of a batch that is written, and how many.
  std::size_t batchStart() const { return batchStart_; }
  void setBatchStart(std::size_t batchStart) { batchStart_ = batchStart; }
  std::size_t batchSize() const { return batchSize_; }
  void setBatchSize(std::size_t batchSize) { batchSize_ = batchSize; }
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& destinationVector);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& destinationMatrix);

 protected:
  void doCode(Archive& coder) override;
  MatrixRandom(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed,
               const Ref<MatrixRandomDistributionDescriptor>& distributionDescriptor);
  void fill(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MTL::Buffer>& buffer, std::size_t byteOffset,
            std::size_t rows, std::size_t columns, std::size_t rowBytes, DataType type);

  DataType dataType_;
  std::size_t seed_;
  Ref<MatrixRandomDistributionDescriptor> distribution_;
  std::size_t batchStart_ = 0, batchSize_ = std::numeric_limits<std::size_t>::max();
  std::uint64_t sequence_ = 0;
  friend class Kernel;
};

/// The counter-based Philox4x32-10 generator. Implements MPSMatrixRandomPhilox.
class MatrixRandomPhilox final : public MatrixRandom {
 public:
  explicit MatrixRandomPhilox(const Ref<MTL::Device>& device);
  MatrixRandomPhilox(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed,
                     const Ref<MatrixRandomDistributionDescriptor>& distributionDescriptor);
  MatrixRandomPhilox(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed);
  /// As an archive holds it.
  MatrixRandomPhilox(Archive& coder, const Ref<MTL::Device>& device) : MatrixRandomPhilox(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "MatrixRandomPhilox"; }
  friend class Kernel;
};

/// Stands where the documented Mersenne twister stands; the numbers come from Philox, so that they do not depend on the
/// device. Implements MPSMatrixRandomMTGP32.
class MatrixRandomMTGP32 final : public MatrixRandom {
 public:
  explicit MatrixRandomMTGP32(const Ref<MTL::Device>& device);
  MatrixRandomMTGP32(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed,
                     const Ref<MatrixRandomDistributionDescriptor>& distributionDescriptor);
  MatrixRandomMTGP32(const Ref<MTL::Device>& device, DataType destinationDataType, std::size_t seed);
  /// As an archive holds it.
  MatrixRandomMTGP32(Archive& coder, const Ref<MTL::Device>& device) : MatrixRandomMTGP32(device) { decode(coder); }
  /// The generator keeps no state on the device; there is nothing to do.
  void synchronizeState(const Ref<MTL::CommandBuffer>& commandBuffer);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "MatrixRandomMTGP32"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
