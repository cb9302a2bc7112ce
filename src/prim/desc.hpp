#pragma once
// The primitives: plain descriptions of one piece of work. Extents come from the argument views; everything here is the
// shape part (it is the plan's key). Values that change from run to run (learning rate, dropout counter ...) are
// Scalars.
//
// Argument order is fixed per primitive and direction; [x] marks an optional argument announced by a flag.
// Unless said otherwise images are rank-4 views n, y, x, c and all arithmetic is float32.

#include <array>
#include <cstdint>
#include <limits>

#include "maths/resample.hpp"
#include "maths/sample.hpp"
#include "prim/program.hpp"

namespace kovar::prim {

enum class Direction : std::uint8_t { Forward, Data, Weights };

/// One axis of a sliding window. Tap p of destination position x reads source position x*stride - pad + p*dilation.
struct Window {
  std::int32_t kernel = 1, stride = 1, dilation = 1, pad = 0;
  bool operator==(const Window&) const = default;
  std::int32_t extent() const { return (kernel - 1) * dilation + 1; }
};

/// Convolution (correlation). Reads outside the source are 0; other edge modes are a Copy into a padded temporary.
/// Weights are float32 [O][ky][kx][I/groups]; groups == I with one input channel per filter is depthwise.
///   Forward: src[n,hs,ws,I], weights, [bias[O] if bias], dst[n,hd,wd,O], post-op arguments
///   Data:    diffDst, weights, diffSrc, post-op arguments            (diffSrc is overwritten)
///   Weights: src, diffDst, diffWeights, [diffBias[O] if bias]        (float32; added to when accumulate)
struct Conv {
  Direction direction = Direction::Forward;
  Window y, x;
  std::int32_t groups = 1;
  bool bias = false;
  bool accumulate = false;
  bool reducedPrecision = false;  ///< the device may use a narrower multiply where it gains by it
  Program post;
  bool operator==(const Conv&) const = default;
};

enum class StepKind : std::uint8_t { Sgd, SgdMomentum, SgdNesterov, RmsProp, Adam, AmsGrad };

/// One optimizer update of one parameter vector (rank-1 or rank-2 views of equal dims).
///   gradient, values, [m], [u], [x], result     m: momentum (Sgd*), s (RmsProp), m (Adam); u: Adam's second moment; x:
///   AMSGrad
/// Scalars: f[0] learning rate (Adam: already bias-corrected), f[1] momentum | decay | beta1, f[2] beta2, f[3] epsilon,
/// f[4] gradient rescale, f[5] clip min, f[6] clip max, f[7] regularization scale.
/// u[0], u[1]: decay or beta1, and beta2, as the bits of a double, since 1 - beta2 is not to be taken from a float; 0:
/// from f.
struct Step {
  StepKind kind = StepKind::Sgd;
  bool clip = false;
  std::uint8_t regularization = 0;  ///< 0 none, 1 L1, 2 L2
  bool operator==(const Step&) const = default;
};

/// State arguments of an update: m, u, x as far as the optimizer has them.
constexpr std::size_t statesOf(StepKind kind) {
  switch (kind) {
    case StepKind::Sgd:
      return 0;
    case StepKind::SgdMomentum:
    case StepKind::SgdNesterov:
    case StepKind::RmsProp:
      return 1;
    case StepKind::Adam:
      return 2;
    case StepKind::AmsGrad:
      return 3;
  }
  return 0;
}

/// C[M,N] = op(A) * op(B) (+ bias[N]); rank-2 views.
///   a, b, [bias if bias], c, post-op arguments. transposeA: a is [K,M]; transposeB: b is [N,K].
///   rowSum: one more argument after c, d[M]: the sum over k of op(A)[m,k] (the bias gradient that comes with a weight
///   gradient). accumulate adds to c and d.
///   update: the product is a gradient that goes straight into the optimizer `step` (its scalars are the operation's)
///   and is never written: c is the step's result, and values, [m], [u], [x] follow; all float32 with columns beside
///   each other. Without bias, accumulate and post.
struct Matmul {
  bool transposeA = false, transposeB = false;
  bool bias = false;
  bool rowSum = false;
  bool accumulate = false;
  bool reducedPrecision = false;
  bool update = false;
  Step step;
  Program post;
  bool operator==(const Matmul&) const = default;
};

enum class PoolKind : std::uint8_t { Max, Average, L2 };

/// Pooling. zeroEdge: outside pixels are zeros that take part; otherwise Max and L2 replicate the edge pixel and
/// Average shrinks its divisor to the window's part inside the image grown by zeroPad on each side.
///   Forward: src, dst, post-op arguments
///   Data:    diffDst, src, diffSrc (overwritten: every pixel is written). Windows are those of diffDst's positions.
/// rectified: what is pooled is max(src, 0), the ReLU neuron with a = 0; Data then goes through that neuron too.
struct Pool {
  Direction direction = Direction::Forward;
  PoolKind kind = PoolKind::Max;
  Window y, x;
  bool zeroEdge = true;
  bool rectified = false;
  std::int32_t zeroPadY = 0, zeroPadX = 0;
  Program post;
  bool operator==(const Pool&) const = default;
};

/// Softmax over the last axis. Forward: src, dst. Data: diffDst, y (the forward result), diffSrc.
struct Softmax {
  Direction direction = Direction::Forward;
  bool log = false;
  bool operator==(const Softmax&) const = default;
};

enum class ReduceKind : std::uint8_t { Sum, Mean, Min, Max, ArgMin, ArgMax };

/// Reduction: src, dst of the same rank; axes where dst has extent 1 and src more are reduced. Sums are in a fixed
/// blocked order. accumulate adds to dst (Sum only).
struct Reduce {
  ReduceKind kind = ReduceKind::Sum;
  float scale = 1.f;
  bool accumulate = false;
  bool operator==(const Reduce&) const = default;
};

/// A program over equally shaped views (stride 0 broadcasts). Arguments as the program's steps number them.
struct Elementwise {
  Program program;
  bool operator==(const Elementwise&) const = default;
};

enum class Edge : std::uint8_t { Zero, Clamp, Mirror, MirrorWithEdge, Constant };

/// Copy with conversion. Plain when both views have the same dims and shift is 0. Otherwise destination element i
/// reads source element i + shift per axis; positions outside the source follow `edge` (value fill for Constant).
///   Forward: src, dst.  Data (the adjoint): diffDst, diffSrc: diffSrc = sum of all copies (overwritten).
struct Copy {
  Direction direction = Direction::Forward;
  std::array<std::int32_t, 4> shift{};
  Edge edge = Edge::Zero;
  float fill = 0.f;
  bool accumulate = false;  ///< dst += src (plain forward copies only)
  bool operator==(const Copy&) const = default;
};

enum class ResampleKind : std::uint8_t { Nearest, Bilinear };

/// Reads a source at the fractional coordinates that y and x give: the pixel at or before them, or the two by two
/// around them by their distance. Pixels outside count as zeros (zeroEdge) or repeat the border.
///   Forward: src, dst.   Data (the adjoint): diffDst, diffSrc (overwritten)
struct Resample {
  Direction direction = Direction::Forward;
  ResampleKind kind = ResampleKind::Nearest;
  maths::Sampling y, x;
  bool zeroEdge = true;
  bool operator==(const Resample&) const = default;
};

/// Sets every element of dst to `value`.   dst
struct Fill {
  float value = 0.f;
  bool operator==(const Fill&) const = default;
};

enum class RandomKind : std::uint8_t { Dropout, Uniform, Normal };

/// Counter-based random numbers (Philox4x32-10).
///   Dropout Forward: src[n,y,x,c], dst, [mask u8 [n,my,mx,mc] if writeMask]   mask extents 1 broadcast
///   Dropout Data:    diffDst, mask, diffSrc
///   Uniform, Normal: dst (rank 2, rows by columns)
/// Scalars: u[0] seed, u[1] encode sequence number; f[0], f[1] = minimum, maximum or mean, standard deviation.
struct Random {
  Direction direction = Direction::Forward;
  RandomKind kind = RandomKind::Dropout;
  float keep = 1.f;
  bool writeMask = false;
  std::array<std::uint8_t, 3> maskStride{1, 1, 1};  ///< y, x, c: 0 broadcasts the mask along that axis
  std::int32_t maskOffsetY = 0, maskOffsetX = 0;    ///< where destination (0,0) lies in the mask (gradient)
  float minimum = -std::numeric_limits<float>::max(), maximum = std::numeric_limits<float>::max();  ///< Normal: clamp
  bool operator==(const Random&) const = default;
};

enum class LossReduction : std::uint8_t { None, Sum, Mean, SumByNonZeroWeights };

/// Loss value and gradient in one pass. Scalars: f[0] = weight.
///   src[n,y,x,c], labels[n,y,x,c], [weights if weights], [loss f32 if writeLoss], [diffSrc if writeGradient]
/// loss is [n,1,1,1] when reduced, else [n,y,x,c]. incoming: one more last argument, the incoming gradient, the shape
/// of loss (stride 0 when broadcast), multiplies diffSrc.
struct Loss {
  std::uint8_t type = 0;  ///< documented numbering of the loss types
  LossReduction reduction = LossReduction::None;
  bool acrossBatch = false;
  bool weights = false, writeLoss = true, writeGradient = true, labelGradient = false, incoming = false;
  bool divideGradient = false;  ///< the gradient is divided as the value is (the exact derivative)
  float labelSmoothing = 0.f, epsilon = 1e-7f, delta = 1.f;
  std::int32_t numberOfClasses = 1;
  bool operator==(const Loss&) const = default;
};

/// One of the element-wise losses that the anchor-box loss is made of; fields as Loss has them.
struct YoloTerm {
  std::uint8_t type = 1;
  float weight = 1.f, labelSmoothing = 0.f, epsilon = 1e-7f, delta = 1.f;
  std::int32_t numberOfClasses = 1;
  bool operator==(const YoloTerm&) const = default;
};

/// Loss over anchor boxes and its gradient. The channels of anchor a are x, y, w, h, confidence and class scores, from
/// a c / anchors on, in src, labels, weights and diffSrc alike. An anchor whose size fits the label's box best, or by
/// more than minForPresence, holds the object; one that fits by less than maxForAbsence holds none; the others do not
/// count.
///   src[n,y,x,c], labels[n,y,x,c], [weights if weights], loss, diffSrc[n,y,x,c], anchors f32 [anchors, 2]
/// loss is [n,1,1,1] when reduced, else [n,y,x,c].
struct Yolo {
  YoloTerm xy, wh, confidence, classes;
  LossReduction reduction = LossReduction::Sum;
  bool acrossBatch = false, weights = false, rescore = true;
  float scaleXY = 10.f, scaleWH = 10.f, scaleNoObject = 5.f, scaleObject = 100.f, scaleClass = 2.f;
  float minForPresence = 0.7f, maxForAbsence = 0.3f;
  std::int32_t anchors = 1;
  bool operator==(const Yolo&) const = default;
};

enum class NormTask : std::uint8_t { Statistics, Apply, Normalize, Sums, Data, Gradient };

/// Normalization with the mean and the variance (of all values, biased) of a region:
/// D = (S - mean) * gamma / sqrt(variance + epsilon) + beta. A region is a group of neighbouring channels in all pixels
/// of one image or of all images: mean is [n or 1, 1, 1, groups], and groups divides the channels c. gamma and beta are
/// [1, 1, 1, c], diffGamma and diffBeta [as mean, 1, 1, c]; all of these are float32.
///   Statistics: src, mean, variance                                     (both written)
///   Apply:      src, mean, variance, gamma, beta, dst, post-op arguments
///   Normalize:  the same, mean and variance are those of src and written first
///   Sums:       diffDst, src, mean, variance, diffGamma, diffBeta       (sums over the pixels; both written)
///   Data:       diffDst, src, mean, variance, gamma, diffGamma, diffBeta, diffSrc
///   Gradient:   the same, diffGamma and diffBeta are those of diffDst and src and written first
/// accumulate: Statistics also count u[0] values per region that mean and variance came from before; Sums are added to.
/// Scalars: u[0] as above; Data: values per region that mean and variance depend on, 0 where they are constants.
struct Norm {
  NormTask task = NormTask::Apply;
  float epsilon = 0.f;
  bool accumulate = false;
  Program post;
  bool operator==(const Norm&) const = default;
};

enum class LocalNormKind : std::uint8_t { CrossChannel, Spatial, Contrast };

/// Normalization by the neighbours of a value, N of them, itself included; what lies outside the source is 0 and
/// counts:
///   CrossChannel: T = delta + alpha/N sum(E^2) over channels [c - channels div 2, c + (channels-1) div 2]; D = S
///   T^-beta Spatial:      the same over the window's taps in one channel Contrast:     M = sum(E)/N, V =
///   sum((E-M)^2)/N, T = delta + alpha V; D = pm + ps (S - p0 M) T^-beta
/// Tap p of destination position y reads source position y - pad + p; S is tap kernel div 2. Strides and dilations
/// are 1; CrossChannel has windows of one tap.
///   Forward: src, dst
///   Data:    diffDst, src, diffSrc      (exact derivative; diffSrc is overwritten)
struct LocalNorm {
  Direction direction = Direction::Forward;
  LocalNormKind kind = LocalNormKind::CrossChannel;
  Window y, x;
  std::int32_t channels = 1;
  float alpha = 1.f, beta = 5.f, delta = 1.f;
  float p0 = 1.f, pm = 0.f, ps = 1.f;
  bool operator==(const LocalNorm&) const = default;
};

/// Reads a source bilinearly at coordinates that are data, in source pixels: y[n,y,x,1] and x[n,y,x,1] plus startY and
/// startX, `relative` also plus the destination's own position.   src[n,hs,ws,c], y, x, dst[n,hd,wd,c]
struct Sample {
  maths::SampleEdge edge = maths::SampleEdge::Zero;
  bool relative = false;
  std::int32_t startY = 0, startX = 0;
  bool operator==(const Sample&) const = default;
};

enum class BinaryKind : std::uint8_t { Xnor, And };

/// Convolution of one-bit inputs with one-bit weights. The bit of an input v is 0 where v is below 0 and 1 elsewhere
/// (NaN and -0 too), 1 also outside the source. With `transform` v is (src + inputBias) * inputScale of the channel.
/// The result of N = taps * channels pairs of bits is, before post-ops: Xnor: 2 * (equal pairs) - N; And: pairs of
/// ones.
///   src[n,hs,ws,I], weights, [inputBias[I], inputScale[I] if transform], dst[n,hd,wd,O], post-op arguments
/// weights: uint32 [O][ky][kx][words]; channel f is bit f mod 32, lowest first, of word f div 32; further bits are
/// ignored. src and dst are float32.
struct BinaryConv {
  BinaryKind kind = BinaryKind::Xnor;
  Window y, x;
  bool transform = false;
  Program post;
  bool operator==(const BinaryConv&) const = default;
};

/// A caller's own function, run in its place. Arguments as declared by the caller; never fused, never replayed.
struct Call {
  std::uint64_t id = 0;   ///< which function of the list
  bool onDevice = false;  ///< it puts work on the device's stream itself; else it works in host memory
  bool operator==(const Call&) const = default;
};

/// Values of one run that no plan depends on.
struct Scalars {
  std::array<float, 8> f{};
  std::array<std::uint64_t, 2> u{};
};

}  // namespace kovar::prim
