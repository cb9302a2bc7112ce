#include "nn/core/pointwise.hpp"

#include <cstring>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

void append(Recorder& list, std::vector<Tensor> sources, const Tensor& destination, const BuildSteps& steps) {
  prim::Prim prim(std::in_place_type<prim::Elementwise>);
  auto& ew = std::get<prim::Elementwise>(prim);
  std::vector<rt::Operand> operands;
  operands.reserve(sources.size() + 1);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    prim::EwStep load;
    load.op = prim::EwOp::Load;
    load.dst = load.arg = static_cast<std::uint8_t>(i);
    ew.program.push(load);
    operands.push_back(std::move(sources[i]).read());
  }
  steps(ew.program);
  prim::EwStep store;
  store.op = prim::EwOp::Store;
  store.arg = static_cast<std::uint8_t>(sources.size());
  ew.program.push(store);
  operands.push_back(destination.write());
  list.op(prim, operands);
}

}  // namespace

void encodePointwise(Call& call, const std::vector<Tensor>& extra, const BuildSteps& steps) {
  std::vector<Tensor> sources;
  sources.reserve(call.sources.size() + extra.size());
  for (std::size_t i = 0; i < call.sources.size(); ++i) sources.push_back(call.aligned(i));
  sources.insert(sources.end(), extra.begin(), extra.end());
  append(call.list, std::move(sources), call.destination, steps);
}

void encodeThroughForward(Call& call, const std::function<void(const Tensor&, const Tensor&, bool)>& body) {
  const auto* state = call.states.empty() ? nullptr : dynamic_cast<const MPS::NNGradientState*>(call.states[0].get());
  const ForwardRecord* r = state ? Access::record(*state).get() : nullptr;
  const Tensor& g = call.sources[0];  // cut to the region that the forward kernel wrote
  const bool translated =
      r && call.automatic &&
      (r->offset.x != 0 || r->offset.y != 0 || g.h() != call.destination.h() || g.w() != call.destination.w());
  if (!translated) {
    body(call.aligned(0), call.destination, false);
    return;
  }
  const Tensor t = call.list.temporaryImage(prim::DType::F32, g.n(), g.h(), g.w(), g.c());
  body(g, t, true);
  prim::Copy back;
  back.direction = prim::Direction::Data;
  back.shift = {0, static_cast<std::int32_t>(r->offset.y), static_cast<std::int32_t>(r->offset.x), 0};
  back.edge = static_cast<prim::Edge>(r->edgeMode);
  call.list.op(back, {t.read(), call.destination.write()});
}

void encodePointwiseGradient(Call& call, const std::vector<Tensor>& extra, const BuildSteps& steps) {
  encodeThroughForward(call, [&](const Tensor& g, const Tensor& destination, bool translated) {
    std::vector<Tensor> sources{g};
    if (translated) {
      const auto& r = *Access::record(dynamic_cast<const MPS::NNGradientState&>(*call.states[0]));
      sources.push_back(call.window(1, r.offset.y, r.offset.x, g.h(), g.w()));
    } else {
      sources.push_back(call.aligned(1));
    }
    for (Tensor e : extra) {
      e.view.dims = destination.view.dims;
      sources.push_back(std::move(e));
    }
    append(call.list, std::move(sources), destination, steps);
  });
}

Tensor channelVector(const rt::StorageRef& storage, std::int64_t n, std::int64_t h, std::int64_t w,
                     std::int64_t channels) {
  prim::View v;
  v.dtype = prim::DType::F32;
  v.rank = 4;
  v.dims = {n, h, w, channels};
  v.strides = {0, 0, 0, 1};
  return {storage, v};
}

rt::StorageRef uploadFloats(const Ref<MTL::Device>& device, const float* values, std::size_t count) {
  auto storage = std::make_shared<rt::Storage>(rt::Access::state(device), count * sizeof(float));
  base::unwrap(storage->write(0, values, count * sizeof(float)));
  return storage;
}

struct KeptFloats {
  Ref<MTL::Device> device;
  std::vector<float> values;
  rt::StorageRef storage;
};

rt::StorageRef uploadedOnce(std::shared_ptr<const KeptFloats>& kept, const Ref<MTL::Device>& device,
                            const std::vector<float>& values) {
  const bool same = kept && kept->device == device && kept->values.size() == values.size() &&
                    std::memcmp(kept->values.data(), values.data(), values.size() * sizeof(float)) == 0;
  if (!same)
    kept = std::make_shared<const KeptFloats>(
        KeptFloats{device, values, uploadFloats(device, values.data(), values.size())});
  return kept->storage;
}

}  // namespace kovar::nn
