#pragma once
// What kernels are started with: plain structs that the host fills in, and the functions that start them. Steps and
// offsets are bytes, device addresses are those of the first element of a view.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "maths/loss.hpp"
#include "maths/norm.hpp"
#include "maths/yolo.hpp"
#include "prim/desc.hpp"
#include "prim/view.hpp"

namespace kovar::cuda {

inline constexpr int kBlockThreads = 256;

/// Scalars of one run: by value, or read from the device when a graph is replayed.
struct ScalarSource {
  prim::Scalars value;
  const prim::Scalars* device = nullptr;
};

/// Loops over V views at once, outermost axis first; neighbouring axes are merged where every view allows it.
template <int V>
struct Nest {
  std::int32_t rank = 1;
  std::int64_t count[prim::kMaxRank] = {1};
  std::int64_t step[prim::kMaxRank][V] = {};
};

/// One view of up to four axes.
struct Strided {
  std::byte* data = nullptr;
  prim::DType type = prim::DType::F32;
  std::int64_t step[4] = {};
};

// ---- Element-wise programs
// -------------------------------------------------------------------------------------------

inline constexpr int kMaxProgramViews = static_cast<int>(prim::kMaxSteps) + 1;

/// How a thread reaches its four neighbouring elements of a view.
enum class Reach : std::uint8_t { Strided, Same, Floats, Halves };

struct ElementwiseParams {
  Nest<kMaxProgramViews> nest;
  std::int64_t columns = 1;  ///< elements of the innermost axis; its count in `nest` is in groups of four
  std::int64_t groups = 0;   ///< of all
  std::byte* data[kMaxProgramViews] = {};
  std::int64_t element[kMaxProgramViews] = {};  ///< bytes from element to element along the innermost axis
  prim::DType type[kMaxProgramViews] = {};
  Reach reach[kMaxProgramViews] = {};
  prim::Program program;  ///< Load and Store name views of `nest`
  bool load = false;      ///< register 0 starts as view 0
  bool store = false;     ///< and ends as view 1
};
cudaError_t runElementwise(const ElementwiseParams& p, cudaStream_t stream);
/// Runs a program that is short enough for a kernel of its own; false: it is not.
bool runShortProgram(const ElementwiseParams& p, cudaStream_t stream, cudaError_t& result);

// ---- Copies
// ----------------------------------------------------------------------------------------------------------

/// Elements of one size moved as they are.
struct RawCopyParams {
  Nest<2> nest;  ///< source, destination
  std::int64_t elements = 0;
  const std::byte* src = nullptr;
  std::byte* dst = nullptr;
  std::int32_t size = 4;  ///< bytes of an element: 1, 2, 4, 8 or 16
};
cudaError_t runRawCopy(const RawCopyParams& p, cudaStream_t stream);

/// Several runs of bytes, none of which meets another.
struct ManyCopiesParams {
  static constexpr int kMost = 128;
  std::int32_t count = 0;
  std::uint32_t bytes[kMost];
  const std::byte* from[kMost];
  std::byte* to[kMost];
};
cudaError_t runManyCopies(const ManyCopiesParams& p, cudaStream_t stream);

/// dst[i] = src[i + shift], positions outside by edge mode.
struct ShiftParams {
  Strided src, dst;
  std::int64_t srcDims[4], dstDims[4], shift[4];
  prim::Edge edge = prim::Edge::Zero;
  float fill = 0.f;
};
cudaError_t runShift(const ShiftParams& p, cudaStream_t stream);

/// The adjoint: every element of diffSrc sums its readers. Tables on the device: readers of position p of axis a are
/// position[a][first[a][p] .. first[a][p + 1]).
struct GatherParams {
  Strided diffDst, diffSrc;
  std::int64_t dims[4];  ///< of diffSrc
  const std::int32_t* first[4];
  const std::int32_t* position[4];
};
cudaError_t runGather(const GatherParams& p, cudaStream_t stream);

// ---- Resampling
// ------------------------------------------------------------------------------------------------------

/// dst[y, x] = sum of weight * src over the taps of both axes. Tables on the device, see prim/resample.hpp.
struct ResampleParams {
  Strided src, dst;
  std::int64_t dims[4];  ///< of dst
  const std::int32_t *firstY, *firstX, *positionY, *positionX;
  const float *weightY, *weightX;
};
cudaError_t runResample(const ResampleParams& p, cudaStream_t stream);

// ---- Sampling
// --------------------------------------------------------------------------------------------------------

/// dst = src at y and x (one value a pixel) plus the starts, relative: plus the element's own position.
struct SampleParams {
  Strided src, y, x, dst;
  std::int64_t dims[4];        ///< of dst
  std::int64_t height, width;  ///< of src
  std::int32_t startY, startX;
  bool relative;
  maths::SampleEdge edge;
};
cudaError_t runSample(const SampleParams& p, cudaStream_t stream);

// ---- Pooling
// ---------------------------------------------------------------------------------------------------------

struct PoolParams {
  prim::PoolKind kind = prim::PoolKind::Max;
  bool zeros = true;     ///< positions outside are zeros or left out; else they repeat the edge
  bool zeroEdge = true;  ///< the whole window counts in the average's divisor
  bool rectified = false;
  prim::Window y, x;
  std::int64_t zeroPadY = 0, zeroPadX = 0;
  std::int64_t images = 0, height = 0, width = 0, channels = 0;  ///< of the source
  std::int64_t windowsY = 0, windowsX = 0;
  Strided src, dst;      ///< dst: the result, or in the gradient the incoming one
  Strided diffSrc;       ///< gradient only
  bool vectors = false;  ///< all views are float32, channels lie together in aligned groups of four
};
cudaError_t runPoolForward(const PoolParams& p, cudaStream_t stream);
cudaError_t runPoolGradient(const PoolParams& p, cudaStream_t stream);

// ---- Rows: softmax
// ---------------------------------------------------------------------------------------------------

struct SoftmaxParams {
  bool log = false, gradient = false;
  Nest<3> nest;  ///< of the rows: all axes but the last
  std::int64_t rows = 0, length = 0;
  Strided view[3];       ///< step[0]: from element to element
  bool vectors = false;  ///< rows are packed float32 in aligned groups of four
};
cudaError_t runSoftmax(const SoftmaxParams& p, cudaStream_t stream);

// ---- Normalization
// ---------------------------------------------------------------------------------------------------

/// What a block found out about one channel: count, mean and squares of maths::Moments, or the sums of the gradient and
/// of the gradient times the distance from the mean.
struct NormPartial {
  double first, second, third;
};

/// Floats per region and channel or group.
struct NormVector {
  float* data = nullptr;
  std::int64_t region = 0, channel = 0;  ///< elements from one to the next
};

struct NormParams {
  prim::NormTask task = prim::NormTask::Apply;
  float epsilon = 0.f;
  bool accumulate = false;
  std::int64_t width = 0, pixels = 0;               ///< of an image: columns of a row, pixels
  std::int64_t regionImages = 1, regionPixels = 0;  ///< of a region
  std::int64_t regions = 1, channels = 0, groups = 1;
  bool flat = false;                        ///< pixels of a region lie at equal distances in every view
  bool vectors = false;                     ///< all views are float32, channels lie together in aligned groups of four
  std::int32_t across = 1;                  ///< threads of a block that take neighbouring channels
  std::int64_t splits = 1, perSplit = 0;    ///< blocks that share a region to read it, pixels of each
  std::int64_t writers = 1, perWriter = 0;  ///< and to write it
  std::int32_t joiners = 32;                ///< threads that put the parts of a group together
  Strided source, given, out;               ///< given: the incoming gradient
  NormVector mean, variance, gamma, beta, diffGamma, diffBeta;
  NormPartial* partials = nullptr;  ///< regions * splits * channels
  float* factors = nullptr;         ///< regions * kNormFactors * channels
  ScalarSource scalars;

