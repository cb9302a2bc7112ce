#pragma once
// Element-wise programs ready to start, alone or behind a producer.

#include <cstddef>
#include <span>
#include <vector>

#include "backend/cuda/cuda.hpp"

namespace kovar::cuda {

class PreparedProgram {
 public:
  PreparedProgram() = default;
  /// A whole program; its steps name `views`.
  PreparedProgram(const prim::Program& program, std::span<const prim::View> views);
  /// A program behind a producer: register 0 starts as an element of `from` and ends as one of `to`.
  PreparedProgram(const prim::Program& program, std::span<const prim::View> views, const prim::View& from,
                  const prim::View& to);

  bool empty() const { return views_.empty(); }
  /// `arguments` are storages, as the program numbers them; `from` and `to` only behind a producer.
  cudaError_t run(cudaStream_t stream, std::span<const prim::Bound> arguments, std::byte* from = nullptr,
                  std::byte* to = nullptr) const;

 private:
  enum : int { kFrom = -1, kTo = -2 };
  void add(const prim::EwStep& step, int argument, const prim::View* view);
  void finish();

  ElementwiseParams params_;
  std::vector<int> argument_;  // of each view: an argument, kFrom or kTo
  std::vector<prim::View> views_;
};

/// What a producer cannot do itself.
struct EpilogueNeeds {
  bool floatsOnly = false;     ///< it writes nothing but float32
  bool denseOnly = false;      ///< and only row-major without gaps
  bool roundsBetween = false;  ///< a float16 result may be rounded before the program takes it
  int biasArg = -1;            ///< a bias along the last axis is added here
  bool accumulate = false;     ///< the result is added to the destination here
};

/// What follows a producer: it writes float32 either into its destination or into scratch, and a program takes it from
/// there.
class Epilogue {
 public:
  Epilogue() = default;
  /// `dst` is the operation's argument number dstArg; the post-op program's arguments follow the first `own`.
  Epilogue(const prim::Program& post, std::span<const prim::View> views, std::size_t dstArg, std::size_t own,
           const EpilogueNeeds& needs, CudaPlan& plan);

  /// Where the producer writes, and what it sees there.
  const prim::View& target() const { return target_; }
  std::byte* targetData(const prim::Invocation& inv) const {
    return viaScratch_ ? inv.scratch + scratch_ : inv.args[dstArg_].data;
  }
  cudaError_t finish(cudaStream_t stream, const prim::Invocation& inv) const;

 private:
  prim::View target_;
  std::size_t dstArg_ = 0, scratch_ = 0;
  bool viaScratch_ = false;
  std::vector<PreparedProgram> programs_;  // more than one where the steps do not fit
};

/// An operand as a dense array of one type: where it lies if it is that already, or copied to scratch.
class DenseOperand {
 public:
  DenseOperand() = default;
  DenseOperand(const prim::View& view, std::size_t argument, bool asItIs, CudaPlan& plan,
               prim::DType type = prim::DType::F32);
  const prim::View& view() const { return view_; }
  /// The address of the first element; puts the copy on the stream where one is needed.
  base::Result<std::byte*> start(cudaStream_t stream, const prim::Invocation& inv) const;

 private:
  prim::View view_;
  std::size_t argument_ = 0, scratch_ = 0;
  PreparedProgram copy_;
};

/// Row-major float32 view of the same dims.
prim::View denseFloats(const prim::View& like);

}  // namespace kovar::cuda
