#pragma once
// How we call oneDNN: one thread per call, our own scratch memory, packed weights that outlive a run.
// Only files named *_onednn.cpp include this.

#include <dnnl.hpp>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "backend/cpu/buffer_pool.hpp"
#include "backend/cpu/cpu.hpp"

namespace kovar::cpu {

const dnnl::engine& dnnlEngine();

/// Holds the calling thread's OpenMP at one thread while it lives. Also needed where primitives are made: they plan for
/// the number of threads they see.
class OneDnnlThread {
 public:
  OneDnnlThread();
  ~OneDnnlThread();
  OneDnnlThread(const OneDnnlThread&) = delete;
  OneDnnlThread& operator=(const OneDnnlThread&) = delete;

 private:
  int before_;
};

/// Attributes that every primitive of ours has: scratch memory comes from the caller.
dnnl::primitive_attr userScratchpad();

struct DnnlArg {
  int name;
  const dnnl::memory::desc* desc;
  void* data;
};

/// Runs a primitive on the calling thread; false when the call failed. Safe from several threads at once.
bool execute(const dnnl::primitive& primitive, std::initializer_list<DnnlArg> args) noexcept;

/// True for implementations that are loops over single elements: ours are faster.
bool isReference(const char* implementation);

/// Hash of everything that fixes where elements lie.
std::uint64_t hashOf(const dnnl::memory::desc& desc);

/// A reorder cut into parts along axis 0, so that several threads share it.
class SplitReorder {
 public:
  SplitReorder() = default;
  /// `accumulate` adds to the destination.
  SplitReorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to, bool accumulate);

  std::size_t parts() const { return parts_.size(); }
  bool run(std::size_t part, const float* from, float* to) const noexcept;

 private:
  struct Part {
    dnnl::reorder primitive;
    dnnl::memory::desc from, to, scratch;
    std::int64_t fromOffset = 0, toOffset = 0;  // floats
  };
  std::vector<Part> parts_;
};

/// Weights in the formats that the primitives of one plan chose, made from the caller's when they change.
class PackedWeights {
 public:
  /// One block of weights: `plain` says how it lies from `offset` floats on after the first weight.
  void add(const dnnl::memory::desc& plain, std::int64_t offset, const dnnl::memory::desc& packed);
  /// To be called after the last add().
  void finish(const prim::View& weights);

  /// The packed weights of `source`, kept in its derived forms where it has them; block i starts at offsetOf(i).
  base::Result<std::shared_ptr<const std::byte>> get(Context& context, const prim::Bound& source) const;
  std::size_t offsetOf(std::size_t block) const { return blocks_[block].packedOffset; }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Block {
    std::int64_t plainOffset = 0;
    std::size_t packedOffset = 0;
    SplitReorder reorder;
  };
  std::vector<Block> blocks_;
  std::vector<std::pair<std::size_t, std::size_t>> parts_;  // block, part of its reorder
  std::int64_t viewOffset_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t key_ = 0;
  std::shared_ptr<BufferPool> buffers_;
};

}  // namespace kovar::cpu
