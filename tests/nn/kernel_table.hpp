#pragma once
// Every kernel class with an object of it, and what that object computes: for tests of copies and of archives.

#include <functional>
#include <string>
#include <vector>

#include "nn_case.hpp"

namespace kovar::test {

using Values = std::vector<double>;

/// One class: how it is made, and what one of its objects computes on a device.
struct KernelRow {
  std::string name;
  std::function<Ref<MPS::Kernel>(const Ref<MTL::Device>&)> make;
  std::function<Values(const Ref<MPS::Kernel>&, const Ref<MTL::Device>&)> run;
};
/// All classes that compute something.
std::vector<KernelRow> kernelTable();

/// The processor again, with memory of its own at a distance.
const Ref<MTL::Device>& distantDevice();

}  // namespace kovar::test
