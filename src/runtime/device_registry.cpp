#include "runtime/device_registry.hpp"

#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "backend/cpu/backend.hpp"
#ifdef KOVAR_HAS_CUDA
#include "backend/cuda/backend.hpp"
#endif
#include "backend/null/null.hpp"
#include "base/edge.hpp"
#include "runtime/access.hpp"

namespace kovar::rt {
namespace {

/// "cuda" is GPU 0, "cuda:1" the next one; -1: no GPU's name.
int gpuNumber(const std::string& identifier) {
  constexpr std::string_view kPrefix = "cuda:";
  if (identifier == "cuda") return 0;
  if (identifier.rfind(kPrefix, 0) != 0) return -1;
  const char *first = identifier.data() + kPrefix.size(), *last = identifier.data() + identifier.size();
  int number = -1;
  const auto [end, error] = std::from_chars(first, last, number);
  return error == std::errc() && end == last && number > 0 ? number : -1;
}

#ifdef KOVAR_HAS_CUDA
int gpuCount() { return cuda::deviceCount(); }

std::unique_ptr<prim::Backend> gpuBackend(int number) {
  std::string why;
  const int count = cuda::deviceCount(&why);
  if (number >= count)
    base::raise("device \"cuda" + (number > 0 ? ":" + std::to_string(number) : std::string()) +
                "\": the driver shows " + std::to_string(count) + " GPUs" + (why.empty() ? "" : " (" + why + ")") +
                "; use cpu, or install NVIDIA's driver");
  return base::unwrap(cuda::makeCudaBackend(number));
}
#else
int gpuCount() { return 0; }

std::unique_ptr<prim::Backend> gpuBackend(int) {
  base::raise("device \"cuda\": this build has no CUDA back end; use cpu, or build with the preset cuda");
}
#endif

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  /// Null when this build or machine has no such device.
  Ref<MTL::Device> find(std::string identifier) {
    if (identifier == "cuda:0") identifier = "cuda";
    std::scoped_lock lock(mutex_);
    auto known = devices_.find(identifier);
    if (known != devices_.end()) return known->second;
    std::unique_ptr<prim::Backend> backend;
    if (identifier == "cpu")
      backend = cpu::makeCpuBackend(0);
    else if (identifier == "null")
      backend = null_device::makeNullBackend();
    else if (const int gpu = gpuNumber(identifier); gpu >= 0)
      backend = gpuBackend(gpu);
    else if (const auto added = added_.find(identifier); added != added_.end())
      backend = added->second();
    if (!backend) return nullptr;
    return devices_[identifier] = makeUnlistedDevice(identifier, std::move(backend));
  }

  void add(const std::string& identifier, BackendMaker make) {
    std::scoped_lock lock(mutex_);
    added_[identifier] = std::move(make);
  }

  /// What a user sees, the best first: GPUs, then the processor.
  std::vector<std::string> names() const {
    const int gpus = gpuCount();
    std::vector<std::string> all;
    all.reserve(static_cast<std::size_t>(gpus) + 1);
    for (int gpu = 0; gpu < gpus; ++gpu) all.push_back(gpu == 0 ? "cuda" : "cuda:" + std::to_string(gpu));
    all.emplace_back("cpu");
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Ref<MTL::Device>> devices_;
  std::map<std::string, BackendMaker> added_;
};

}  // namespace

Ref<MTL::Device> makeUnlistedDevice(std::string identifier, std::unique_ptr<prim::Backend> backend) {
  return Access::makeDevice(std::make_shared<DeviceState>(std::move(identifier), std::move(backend)));
}

void addDevice(const std::string& identifier, BackendMaker make) {
  Registry::instance().add(identifier, std::move(make));
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
