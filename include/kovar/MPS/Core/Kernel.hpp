#pragma once

#include <string>
#include <string_view>

#include "kovar/MPS/Core/Types.hpp"

namespace kovar::nn {
struct Access;
}
namespace kovar::MTL {
class Device;
}

namespace kovar::MPS {

class Archive;

/// Base of everything that encodes work. A kernel is mutable and serves one thread at a time; use one copy per thread.
/// Work already encoded never changes: properties are read at encode. Implements MPSKernel.
class Kernel : public Object {
 public:
  /// Throws Error when device is null.
  explicit Kernel(const Ref<MTL::Device>& device);
  /// Not set yet, on a device (without one: MTL::createSystemDefaultDevice()): the derived class reads its members.
  Kernel(Archive& coder, const Ref<MTL::Device>& device);
  explicit Kernel(Archive& coder);
  ~Kernel() override;

  /// Verbose is set at first when the environment has MPS_LOG_INFO.
  KernelOptions options() const { return options_; }
  void setOptions(KernelOptions options) { options_ = options; }
  Ref<MTL::Device> device() const { return device_; }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  /// A kernel with the same properties on `device` (null: the same device).
  Ref<Kernel> copy(const Ref<MTL::Device>& device);
  /// Writes the kernel, its weights and other parameters included. Finish the work that changes them first. Read it
  /// with the constructor of its class or Archive::decodeKernel, on any device.
  ///
  /// Errors: a padding policy or an image allocator of the caller's own, which are not written.
  void encodeWithCoder(Archive& coder);

 protected:
  Kernel(const Kernel&) = default;
  /// Most classes: `return clone(*this, device)`. Default throws Error: the class cannot be copied.
  virtual Ref<Kernel> doCopy(const Ref<MTL::Device>& device);
  template <class T>
  static Ref<Kernel> clone(const T& original, const Ref<MTL::Device>& device) {
    Ref<T> copy(new T(original));
    static_cast<Kernel&>(*copy).device_ = device;
    return copy;
  }
  /// Writes or reads the members: those of the base class, then its own.
  virtual void doCode(Archive& coder);
  /// For constructors from an archive: reads the members of an object of className().
  void decode(Archive& coder);
  /// Marks constructors that leave everything to decode().
  struct Unset {};
  /// For messages and archives, e.g. "CNNConvolution".
  virtual const char* className() const = 0;
  /// className and label, e.g. `CNNConvolution "conv1"`.
  std::string described() const;
  bool skipsValidation() const { return (options_ & KernelOptions::SkipAPIValidation) != KernelOptions::None; }

  Ref<MTL::Device> device_;

 private:
  KernelOptions options_ = KernelOptions::None;
  std::string label_;
  friend struct nn::Access;
};

/// Whether the kernels run on this device: true for every device that there is, false for null. Implements
/// MPSSupportsMTLDevice.
bool supportsMTLDevice(const Ref<MTL::Device>& device);
/// The device to use: MTL::createSystemDefaultDevice(), or the processor with LowPower. No device here is removable.
/// Implements MPSGetPreferredDevice.
Ref<MTL::Device> getPreferredDevice(DeviceOptions options);

}  // namespace kovar::MPS
