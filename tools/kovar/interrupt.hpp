#pragma once
// Ctrl-C as a wish, not an end.

namespace kovar::tools {

/// While it lives, the first SIGINT or SIGTERM only sets requested(); a second one ends the program as usual.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool requested();
};

}  // namespace kovar::tools
