#include "kovar/Support/HostWork.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/Support/CudaWork.hpp"
#include "nn/core/access.hpp"
#include "runtime/access.hpp"
#include "runtime/device_state.hpp"

namespace kovar {
namespace {

/// An operand for the list and the view to fill in when its memory is known.
struct Prepared {
  rt::Operand operand;
  HostView view;
  std::size_t byteOffset = 0;
};

class Preparer {
 public:
  Preparer(const char* who, const Ref<MTL::Device>& device, const char* role, prim::Access access)
      : who_(who), device_(device), role_(role), access_(access) {}

  Prepared operator()(const Ref<MTL::Buffer>& buffer) const {
    checkDevice(buffer);
    Prepared p;
    p.operand = {rt::Access::storage(buffer), access_,
                 prim::View::contiguous(prim::DType::U8, {static_cast<std::int64_t>(buffer->length())})};
    p.view.channels = p.view.imageStride = p.view.rowStride = p.view.pixelStride = buffer->length();
    return p;
  }

  Prepared operator()(const Ref<MPS::Image>& image) const {
    checkDevice(image);
    if (const auto temporary = nn::Access::temporary(image.get()); temporary && temporary->readCount() == 0)
      base::raise(std::string(who_) + ": " + nn::Access::described(*image) + " in " + role_ +
                  " is used up: its readCount is 0; raise readCount before the encode that read it last");
    Prepared p;
    p.operand = {nn::Access::storage(*image), access_, nn::Access::view(*image)};
    const prim::View& v = p.operand.view;
    p.view.format = image->featureChannelFormat();
    p.view.images = static_cast<std::size_t>(v.dim(0));
    p.view.height = static_cast<std::size_t>(v.dim(1));
    p.view.width = static_cast<std::size_t>(v.dim(2));
    p.view.channels = static_cast<std::size_t>(v.dim(3));
    p.view.imageStride = static_cast<std::size_t>(v.strides[0]);
    p.view.rowStride = static_cast<std::size_t>(v.strides[1]);
    p.view.pixelStride = static_cast<std::size_t>(v.strides[2]);
    p.byteOffset = static_cast<std::size_t>(v.offset) * prim::sizeOf(v.dtype);
    return p;
  }

 private:
  template <class T>
  void checkDevice(const Ref<T>& object) const {
    if (!object) base::raise(std::string(who_) + ": an entry of " + role_ + " is null");
    if (object->device() != device_)
      base::raise(std::string(who_) + ": an entry of " + role_ + " belongs to device " +
                  object->device()->identifier() + ", the command buffer to " + device_->identifier() +
                  "; use one device's objects");
  }

  const char* who_;
  Ref<MTL::Device> device_;
  const char* role_;
  prim::Access access_;
};

/// A caller's function in its place among the kernels.
struct OwnCall {
  const char* who;
  std::function<void(void* stream, std::span<const HostView> in, std::span<HostView> out)> function;
  std::vector<Prepared> reads, writes;

  base::Status run(std::span<const prim::Bound> args, void* stream) const {
    std::vector<HostView> in, out;
    std::size_t next = 0;
    const auto bind = [&](const std::vector<Prepared>& operands, std::vector<HostView>& views) {
      for (const Prepared& p : operands) {
        views.push_back(p.view);
        views.back().setData(args[next++].data + p.byteOffset);
      }
    };
    bind(reads, in);
    bind(writes, out);
    try {
      function(stream, in, out);
    } catch (const std::exception& e) {
      return base::Failure{std::string(who) + ": the function threw: " + e.what()};
    } catch (...) {
      return base::Failure{std::string(who) + ": the function threw something that is no std::exception"};
    }
    return {};
  }
};

void append(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
            const std::vector<HostOperand>& writes, bool onDevice, OwnCall own) {
  const Ref<MTL::Device> device = commandBuffer->device();
  std::vector<rt::Operand> operands;
  MPS::ImageBatch readImages;
  for (const HostOperand& o : reads) {
    own.reads.push_back(std::visit(Preparer(own.who, device, "reads", prim::Access::Read), o));
    operands.push_back(own.reads.back().operand);
    if (const auto* image = std::get_if<Ref<MPS::Image>>(&o)) readImages.push_back(*image);
  }
  for (const HostOperand& o : writes) {
    own.writes.push_back(std::visit(Preparer(own.who, device, "writes", prim::Access::Write), o));
    operands.push_back(own.writes.back().operand);
  }
  const auto call = std::make_shared<const OwnCall>(std::move(own));
  base::unwrap(rt::Access::state(commandBuffer)
                   ->appendCall(
                       operands, onDevice,
                       [call](std::span<const prim::Bound> args, void* stream) { return call->run(args, stream); },
                       rt::Access::predicates(commandBuffer)));
  nn::Access::chargeRead(readImages);
}

}  // namespace

void encodeHost(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
                const std::vector<HostOperand>& writes, HostFunction function) {
  if (!commandBuffer) base::raise("encodeHost: commandBuffer is null");
  if (!function) base::raise("encodeHost: function is empty");
  append(commandBuffer, reads, writes, false,
         {"encodeHost", [f = std::move(function)](void*, auto in, auto out) { f(in, out); }, {}, {}});
}

void encodeCuda(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
                const std::vector<HostOperand>& writes, CudaFunction function) {
  if (!commandBuffer) base::raise("encodeCuda: commandBuffer is null");
  if (!function) base::raise("encodeCuda: function is empty");
  const MTL::Device& device = *commandBuffer->device();
  if (!rt::Access::state(commandBuffer->device())->backend->caps().deviceCalls)
    base::raise("encodeCuda: device " + device.identifier() +
                " has no CUDA streams; use encodeHost, or a command buffer of a CUDA device");
  append(commandBuffer, reads, writes, true,
         {"encodeCuda",
          [f = std::move(function)](void* stream, auto in, auto out) { f(static_cast<CudaStream>(stream), in, out); },
          {},
          {}});
}

}  // namespace kovar
