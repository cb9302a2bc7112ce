#pragma once
// Enumerations of the neural network kernels, with the documented names and values.

#include <cstddef>
#include <cstdint>

namespace kovar::MPS {

enum class NNPaddingMethod : std::size_t {
  AlignCentered = 0,                    ///< read region centred on the source
  AlignTopLeft = 1,                     ///< read region at the top left
  AlignBottomRight = 2,                 ///< read region at the bottom right
  Align_reserved = 3,                   ///< reserved value
  AlignMask = 3,                        ///< mask of the alignment bits
  AddRemainderToTopLeft = 0,            ///< odd padding goes top and left
  AddRemainderToTopRight = 4,           ///< odd padding goes top and right
  AddRemainderToBottomLeft = 8,         ///< odd padding goes bottom and left
  AddRemainderToBottomRight = 12,       ///< odd padding goes bottom and right
  AddRemainderToMask = 12,              ///< mask of the remainder bits
  SizeValidOnly = 0,                    ///< only results whose inputs all exist
  SizeSame = 16,                        ///< result as large as source, over stride
  SizeFull = 32,                        ///< results touching at least one input
  Size_reserved = 48,                   ///< reserved value
  CustomWhitelistForNodeFusion = 8192,  ///< older name of CustomAllowForNodeFusion (deprecated)
  CustomAllowForNodeFusion = 8192,      ///< custom policy permits node fusion
  Custom = 16384,                       ///< policy object adjusts the descriptor
  SizeMask = 2032,                      ///< mask of the size bits
  ExcludeEdges = 32768,                 ///< pooling ignores area beyond the padding
};

enum class CNNNeuronType : std::int32_t {
  None = 0,          ///< identity
  ReLU = 1,          ///< x above zero, a*x below
  Linear = 2,        ///< a*x + b
  Sigmoid = 3,       ///< 1 / (1 + exp(-x))
  HardSigmoid = 4,   ///< a*x + b clamped to 0..1
  TanH = 5,          ///< a*tanh(b*x)
  Absolute = 6,      ///< absolute value
  SoftPlus = 7,      ///< a*log(1 + exp(b*x))
  SoftSign = 8,      ///< x / (1 + abs(x))
  ELU = 9,           ///< x above zero, a*(exp(x) - 1) below
  PReLU = 10,        ///< leaky rectifier with per-channel slope
  ReLUN = 11,        ///< leaky rectifier capped at b
  Power = 12,        ///< (a*x + b) raised to c
  Exponential = 13,  ///< c raised to (a*x + b)
  Logarithm = 14,    ///< log base c of (a*x + b)
  GeLU = 15,         ///< 0.5*x*(1 + erf(x*sqrt(0.5)))
  Count = 16,        ///< number of neuron kinds
};

enum class CNNLossType : std::uint32_t {
  MeanAbsoluteError = 0,          ///< absolute difference
  MeanSquaredError = 1,           ///< squared difference
  SoftMaxCrossEntropy = 2,        ///< cross entropy after softmax
  SigmoidCrossEntropy = 3,        ///< cross entropy after sigmoid
  CategoricalCrossEntropy = 4,    ///< cross entropy of given probabilities
  Hinge = 5,                      ///< hinge loss
  Huber = 6,                      ///< quadratic near zero, linear beyond delta
  CosineDistance = 7,             ///< one minus the dot product
  Log = 8,                        ///< binary log loss with epsilon
  KullbackLeiblerDivergence = 9,  ///< KL divergence from log-probabilities
  Count = 10,                     ///< number of loss kinds
};

enum class CNNReductionType : std::int32_t {
  None = 0,                 ///< keep per-element values
  Sum = 1,                  ///< sum
  Mean = 2,                 ///< mean
  SumByNonZeroWeights = 3,  ///< sum over the count of non-zero weights
  Count = 4,                ///< number of reduction kinds
};

enum class NNRegularizationType : std::size_t {
  None = 0,  ///< no regularization
  L1 = 1,    ///< L1 penalty
  L2 = 2,    ///< L2 penalty
};

enum class CNNConvolutionFlags : std::size_t {
  None = 0,  ///< no flag (deprecated)
};

enum class CNNConvolutionWeightsLayout : std::uint32_t {
  OHWI = 0,  ///< output, height, width, input; input fastest
};

enum class CNNWeightsQuantizationType : std::uint32_t {
  None = 0,         ///< weights are floating point
  Linear = 1,       ///< 8-bit weights mapped linearly onto a range
  LookupTable = 2,  ///< 8-bit weights index a table of floats
};

enum class CNNConvolutionGradientOption : std::size_t {
  GradientWithData = 1,            ///< input gradient only
  GradientWithWeightsAndBias = 2,  ///< weight and bias gradients only
  All = 3,                         ///< input, weight and bias gradients
};

enum class NNConvolutionAccumulatorPrecisionOption : std::size_t {
  Half = 0,   ///< accumulate in 16-bit float
  Float = 1,  ///< accumulate in 32-bit float
};

enum class CNNBinaryConvolutionFlags : std::size_t {
  None = 0,            ///< no flag
  UseBetaScaling = 1,  ///< scale by local mean absolute input
};

enum class CNNBinaryConvolutionType : std::size_t {
  BinaryWeights = 0,  ///< only weights are binary
  XNOR = 1,           ///< binarized input combined by XNOR
  AND = 2,            ///< binarized input combined by AND
};

enum class NNComparisonType : std::size_t {
  Equal = 0,           ///< equal within the threshold
  NotEqual = 1,        ///< not equal within the threshold
  Less = 2,            ///< first less than second
  LessOrEqual = 3,     ///< first at most second
  Greater = 4,         ///< first greater than second
  GreaterOrEqual = 5,  ///< first at least second
};

enum class NNTrainingStyle : std::size_t {
  UpdateDeviceNone = 0,  ///< do not update parameters
  UpdateDeviceCPU = 1,   ///< update on CPU after the command buffer completes
  UpdateDeviceGPU = 2,   ///< update encoded right after the gradient pass
};

enum class CNNBatchNormalizationFlags : std::size_t {
  Default = 0,                       ///< automatic statistics
  CalculateStatisticsAutomatic = 0,  ///< compute statistics only when training consumes them
  CalculateStatisticsAlways = 1,     ///< always compute statistics
  CalculateStatisticsNever = 2,      ///< always use the data source's statistics
  CalculateStatisticsMask = 3,       ///< mask of the statistics bits
};

constexpr NNPaddingMethod operator|(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<NNPaddingMethod>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr NNPaddingMethod operator&(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<NNPaddingMethod>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr NNPaddingMethod operator~(NNPaddingMethod a) {
  return static_cast<NNPaddingMethod>(~static_cast<std::size_t>(a));
}
constexpr CNNConvolutionGradientOption operator|(CNNConvolutionGradientOption a, CNNConvolutionGradientOption b) {
  return static_cast<CNNConvolutionGradientOption>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr CNNConvolutionGradientOption operator&(CNNConvolutionGradientOption a, CNNConvolutionGradientOption b) {
  return static_cast<CNNConvolutionGradientOption>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr CNNConvolutionGradientOption operator~(CNNConvolutionGradientOption a) {
  return static_cast<CNNConvolutionGradientOption>(~static_cast<std::size_t>(a));
}
constexpr NNTrainingStyle operator|(NNTrainingStyle a, NNTrainingStyle b) {
  return static_cast<NNTrainingStyle>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr NNTrainingStyle operator&(NNTrainingStyle a, NNTrainingStyle b) {
  return static_cast<NNTrainingStyle>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr NNTrainingStyle operator~(NNTrainingStyle a) {
  return static_cast<NNTrainingStyle>(~static_cast<std::size_t>(a));
}
constexpr CNNBatchNormalizationFlags operator|(CNNBatchNormalizationFlags a, CNNBatchNormalizationFlags b) {
  return static_cast<CNNBatchNormalizationFlags>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr CNNBatchNormalizationFlags operator&(CNNBatchNormalizationFlags a, CNNBatchNormalizationFlags b) {
  return static_cast<CNNBatchNormalizationFlags>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr CNNBatchNormalizationFlags operator~(CNNBatchNormalizationFlags a) {
  return static_cast<CNNBatchNormalizationFlags>(~static_cast<std::size_t>(a));
}
constexpr CNNBinaryConvolutionFlags operator|(CNNBinaryConvolutionFlags a, CNNBinaryConvolutionFlags b) {
  return static_cast<CNNBinaryConvolutionFlags>(static_cast<std::size_t>(a) | static_cast<std::size_t>(b));
}
constexpr CNNBinaryConvolutionFlags operator&(CNNBinaryConvolutionFlags a, CNNBinaryConvolutionFlags b) {
  return static_cast<CNNBinaryConvolutionFlags>(static_cast<std::size_t>(a) & static_cast<std::size_t>(b));
}
constexpr CNNBinaryConvolutionFlags operator~(CNNBinaryConvolutionFlags a) {
  return static_cast<CNNBinaryConvolutionFlags>(~static_cast<std::size_t>(a));
}

}  // namespace kovar::MPS
