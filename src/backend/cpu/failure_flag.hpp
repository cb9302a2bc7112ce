#pragma once
// Chunks run on pool threads, where nothing may be thrown: they raise a flag, and the plan's body turns it into a
// Failure.

#include <atomic>

#include "base/result.hpp"

namespace kovar::cpu {

class FailureFlag {
 public:
  enum Reason : int { kNone, kMemory, kVendor };

  void raise(Reason reason) { reason_.store(reason, std::memory_order_relaxed); }
  /// To be asked after the pool's run() has returned.
  base::Status status(const char* implementation) const {
    switch (reason_.load(std::memory_order_relaxed)) {
      case kMemory:
        return base::Failure{std::string(implementation) + ": no memory for the working buffers of a thread"};
      case kVendor:
        return base::Failure{std::string(implementation) + ": a call of oneDNN failed while it ran"};
      default:
        return {};
    }
  }

 private:
  std::atomic<int> reason_{kNone};
};

}  // namespace kovar::cpu
