// Every kernel class: its copy on another device is of the same class, has the same properties and computes the same
// bits; a copy of that copy on the first device too.

#include <typeinfo>

#include "kernel_table.hpp"

namespace kovar::test {
namespace {

TEST(Copies, OnAnotherDeviceComputeTheSameBits) {
  // The processor, whatever the suite runs on: both devices must compute the same bits.
  const Ref<MTL::Device> here = MTL::deviceNamed("cpu");
  for (const KernelRow& kind : kernelTable()) {
    SCOPED_TRACE(kind.name);
    try {
      const Ref<MPS::Kernel> original = kind.make(here);
      const Ref<MPS::Kernel> there = original->copy(distantDevice()), again = there->copy(here),
                             same = original->copy(nullptr);
      for (const auto& copy : {there, again, same}) {
        const MPS::Kernel &a = *original, &b = *copy;
        EXPECT_EQ(typeid(a), typeid(b)) << typeid(b).name();
        EXPECT_EQ(copy->label(), original->label());
        EXPECT_EQ(copy->options(), original->options());
      }
      EXPECT_EQ(there->device(), distantDevice());
      EXPECT_EQ(again->device(), here);
      EXPECT_EQ(same->device(), here);
      const Values wanted = kind.run(original, here);
      EXPECT_EQ(kind.run(there, distantDevice()), wanted);
      EXPECT_EQ(kind.run(again, here), wanted);
      EXPECT_EQ(kind.run(same, here), wanted);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

}  // namespace
}  // namespace kovar::test
