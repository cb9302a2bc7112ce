#include "kovar/Support/HostWork.hpp"

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "runtime/access.hpp"

namespace kovar {
namespace {

constexpr const char* kWho = "encodeHost";

/// An operand for the list and the view to fill in when its memory is known.
struct Prepared {
  rt::Operand operand;
  HostView view;
  std::size_t byteOffset = 0;
};

class Preparer {
 public:
  Preparer(const Ref<MTL::Device>& device, const char* role, prim::Access access)
      : device_(device), role_(role), access_(access) {}

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
      base::raise(std::string(kWho) + ": " + nn::Access::described(*image) + " in " + role_ +
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
    if (!object) base::raise(std::string(kWho) + ": an entry of " + role_ + " is null");
    if (object->device() != device_)
      base::raise(std::string(kWho) + ": an entry of " + role_ + " belongs to device " +
                  object->device()->identifier() + ", the command buffer to " + device_->identifier() +
                  "; use one device's objects");
  }

  Ref<MTL::Device> device_;
  const char* role_;
  prim::Access access_;
};

struct HostCall {
  HostFunction function;
  std::vector<Prepared> reads, writes;

  base::Status run(std::span<const prim::Bound> args) const {
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
      function(in, out);
    } catch (const std::exception& e) {
      return base::Failure{std::string(kWho) + ": the function threw: " + e.what()};
    } catch (...) {
      return base::Failure{std::string(kWho) + ": the function threw something that is no std::exception"};
    }
    return {};
  }
};

}  // namespace

void encodeHost(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
                const std::vector<HostOperand>& writes, HostFunction function) {
  if (!commandBuffer) base::raise(std::string(kWho) + ": commandBuffer is null");
  if (!function) base::raise(std::string(kWho) + ": function is empty");
  const Ref<MTL::Device> device = commandBuffer->device();

  auto call = std::make_shared<HostCall>();
  call->function = std::move(function);
  std::vector<rt::Operand> operands;
  MPS::ImageBatch readImages;
  for (const HostOperand& o : reads) {
    call->reads.push_back(std::visit(Preparer(device, "reads", prim::Access::Read), o));
    operands.push_back(call->reads.back().operand);
    if (const auto* image = std::get_if<Ref<MPS::Image>>(&o)) readImages.push_back(*image);
  }
  for (const HostOperand& o : writes) {
    call->writes.push_back(std::visit(Preparer(device, "writes", prim::Access::Write), o));
    operands.push_back(call->writes.back().operand);
  }
  const auto& state = rt::Access::state(commandBuffer);
  base::unwrap(state->appendCall(
      operands, [call](std::span<const prim::Bound> args) { return call->run(args); },
      rt::Access::predicates(commandBuffer)));
  nn::Access::chargeRead(readImages);
}

}  // namespace kovar
