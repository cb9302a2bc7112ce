#include "kovar/digits/trainer.hpp"

#include <algorithm>
#include <utility>

#include "graph/graph_access.hpp"
#include "kovar/Support/LossLabels.hpp"
#include "nn/core/access.hpp"
#include "runtime/access.hpp"
#include "runtime/execute.hpp"

namespace kovar::tools {
namespace {

constexpr auto kPixelOrder = MPS::DataLayout::HeightxWidthxFeatureChannels;

/// The masks of a continued run go on where those of the earlier one ended.
void continueDropout(MPS::NNGraph& graph, std::uint64_t stepsDone) {
  for (MPS::CNNKernelBase* kernel : nn::GraphAccess::kernels(graph))
    if (auto* dropout = dynamic_cast<MPS::CNNDropout*>(kernel)) nn::Access::setSequence(*dropout, stepsDone);
}

StepMemory memoryOf(const Ref<MTL::CommandBuffer>& commands) {
  const auto state = rt::Access::state(commands);
  const auto plan = rt::findOrPlan(*state->device(), state->list());
  if (!plan.ok()) return {};  // the run says what is wrong
  return {(*plan)->stats.arenaBytes, (*plan)->stats.temporaryBytes};
}

}  // namespace

Trainer::Slot::Slot(const Ref<MTL::Device>& device, std::size_t batch)
    : pictures(device, batch),
      labelValues(std::make_shared<MPS::Image>(
          device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 1, 1, kDigits, batch,
                                                        MTL::TextureUsage::ShaderRead))),
      labels(lossLabels(labelValues)),
      truth(batch) {}

Trainer::Trainer(const Ref<MTL::CommandQueue>& queue, const DigitNetwork& network,
                 const base::io::LabelledImages& pictures, const TrainerOptions& options,
                 std::function<void(const StepResult&)> over)
    : queue_(queue),
      network_(network),
      set_(pictures),
      options_(options),
      over_(std::move(over)),
      order_(options.order, static_cast<std::uint64_t>(pictures.count), options.seed),
      graph_(makeTrainingGraph(queue->device(), network, options.batch, options.dropoutKeep, options.seed)),
      slots_{Slot(queue->device(), options.batch), Slot(queue->device(), options.batch)},
      encoded_(options.stepsDone) {
  continueDropout(*graph_, options.stepsDone);
  for (const auto& layer : network.layers) layer->setTimeStep(options.stepsDone);
}

Trainer::~Trainer() {
  for (const Slot& slot : slots_)
    if (slot.running) slot.running->waitUntilCompleted();
}

void Trainer::write(Slot& slot) {
  std::vector<std::uint64_t> which(options_.batch);
  std::vector<float> oneHot(options_.batch * kDigits);
  for (std::size_t i = 0; i < which.size(); ++i) {
    which[i] = order_.at(encoded_ * options_.batch + i);
    slot.truth[i] = set_.labels[which[i]];
    oneHot[i * kDigits + slot.truth[i]] = 1.f;
  }
  slot.pictures.write(set_, which);
  slot.labelValues->writeBytes(oneHot.data(), kPixelOrder, kDigits * sizeof(float), {{0, 0, 0}, {1, 1, which.size()}},
                               {0, kDigits}, 0);
}

void Trainer::step(bool keep) {
  Slot& slot = slots_[encoded_ % slots_.size()];
  complete(slot);
  write(slot);
  for (const auto& layer : network_.layers) layer->setKeep(keep);
  slot.running = queue_->commandBuffer();
  std::vector<MPS::ImageBatch> exported;
  graph_->encodeBatch(slot.running, {slot.pictures.images()}, {slot.labels}, &exported, nullptr);
  slot.logits = exported.at(0);
  if (memory_.arena == 0) memory_ = memoryOf(slot.running);
  slot.running->commit();
  slot.step = ++encoded_;
}

void Trainer::complete(Slot& slot) {
  if (!slot.running) return;
  slot.running->waitUntilCompleted();
  const auto error = slot.running->error();
  slot.running = nullptr;
  if (error) throw *error;
  StepResult result;
  result.step = slot.step;
  std::vector<float> shares(slot.truth.size());
  slot.labels[0]->lossImage()->parent()->readBytes(shares.data(), kPixelOrder, sizeof(float),
                                                   {{0, 0, 0}, {1, 1, shares.size()}}, {0, 1}, 0);
  std::vector<float> logits(slot.truth.size() * kDigits);
  MPS::BatchView<MPS::Image>(slot.logits)
      .front()
      ->parent()
      ->readBytes(logits.data(), kPixelOrder, kDigits * sizeof(float), {{0, 0, 0}, {1, 1, slot.truth.size()}},
                  {0, kDigits}, 0);
  for (std::size_t i = 0; i < slot.truth.size(); ++i) {
    result.loss += shares[i];
    const float* mine = logits.data() + i * kDigits;
    if (std::max_element(mine, mine + kDigits) - mine == slot.truth[i]) ++result.correct;
  }
  slot.logits.clear();
  over_(result);
}

void Trainer::finish() {
  // The slot that is written next holds the older step.
  complete(slots_[encoded_ % slots_.size()]);
  complete(slots_[(encoded_ + 1) % slots_.size()]);
}

}  // namespace kovar::tools
