#pragma once
// What the files of the CUDA back end share: the plan type that starts kernels, and the ordered candidate lists.

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "backend/cuda/kernels/params.hpp"
#include "prim/backend.hpp"

namespace kovar::cuda {

/// Where plans of one device live: for tables that a plan keeps on the device, and the vendor libraries.
class Device {
 public:
  virtual ~Device() = default;
  virtual base::Result<prim::MemoryRef> allocateFor(std::size_t bytes) = 0;
  /// Copies host bytes to a block and waits until they are there.
  virtual base::Status upload(prim::Memory& dst, const void* src, std::size_t bytes) = 0;
  virtual int multiprocessors() const = 0;
  virtual int ordinal() const = 0;
  /// For people; the same for GPUs of one kind.
  virtual const std::string& name() const = 0;
};

/// What a plan may use while it starts its work.
struct Context {
  cudaStream_t stream;
  const prim::Scalars* deviceScalars = nullptr;  ///< this operation's, when the launch becomes part of a graph

  ScalarSource scalars(const prim::Invocation& inv) const {
    ScalarSource s;
    if (inv.scalars != nullptr) s.value = *inv.scalars;
    s.device = deviceScalars;
    return s;
  }
};

/// What scratch starts at by contract, and what cuBLASLt and cuDNN want of a workspace: plans ask for the difference
/// and start at the next such address.
inline constexpr std::size_t kGivenAlignment = 64, kScratchAlignment = 256;
inline prim::Invocation startingScratch(prim::Invocation inv) {
  const auto address = reinterpret_cast<std::uintptr_t>(inv.scratch);
  if (inv.scratch != nullptr) inv.scratch += (kScratchAlignment - address % kScratchAlignment) % kScratchAlignment;
  return inv;
}

/// A prepared primitive is a function that puts its work on the stream. It captures what it needs by value.
class CudaPlan : public prim::Plan {
 public:
  std::function<base::Status(const Context&, const prim::Invocation&)> body;

  /// Set where the plan only moves bytes that lie together from argument 0 to argument 1: such plans one after the
  /// other become one launch.
  struct Run {
    std::int64_t from = 0, to = 0;
    std::size_t bytes = 0;
  } run;

  /// Reserves bytes of scratch; returns their offset.
  std::size_t reserve(std::size_t bytes) {
    const std::size_t at = scratchBytes;
    scratchBytes += (bytes + 255) / 256 * 256;
    return at;
  }
};

/// Turns a CUDA error into one line: what was done, CUDA's words, what to do about it.
base::Status check(cudaError_t error, const char* what);

/// Start of an argument's elements: storage start plus the view's offset.
inline std::byte* at(const prim::Invocation& inv, std::size_t index, const prim::View& view) {
  return inv.args[index].data + view.offset * static_cast<std::int64_t>(sizeOf(view.dtype));
}

/// A candidate either fills the plan's body (and reserves scratch) or says in a few words why it cannot.
/// `views` stay valid during the call only: capture copies.
template <class D>
struct Candidate {
  const char* name;
  base::Status (*prepare)(Device& device, const D& desc, std::span<const prim::View> views,
                          const prim::PrepareOptions& options, CudaPlan& plan);
};

/// Ordered lists, best first; the last one takes everything valid. Each family's file defines its own.
std::span<const Candidate<prim::Conv>> convCandidates();
std::span<const Candidate<prim::Matmul>> matmulCandidates();
std::span<const Candidate<prim::Pool>> poolCandidates();
std::span<const Candidate<prim::Softmax>> softmaxCandidates();
std::span<const Candidate<prim::Reduce>> reduceCandidates();
std::span<const Candidate<prim::Elementwise>> elementwiseCandidates();
std::span<const Candidate<prim::Copy>> copyCandidates();
std::span<const Candidate<prim::Resample>> resampleCandidates();
std::span<const Candidate<prim::Sample>> sampleCandidates();
std::span<const Candidate<prim::Fill>> fillCandidates();
std::span<const Candidate<prim::Random>> randomCandidates();
std::span<const Candidate<prim::Loss>> lossCandidates();
std::span<const Candidate<prim::Yolo>> yoloCandidates();
std::span<const Candidate<prim::Step>> stepCandidates();
std::span<const Candidate<prim::Norm>> normCandidates();
std::span<const Candidate<prim::LocalNorm>> localNormCandidates();
std::span<const Candidate<prim::BinaryConv>> binaryConvCandidates();

}  // namespace kovar::cuda
