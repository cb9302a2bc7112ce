#pragma once
// The only place that knows which back ends this build has.

#include <functional>
#include <memory>
#include <string>

#include "kovar/MTL/Device.hpp"
#include "prim/backend.hpp"

namespace kovar::rt {

/// A device over a back end of one's own; not listed. For tests (two fake devices) and new back ends.
Ref<MTL::Device> makeUnlistedDevice(std::string identifier, std::unique_ptr<prim::Backend> backend);

/// Makes deviceNamed(identifier) give a device over this back end, made when it is first asked for; not listed. For
/// tests that run whole programs on a device of theirs.
using BackendMaker = std::function<std::unique_ptr<prim::Backend>()>;
void addDevice(const std::string& identifier, BackendMaker make);

/// Sets how many threads the CPU device uses; 0 restores the default. Throws Error for a negative count.
void setCpuThreadCount(int count);
int cpuThreadCount();

}  // namespace kovar::rt