  constexpr bool backward() const { return task >= prim::NormTask::Sums; }
  constexpr bool reads() const { return task != prim::NormTask::Apply && task != prim::NormTask::Data; }
  constexpr bool writes() const { return task != prim::NormTask::Statistics && task != prim::NormTask::Sums; }
};
inline constexpr std::int64_t kNormFactors = 4;
cudaError_t runNorm(const NormParams& p, cudaStream_t stream);

struct LocalNormParams {
  prim::LocalNorm desc;
  maths::InversePower power;
  std::int64_t images = 0, height = 0, width = 0, channels = 0;  ///< of the source
  std::int64_t windowsY = 0, windowsX = 0;
  Strided source, given, out;
  /// The gradient's, an element for each of `given`: what a window passes to its centre and to all its taps; contrast
  /// also needs its mean and what all taps get alike.
  float *direct = nullptr, *shares = nullptr, *means = nullptr, *constants = nullptr;
};
cudaError_t runLocalNorm(const LocalNormParams& p, cudaStream_t stream);

// ---- Reductions
// ------------------------------------------------------------------------------------------------------

struct Partial {
  double value;
  std::uint32_t index;
};

struct ReduceParams {
  prim::ReduceKind kind = prim::ReduceKind::Sum;
  bool across = false;      ///< neighbouring results lie together in memory: threads of a warp take one each
  bool fours = false;       ///< what is reduced into one result are floats side by side, from multiples of 16 bytes on
  std::int32_t lanes = 32;  ///< threads that share one result
  Nest<2> kept;             ///< source, destination
  Nest<1> reduced;
  std::int64_t results = 1, count = 1;  ///< kept and reduced positions
  std::int64_t splits = 1, perSplit = 0;
  Strided src, dst;
  Partial* partials = nullptr;  ///< results * splits of them where splits > 1
  float factor = 1.f;
  bool accumulate = false;
};
cudaError_t runReduce(const ReduceParams& p, cudaStream_t stream);

// ---- Loss
// ------------------------------------------------------------------------------------------------------------

struct LossParamsDevice {
  maths::LossParams loss;
  prim::LossReduction reduction = prim::LossReduction::None;
  bool acrossBatch = false, labelGradient = false, divideGradient = false, exactSoftmax = false;
  bool countsWeights = false;  ///< the divisor is the number of weights that are not 0
  bool reduced = false;        ///< `loss` gets one number an image (or one in all)
  std::int64_t images = 0, height = 0, width = 0, channels = 0;
  Strided src, labels, weights, value, gradient, incoming;  ///< data null: absent
  Strided lossOut;
  std::int64_t lossImages = 1;
  std::int64_t chunks = 1, perChunk = 0;  ///< pixels of an image that one block takes
  double* sums = nullptr;                 ///< images * chunks
  std::int64_t* counts = nullptr;         ///< images
  ScalarSource scalars;
};
cudaError_t runLoss(const LossParamsDevice& p, cudaStream_t stream);

/// The anchor-box loss: `loss` says where the images lie and how the values are reduced; a thread takes an anchor of a
/// cell, perChunk counts cells.
struct YoloParamsDevice {
  LossParamsDevice loss;
  maths::YoloParams yolo;
  const float* anchors = nullptr;  ///< width and height of each
};
cudaError_t runYolo(const YoloParamsDevice& p, cudaStream_t stream);

// ---- Random numbers
// --------------------------------------------------------------------------------------------------

struct DropoutParams {
  float keep = 1.f;
  bool apply = false;  ///< the mask lies in memory; else it is drawn, and written where mask.data is not null
  std::int64_t images = 0, height = 0, width = 0, channels = 0;  ///< of the elements drawn or applied
  std::int64_t maskStride[3] = {1, 1, 1}, maskOffset[2] = {0, 0};
  std::int64_t maskDims[3] = {1, 1, 1};
  Strided src, dst, mask;
  bool fours = false;  ///< four channels lie together, in the mask too
  ScalarSource scalars;
};
/// Draws a mask with an element for each of src and applies it.
cudaError_t runDropout(const DropoutParams& p, cudaStream_t stream);
/// Draws the mask alone, in its own extents.
cudaError_t runDrawMask(const DropoutParams& p, cudaStream_t stream);
/// Applies a mask that lies in memory.
cudaError_t runApplyMask(const DropoutParams& p, cudaStream_t stream);

struct RandomParams {
  bool normal = false;
  std::int64_t rows = 0, columns = 0;
  float minimum = 0.f, maximum = 0.f;
  Strided dst;
  ScalarSource scalars;
};
cudaError_t runRandom(const RandomParams& p, cudaStream_t stream);

// ---- Optimizers
// ------------------------------------------------------------------------------------------------------

struct StepParams {
  prim::Step desc;
  Nest<6> nest;
  std::int64_t elements = 0;
  std::int32_t views = 3;
  std::byte* data[6] = {};
  prim::DType type[6] = {};
  bool vectors = false;  ///< all views are dense float32, aligned
  ScalarSource scalars;
};
cudaError_t runStep(const StepParams& p, cudaStream_t stream);

// ---- Convolution and matrix product, any views
// -----------------------------------------------------------------------

struct ConvParams {
  prim::Window y, x;
  std::int64_t images, hs, ws, ci, hd, wd, co, groups;
  Strided src, dst, weights, bias;
  bool accumulate = false;
};
cudaError_t runConvForward(const ConvParams& p, cudaStream_t stream);
cudaError_t runConvData(const ConvParams& p, cudaStream_t stream);
cudaError_t runConvWeights(const ConvParams& p, cudaStream_t stream);
/// As many groups as channels on both sides; float32 or float16 images whose channels come in aligned groups of four.
cudaError_t runDepthwiseData(const ConvParams& p, cudaStream_t stream);

/// Values of the depth that tiles of convolutions take at once: taps and channels, or positions.
inline constexpr int kTileStep = 16;

/// Convolution by tiles, forward or as the gradient by the data seen as a forward one; float32, the channels read lie
/// together. weight*: floats from one to the next, of the filters as this direction sees them.
struct ConvTilesParams {
  /// How the operands come: by single floats; or four at once, where neighbouring inputs of a filter lie together, or
  /// neighbouring outputs. For the latter two a step of the depth lies in one tap.
  enum class Copies { Singles, AlongInputs, AlongOutputs };
  enum class Tile { Rows128Columns64, Rows64Columns64, Rows128Columns32, Rows64Columns32, Rows128Columns8 };
  prim::Window y, x;
  std::uint32_t hs, ws;                                     ///< of what is read
  std::int64_t hd, wd, groups, inputs, outputs, positions;  ///< inputs, outputs: channels of a group
  std::int64_t depth;                                       ///< taps * inputs
  std::int32_t sourceImage, sourceY, sourceX;               ///< steps of what is read, in floats
  std::int32_t targetImage, targetY, targetX, targetChannel;
  std::int32_t weightGroup, weightOutput, weightY, weightX, weightInput;
  const float *source = nullptr, *weights = nullptr, *bias = nullptr;
  float* target = nullptr;
  std::int64_t biasStep = 1;
  Copies copies = Copies::Singles;
  Tile tile = Tile::Rows128Columns64;
  bool vectors = false;    ///< four channels of the result can be written at once
  bool rectified = false;  ///< ReLU with this slope follows
  float slope = 0.f;
};
cudaError_t runConvTiles(const ConvTilesParams& p, cudaStream_t stream);

/// Weight gradients by tiles; images are float32, the channels of a pixel lie together. Rows are the gradient's
/// channels of a group, columns taps and source channels.
struct ConvWeightsParams {
  prim::Window y, x;
  std::uint32_t hs, ws;
  std::int64_t hd, wd, groups, rows, columns, inputs, positions;
  std::int32_t stepImages, stepRows, stepColumns;  ///< kTileStep positions further
  std::int64_t splits = 1, perSplit = 0;           ///< shares of the positions, a multiple of kTileStep each
  std::int32_t sourceImage, sourceY, sourceX, gradientImage, gradientY, gradientX;  ///< steps in floats
  const float *source = nullptr, *gradient = nullptr;
  Strided weights, bias;
  float* partials = nullptr;       ///< [group][split][row][column]
  double* biasPartials = nullptr;  ///< [group][split][row]; null: no bias
  bool accumulate = false, small = false;
  bool fours = false;  ///< four channels of both images can be read at once
};
cudaError_t runConvWeightsTiles(const ConvWeightsParams& p, cudaStream_t stream);

/// Convolution of bits, see prim::BinaryConv. weightStep counts words, biasStep and scaleStep floats.
struct BinaryConvParams {
  prim::Window y, x;
  std::int64_t images, hs, ws, ci, hd, wd, co, words;
  Strided src, dst;
  const std::uint32_t* weights = nullptr;
  std::int64_t weightStep[4];
  const float *inputBias = nullptr, *inputScale = nullptr;  ///< null: sources are taken as they are
  std::int64_t biasStep = 0, scaleStep = 0;
  std::uint32_t* bits = nullptr;  ///< [image][row][column][word] of the source
  bool common = false;            ///< bits that both have are counted; else bits that differ
  float factor = 1.f, summand = 0.f;
};
cudaError_t runBinaryConv(const BinaryConvParams& p, cudaStream_t stream);

struct MatmulParams {
  std::int64_t m, n, k;
  Strided a, b, c, bias;  ///< a: m, k; b: k, n; c: m, n
  bool accumulate = false;
};
cudaError_t runMatmul(const MatmulParams& p, cudaStream_t stream);

}  // namespace kovar::cuda
