#pragma once

#include <vector>

#include "kovar/MTL/CommandBuffer.hpp"

namespace kovar::MTL {
class Buffer;
class Heap;
class HeapDescriptor;
}  // namespace kovar::MTL

namespace kovar::MPS {

/// A 32-bit word in a buffer that decides, when the work's turn comes, whether it runs (non-zero) or is skipped.
/// Implements MPSPredicate.
class Predicate final : public Object {
 public:
  /// Throws Error when the offset is not a multiple of 4 or the word lies beyond the buffer.
  Predicate(const Ref<MTL::Buffer>& buffer, std::size_t offset);
  /// A buffer of its own that holds one word, 0 at first.
  explicit Predicate(const Ref<MTL::Device>& device);
  static Ref<Predicate> predicate(const Ref<MTL::Buffer>& buffer, std::size_t offset);
  Ref<MTL::Buffer> predicateBuffer() const { return buffer_; }
  std::size_t predicateOffset() const { return offset_; }

 private:
  Ref<MTL::Buffer> buffer_;
  std::size_t offset_ = 0;
};

/// Supplies heaps for temporary storage. Kept for the documented API: here memory comes from the queue's arena and the
/// provider is never asked. Implements MPSHeapProvider.
class HeapProvider {
 public:
  virtual ~HeapProvider() = default;
  virtual Ref<MTL::Heap> newHeap(const Ref<MTL::HeapDescriptor>& descriptor) = 0;
  virtual void retireHeap([[maybe_unused]] const Ref<MTL::Heap>& heap, [[maybe_unused]] double cacheDelay) {}
};

/// A command buffer that can be committed in pieces and whose work can be made conditional. It is used wherever a
/// command buffer is. Several wrappers around one buffer combine their predicates: all words must be non-zero.
/// Implements MPSCommandBuffer.
class CommandBuffer final : public MTL::CommandBuffer {
 public:
  explicit CommandBuffer(const Ref<MTL::CommandBuffer>& commandBuffer);
  static Ref<CommandBuffer> commandBuffer(const Ref<MTL::CommandBuffer>& commandBuffer);
  static Ref<CommandBuffer> commandBuffer(const Ref<MTL::CommandQueue>& commandQueue);

  /// The wrapped command buffer.
  Ref<MTL::CommandBuffer> commandBuffer() const { return wrapped_; }
  /// The innermost command buffer that work goes to now. commitAndContinue changes it.
  Ref<MTL::CommandBuffer> rootCommandBuffer() const { return root_; }
  /// Work encoded from now on runs only if the word is non-zero; null: always. Effects at encode time (read counts,
  /// states) happen regardless.
  Ref<Predicate> predicate() const { return predicate_; }
  void setPredicate(const Ref<Predicate>& predicate) { predicate_ = predicate; }
  Ref<HeapProvider> heapProvider() const { return heapProvider_; }
  void setHeapProvider(const Ref<HeapProvider>& heapProvider) { heapProvider_ = heapProvider; }
  /// Commits the root and goes on with a new one on the same queue. Temporaries that still have a read count stay
  /// valid. Completed handlers stay with the root they were added to; to wait for that one, take rootCommandBuffer()
  /// first.
  void commitAndContinue();
  /// A hint; memory is planned when the buffer is committed.
  void prefetchHeap(std::size_t workloadSize);

 protected:
  void collectPredicates(std::vector<rt::PredicateRef>& into) const override;

 private:
  Ref<MTL::CommandBuffer> wrapped_, root_;
  Ref<Predicate> predicate_;
  Ref<HeapProvider> heapProvider_;
};

/// A hint about how much temporary memory a command buffer will need; memory is planned at commit, nothing is reserved.
void hintTemporaryMemoryHighWaterMark(const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t bytes);
/// How long freed temporary memory stays cached; the arena stays with its queue, so this changes nothing.
void setHeapCacheDuration(const Ref<MTL::CommandBuffer>& commandBuffer, double seconds);

}  // namespace kovar::MPS
