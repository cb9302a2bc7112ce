#include "runtime/device_registry.hpp"

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "backend/cpu/backend.hpp"
#include "backend/null/null.hpp"
#include "base/edge.hpp"
#include "runtime/access.hpp"

namespace kovar::rt {
namespace {

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  /// Null when this build or machine has no such device.
  Ref<MTL::Device> find(const std::string& identifier) {
    std::scoped_lock lock(mutex_);
    auto known = devices_.find(identifier);
    if (known != devices_.end()) return known->second;
    std::unique_ptr<prim::Backend> backend;
    if (identifier == "cpu")
      backend = cpu::makeCpuBackend(0);
    else if (identifier == "null")
      backend = null_device::makeNullBackend();
    else
      return nullptr;
    return devices_[identifier] = makeUnlistedDevice(identifier, std::move(backend));
  }

  std::vector<std::string> names() const { return {"cpu"}; }

 private:
  std::mutex mutex_;
  std::map<std::string, Ref<MTL::Device>> devices_;
};

}  // namespace

Ref<MTL::Device> makeUnlistedDevice(std::string identifier, std::unique_ptr<prim::Backend> backend) {
  return Access::makeDevice(std::make_shared<DeviceState>(std::move(identifier), std::move(backend)));
}

void setCpuThreadCount(int count) {
  if (count < 0)
    base::raise("setThreadCount: " + std::to_string(count) + " threads; give 1 or more, or 0 for the default");
  Access::state(MTL::deviceNamed("cpu"))->backend->setThreadCount(count);
}

int cpuThreadCount() { return Access::state(MTL::deviceNamed("cpu"))->backend->threadCount(); }

}  // namespace kovar::rt

namespace kovar::MTL {

Ref<Device> deviceNamed(const std::string& identifier) {
  if (Ref<Device> device = rt::Registry::instance().find(identifier)) return device;
  std::string known;
  for (const std::string& name : rt::Registry::instance().names()) known += (known.empty() ? "" : ", ") + name;
  base::raise("device \"" + identifier + "\": not on this machine or not in this build; there are: " + known);
}

Ref<Device> createSystemDefaultDevice() {
  const char* wanted = std::getenv("KOVAR_DEVICE");
  return deviceNamed(wanted && *wanted ? wanted : rt::Registry::instance().names().front());
}

std::vector<Ref<Device>> copyAllDevices() {
  std::vector<Ref<Device>> all;
  for (const std::string& name : rt::Registry::instance().names()) all.push_back(deviceNamed(name));
  return all;
}

}  // namespace kovar::MTL
