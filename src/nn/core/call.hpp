#pragma once
// What a kernel class sees of one encode: tensors instead of images, and a recorder to append primitives with.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MPS/Core/State.hpp"
#include "runtime/access.hpp"

namespace kovar::nn {

/// A view with its storage.
struct Tensor {
  rt::StorageRef storage;
  prim::View view;

  rt::Operand read() const& { return {storage, prim::Access::Read, view}; }
  rt::Operand read() && { return {std::move(storage), prim::Access::Read, view}; }
  rt::Operand write() const& { return {storage, prim::Access::Write, view}; }
  rt::Operand write() && { return {std::move(storage), prim::Access::Write, view}; }
  rt::Operand update() const& { return {storage, prim::Access::ReadWrite, view}; }
  rt::Operand update() && { return {std::move(storage), prim::Access::ReadWrite, view}; }
  std::int64_t n() const { return view.dim(0); }
  std::int64_t h() const { return view.dim(1); }
  std::int64_t w() const { return view.dim(2); }
  std::int64_t c() const { return view.dim(3); }
  Tensor slice(int axis, std::int64_t start, std::int64_t length) const {
    return {storage, view.slice(axis, start, length)};
  }
  /// The same memory seen with another view.
  Tensor as(prim::View v) const { return {storage, v}; }
};

/// Appends primitives to a command buffer's list under its predicates. The command buffer outlives it. Throws Error.
class Recorder {
 public:
  explicit Recorder(const Ref<MTL::CommandBuffer>& commandBuffer);

  void op(const prim::Prim& prim, std::span<const rt::Operand> operands, const prim::Scalars& scalars = {});
  void op(const prim::Prim& prim, std::initializer_list<rt::Operand> operands, const prim::Scalars& scalars = {}) {
    op(prim, std::span(operands.begin(), operands.size()), scalars);
  }
  /// A dense temporary of the list.
  Tensor temporary(prim::DType dtype, std::initializer_list<std::int64_t> dims);
  /// A temporary laid out as images are: the channel stride rounded up to 4. `promotable`: a float16 one may be kept
  /// wider.
  Tensor temporaryImage(prim::DType dtype, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c);
  void keepAlive(rt::KeptAlive object) { state_.keepAlive(std::move(object)); }

  rt::CommandBufferState& state() { return state_; }
  const std::vector<rt::PredicateRef>& predicates() const { return predicates_; }

 private:
  rt::CommandBufferState& state_;
  std::vector<rt::PredicateRef> predicates_;
};

/// Rounds a channel count up to whole slices of 4.
constexpr std::int64_t roundUp4(std::int64_t channels) { return (channels + 3) / 4 * 4; }

/// One side of a windowed or translating access, in source pixels.
struct SourceGeometry {
  std::int64_t offsetX = 0, offsetY = 0;  ///< source position of destination pixel (0, 0) of the region, centre tap
  MPS::ImageEdgeMode edgeMode = MPS::ImageEdgeMode::Zero;
};

/// The images of a batch, or one image.
using Images = MPS::BatchView<MPS::Image>;

/// One encode, checked, with its images turned into tensors.
struct Call {
  Recorder& list;
  std::vector<Tensor> sources;           ///< [n, height, width, channels used] of each source
  std::vector<SourceGeometry> geometry;  ///< per source
  Tensor destination;                    ///< the region written: [n, height, width, channels written]
  /// Gradient kernels: the forward states. Others: the states to record into; may be empty.
  MPS::BatchView<MPS::State> states;
  MTL::Region region;      ///< the clip rectangle after clamping, in destination pixels
  bool automatic = false;  ///< the kernel made the destination itself; a gradient took its properties from the state
  bool destinationWritten = true;  ///< cleared by a kernel that leaves the destination as it was

  /// Source `index` read so that element (y, x) is destination pixel (y, x): a plain view where it lies inside the
  /// source, else a temporary with the edge mode applied.
  Tensor aligned(std::size_t index) const;
  /// A part of source `index`, from (y0, x0) on and of the given size; outside follows the edge mode.
  Tensor window(std::size_t index, std::int64_t y0, std::int64_t x0, std::int64_t height, std::int64_t width) const;
};

/// What a forward kernel was set to, for its gradient.
struct ForwardRecord {
  virtual ~ForwardRecord() = default;
  MPS::Offset offset;
  MTL::Region clip;  ///< as it took effect
  MPS::ImageEdgeMode edgeMode = MPS::ImageEdgeMode::Zero;
  std::size_t sourceFeatureChannelOffset = 0, destinationFeatureChannelOffset = 0;
  std::size_t channels = 0;  ///< source channels read
  std::size_t kernelWidth = 1, kernelHeight = 1, strideX = 1, strideY = 1, dilationX = 1, dilationY = 1;
  std::size_t sourceWidth = 0, sourceHeight = 0;
};

/// What a class may use to make its result state.
struct StateRequest {
  Ref<MTL::CommandBuffer> commandBuffer;  ///< null: an ordinary state
  Ref<MPS::Image> source;                 ///< of the first source
  std::vector<Ref<MPS::Image>> sources;
  std::vector<Ref<MPS::State>> sourceStates;
  Ref<MPS::Image> destination;
  ForwardRecord record;  ///< the common part, filled in
};

}  // namespace kovar::nn
