#include "kovar/MPS/NN/CNNSoftMax.hpp"

#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {
namespace {

void encodeForward(Call& call, bool log) {
  prim::Softmax d;
  d.log = log;
  call.list.op(d, {call.aligned(0).read(), call.destination.write()});
}

void encodeGradient(Call& call, bool log) {
  prim::Softmax d;
  d.direction = prim::Direction::Data;
  d.log = log;
  encodeThroughForward(call, [&](const Tensor& g, const Tensor& destination, bool translated) {
    const Tensor result = translated ? call.sources[1] : call.aligned(1);
    call.list.op(d, {g.read(), result.read(), destination.write()});
  });
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

CNNSoftMax::CNNSoftMax(const Ref<MTL::Device>& device) : CNNKernel(device) {}
void CNNSoftMax::doEncode(nn::Call& call) { nn::encodeForward(call, false); }
Ref<State> CNNSoftMax::doResultState(const nn::StateRequest& request) {
  return nn::Access::plainGradientState(request);
}

CNNLogSoftMax::CNNLogSoftMax(const Ref<MTL::Device>& device) : CNNKernel(device) {}
void CNNLogSoftMax::doEncode(nn::Call& call) { nn::encodeForward(call, true); }
Ref<State> CNNLogSoftMax::doResultState(const nn::StateRequest& request) {
  return nn::Access::plainGradientState(request);
}

CNNSoftMaxGradient::CNNSoftMaxGradient(const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}
void CNNSoftMaxGradient::doEncode(nn::Call& call) { nn::encodeGradient(call, false); }
void CNNSoftMaxGradient::doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(record, sourceImages);
  sources_[1] = sources_[0];  // the forward result lies as the gradient does
}

CNNLogSoftMaxGradient::CNNLogSoftMaxGradient(const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}
void CNNLogSoftMaxGradient::doEncode(nn::Call& call) { nn::encodeGradient(call, true); }
void CNNLogSoftMaxGradient::doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(record, sourceImages);
  sources_[1] = sources_[0];  // the forward result lies as the gradient does
}

}  // namespace kovar::MPS
