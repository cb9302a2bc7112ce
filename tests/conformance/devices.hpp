#pragma once
// The devices that conformance cases run on. KOVAR_DEVICE=cpu or cuda leaves one kind; without it every kind runs that
// the machine has. In a build without CUDA, "cuda" is that back end's own source run by tests/emulation.

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/backend.hpp"
#include "backend/cuda/backend.hpp"
#include "conformance/device_case.hpp"
#include "prim/backend.hpp"

namespace kovar::test {

class Devices {
 public:
  /// Devices of one kind must give the same bits.
  using Kind = std::vector<prim::Backend*>;

  /// Large cases leave an emulated device out: it is thousands of times slower than a GPU.
  enum class Work { Small, Large };

  explicit Devices(Work work = Work::Small) {
    const char* wanted = std::getenv("KOVAR_DEVICE");
    const std::string only = wanted != nullptr ? wanted : "";
    if (only.empty() || only == "cpu") {
      own_.push_back(cpu::makeCpuBackend(1));
      own_.push_back(cpu::makeCpuBackend(2));
      kinds_.push_back({own_[0].get(), own_[1].get()});
    }
    if (only.empty() ? cuda::deviceCount() > 0 : only == "cuda") {
      auto device = cuda::makeCudaBackend(0);
      EXPECT_TRUE(device.ok()) << (device.ok() ? "" : device.failure().text);
      if (!device.ok() || (work == Work::Large && (*device)->caps().name == kEmulated)) return;
      own_.push_back(std::move(*device));
      kinds_.push_back({own_.back().get()});
    }
  }

  const std::vector<Kind>& kinds() const { return kinds_; }
  /// The processor with one thread and with two, for what is about its implementations; empty when it is left out.
  Kind processor() const { return kinds_.empty() || kinds_.front().size() != 2 ? Kind() : kinds_.front(); }
  /// Every implementation of a case by name, with the devices to run it on. `work`: multiplications, roughly.
  std::vector<std::pair<Kind, std::string>> implementations(const DeviceCase& test, double work = 0) const {
    constexpr double kMostEmulated = 3e5;
    std::vector<std::pair<Kind, std::string>> all;
    for (const Kind& kind : kinds_)
      if (work <= kMostEmulated || !emulated(kind))
        for (std::string& name : test.candidates(*kind.front())) all.emplace_back(kind, std::move(name));
    return all;
  }
  /// The implementation that must take every valid case.
  static std::string last(const Kind& kind, const DeviceCase& test) { return test.candidates(*kind.front()).back(); }

 private:
  static constexpr const char* kEmulated = "emulated GPU";
  static bool emulated(const Kind& kind) { return kind.front()->caps().name == kEmulated; }

  std::vector<std::unique_ptr<prim::Backend>> own_;
  std::vector<Kind> kinds_;
};

}  // namespace kovar::test
