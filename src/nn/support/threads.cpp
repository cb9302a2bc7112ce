#include "kovar/Support/Threads.hpp"

#include "runtime/device_registry.hpp"

namespace kovar {

void setThreadCount(int count) { rt::setCpuThreadCount(count); }
int threadCount() { return rt::cpuThreadCount(); }

}  // namespace kovar
