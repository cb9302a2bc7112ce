#include "graph/layer.hpp"

#include "base/edge.hpp"

namespace kovar::nn {

std::shared_ptr<WeightsCell> GraphBuild::cell(const Ref<MPS::CNNConvolutionDataSource>& source, const char* who,
                                              WeightsForm form) {
  std::shared_ptr<WeightsCell>& cell = weights[{source.get(), form}];
  if (!cell) cell = WeightsCell::load(device, source, who, form);
  return cell;
}

std::shared_ptr<WeightsCell> GraphCopy::cell(const WeightsCell& original, const char* who) {
  std::shared_ptr<WeightsCell>& copied = cells[&original];
  if (copied) return copied;
  Ref<MPS::CNNConvolutionDataSource> source;
  if (const Ref<MPS::CNNConvolutionDataSource>& given = original.source()) {
    Ref<MPS::CNNConvolutionDataSource>& known = sources[given.get()];
    if (!known) known = given->copy(device);
    if (!known) known = given;
    source = known;
  }
  copied = original.copyFor(device, source, who);
  return copied;
}

namespace {

template <class Layer, class K>
std::unique_ptr<GraphLayer> plainLayer(const LayerRecord& record, const char* kind) {
  const auto kernel = std::dynamic_pointer_cast<K>(record.kernel);
  if (record.kind != kind || !kernel) return nullptr;
  return std::make_unique<Layer>(kernel);
}

}  // namespace

std::unique_ptr<GraphLayer> layerOf(const LayerRecord& record) {
  if (auto layer = plainLayer<UnaryLayer, MPS::CNNKernel>(record, "unary")) return layer;
  if (auto layer = plainLayer<BinaryLayer, MPS::CNNBinaryKernel>(record, "binary")) return layer;
  if (auto layer = plainLayer<MultiaryLayer, MPS::CNNMultiaryKernel>(record, "multiary")) return layer;
  if (auto layer = plainLayer<GradientLayer, MPS::CNNGradientKernel>(record, "gradient")) return layer;
  for (const auto make : {reshapeLayer, batchNormalizationLayer, transposeLayer, labelledLossLayer, lossLayer})
    if (auto layer = make(record)) return layer;
  base::raise("Archive: NNGraph: no stage is a " + Access::described(*record.kernel) + " run as '" + record.kind + "'");
}

void refuseTraining(const MPS::Kernel& kernel) {
  base::raise("NNGraph.encodeWithCoder: the stage " + Access::described(kernel) +
              " trains weights, and the data source that updates them is not written; write the graph for inference, "
              "or the kernels one by one");
}
void refuseCallback(const MPS::Kernel& kernel) {
  base::raise("NNGraph.encodeWithCoder: the stage " + Access::described(kernel) +
              " has a callback, which is not written; make the graph without it");
}

void GraphLayer::setUp(const Ref<MPS::NNPadding>& padding, const std::string& label) {
  MPS::CNNKernelBase* k = kernel();
  if (!k) return;
  if (padding) k->setPadding(padding);
  if (!label.empty()) k->setLabel(label);
}

void GraphLayer::setAllocator(const Ref<MPS::ImageAllocator>& allocator) {
  if (MPS::CNNKernelBase* k = kernel()) k->setDestinationImageAllocator(allocator);
}

MPS::ImageBatch UnaryLayer::encode(LayerCall& call) {
  MPS::StateBatch* states = call.wantStates ? &call.resultStates : nullptr;
  if (call.batch)
    return states ? kernel_->encodeBatch(call.commandBuffer, call.sources[0], states, call.statesAreTemporary)
                  : kernel_->encodeBatch(call.commandBuffer, call.sources[0]);
  if (!states) return MPS::ImageBatch{kernel_->encode(call.commandBuffer, call.sources[0][0])};
  Ref<MPS::State> state;
  MPS::ImageBatch result{kernel_->encode(call.commandBuffer, call.sources[0][0], &state, call.statesAreTemporary)};
  if (state) *states = MPS::StateBatch{state};
  return result;
}

MPS::ImageBatch BinaryLayer::encode(LayerCall& call) {
  MPS::StateBatch* states = call.wantStates ? &call.resultStates : nullptr;
  if (call.batch)
    return states ? kernel_->encodeBatch(call.commandBuffer, call.sources[0], call.sources[1], states,
                                         call.statesAreTemporary)
                  : kernel_->encodeBatch(call.commandBuffer, call.sources[0], call.sources[1]);
  const Ref<MPS::Image>&a = call.sources[0][0], &b = call.sources[1][0];
  if (!states) return MPS::ImageBatch{kernel_->encode(call.commandBuffer, a, b)};
  Ref<MPS::State> state;
  MPS::ImageBatch result{kernel_->encode(call.commandBuffer, a, b, &state, call.statesAreTemporary)};
  if (state) *states = MPS::StateBatch{state};
  return result;
}

MPS::ImageBatch MultiaryLayer::encode(LayerCall& call) {
  MPS::StateBatch* states = call.wantStates ? &call.resultStates : nullptr;
  if (call.batch) return kernel_->encodeBatch(call.commandBuffer, call.sources, states, call.statesAreTemporary);
  std::vector<Ref<MPS::Image>> sources;
  for (const MPS::ImageBatch& b : call.sources) sources.push_back(b[0]);
  Ref<MPS::State> state;
  MPS::ImageBatch result{
      kernel_->encode(call.commandBuffer, sources, states ? &state : nullptr, call.statesAreTemporary)};
  if (state) *states = MPS::StateBatch{state};
  return result;
}

MPS::ImageBatch GradientLayer::encode(LayerCall& call) {
  const MPS::StateBatch states = call.states.empty() ? MPS::StateBatch{} : call.states[0];
  if (call.batch) return kernel_->encodeBatch(call.commandBuffer, call.sources[0], call.sources[1], states);
  return MPS::ImageBatch{kernel_->encode(call.commandBuffer, call.sources[0][0], call.sources[1][0],
                                         states.empty() ? nullptr : states[0])};
}

}  // namespace kovar::nn
