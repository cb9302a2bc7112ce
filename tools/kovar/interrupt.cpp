#include "kovar/interrupt.hpp"

#include <signal.h>

namespace kovar::tools {
namespace {

volatile sig_atomic_t wanted = 0;
constexpr int kSignals[] = {SIGINT, SIGTERM};

void handle(int) { wanted = 1; }

void install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  // After the first the system's own way is back.
  action.sa_flags = handler == SIG_DFL ? 0 : SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  wanted = 0;
  install(handle);
}
InterruptGuard::~InterruptGuard() { install(SIG_DFL); }
bool InterruptGuard::requested() { return wanted != 0; }

}  // namespace kovar::tools
