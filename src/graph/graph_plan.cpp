#include "graph/graph_plan.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/edge.hpp"

namespace kovar::nn {

/// Gives images the format that their node or the graph says.
class GraphPlan::FormatAllocator final : public MPS::ImageAllocator {
 public:
  void set(MPS::ImageFeatureChannelFormat format, Ref<MPS::ImageAllocator> inner) {
    format_ = format;
    inner_ = std::move(inner);
  }
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>& kernel) override {
    return inner_->image(commandBuffer, withFormat(descriptor), kernel);
  }
  MPS::ImageBatch imageBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                             const Ref<MPS::Kernel>& kernel, std::size_t count) override {
    return inner_->imageBatch(commandBuffer, withFormat(descriptor), kernel, count);
  }

 private:
  Ref<MPS::ImageDescriptor> withFormat(const Ref<MPS::ImageDescriptor>& descriptor) const {
    auto d = descriptor->copy();
    d->setChannelFormat(format_);
    return d;
  }
  MPS::ImageFeatureChannelFormat format_ = MPS::ImageFeatureChannelFormat::Float16;
  Ref<MPS::ImageAllocator> inner_;
};

std::size_t GraphPlan::slotOf(MPS::NNImageNode* node) {
  for (std::size_t i = 0; i < images_.size(); ++i)
    if (images_[i].node == node) return i;
  images_.push_back({node});
  return images_.size() - 1;
}

std::size_t GraphPlan::slotOf(MPS::NNStateNode* node) {
  for (std::size_t i = 0; i < states_.size(); ++i)
    if (states_[i].node == node) return i;
  states_.push_back({node});
  return states_.size() - 1;
}

std::vector<MPS::NNFilterNode*> GraphPlan::order(const std::vector<Ref<MPS::NNImageNode>>& results) const {
  std::vector<MPS::NNFilterNode*> order;
  std::set<MPS::NNFilterNode*> seen;
  struct Visit {
    MPS::NNFilterNode* node;
    std::size_t next;
  };
  for (const auto& result : results) {
    std::vector<Visit> stack;
    const auto enter = [&](MPS::NNFilterNode* n) {
      if (n && seen.insert(n).second) stack.push_back({n, 0});
    };
    enter(NodeAccess::producer(*result));
    while (!stack.empty()) {
      Visit& v = stack.back();
      const auto& images = NodeAccess::sources(*v.node);
      const auto& states = NodeAccess::sourceStates(*v.node);
      const std::size_t i = v.next++;
      if (i < images.size())
        enter(NodeAccess::producer(*images[i]));
      else if (i < images.size() + states.size()) {
        if (states[i - images.size()]) enter(NodeAccess::producer(*states[i - images.size()]));
      } else {
        order.push_back(v.node);
        stack.pop_back();
      }
    }
  }
  return order;
}

GraphPlan::GraphPlan(const Ref<MTL::Device>& device, const std::vector<Ref<MPS::NNImageNode>>& results,
                     const std::vector<bool>& needed)
    : results_(results), formats_(std::make_shared<FormatAllocator>()) {
  for (const auto& r : results) {
    if (!r) base::raise("NNGraph: a result image node is null");
    if (!NodeAccess::producer(*r))
      base::raise("NNGraph: a result image node is the result of no filter; give a filter node's resultImage()");
  }
  GraphBuild build{device, {}};
  for (MPS::NNFilterNode* node : order(results)) {
    Step step;
    step.node = node;
    for (const auto& source : NodeAccess::sources(*node)) {
      const std::size_t slot = slotOf(source.get());
      if (!NodeAccess::producer(*source) && images_[slot].readers == 0) sources_.push_back(slot);
      ++images_[slot].readers;
      step.images.push_back(slot);
    }
    for (const auto& state : NodeAccess::sourceStates(*node)) {
      if (!state) continue;
      const std::size_t slot = slotOf(state.get());
      if (!NodeAccess::producer(*state) && states_[slot].readers == 0) sourceStates_.push_back(slot);
      ++states_[slot].readers;
      step.states.push_back(slot);
    }
    step.layer = NodeAccess::makeLayer(*node, device);
    step.layer->build(build);
    step.layer->setUp(node->paddingPolicy(), node->label());
    step.layer->setAllocator(formats_);
    if (step.layer->needsLastingState())
      for (std::size_t s : step.states) states_[s].lasting = true;
    step.result = slotOf(&NodeAccess::result(*node));
    if (const auto state = node->resultState()) step.resultState = slotOf(state.get());
    steps_.push_back(std::move(step));
  }
  resultNeeded = needed.empty() || needed[0];
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool wanted = i >= needed.size() || needed[i];
    ImageSlot& slot = images_[slotOf(results[i].get())];
    slot.kept = slot.kept || wanted;
  }
  findExports();
  for (Step& step : steps_) {
    step.layer->setResultWanted(runsForItsResults(step));
  }
}

bool GraphPlan::runsForItsResults(const Step& step) const {
  const ImageSlot& result = images_[step.result];
  if (result.kept || result.readers > 0) return true;
  if (step.resultState == kNone) return false;
  // A gradient may need the state alone; the image is then dead work that no plan keeps.
  const StateSlot& state = states_[step.resultState];
  return state.readers > 0 || state.node->exportFromGraph();
}

void GraphPlan::findExports() {
  for (ImageSlot& slot : images_)
    if (slot.node->exportFromGraph()) slot.kept = true;
  for (std::size_t i = 0; i < states_.size(); ++i)
    if (states_[i].node->exportFromGraph()) exportedStates_.push_back(i);
  // Backwards from the first result: consumers before producers, operands in order; then the further results.
  std::set<MPS::NNImageNode*> seen;
  std::vector<MPS::NNImageNode*> stack{results_[0].get()};
  while (!stack.empty()) {
    MPS::NNImageNode* image = stack.back();
    stack.pop_back();
    if (!seen.insert(image).second) continue;
    if (image->exportFromGraph()) exports_.push_back(slotOf(image));
    const MPS::NNFilterNode* producer = NodeAccess::producer(*image);
    if (!producer) continue;
    const auto& sources = NodeAccess::sources(*producer);
    for (auto s = sources.rbegin(); s != sources.rend(); ++s) stack.push_back(s->get());
  }
  for (std::size_t i = 1; i < results_.size(); ++i) {
    const std::size_t slot = slotOf(results_[i].get());
    if (images_[slot].kept && std::find(exports_.begin(), exports_.end(), slot) == exports_.end())
      exports_.push_back(slot);
  }
}

void GraphPlan::check(const Run& run, const std::string& who) const {
  if (!run.commandBuffer) base::raise(who + ": commandBuffer is null");
  if (run.sourceImages.size() != sources_.size())
    base::raise(who + ": " + std::to_string(run.sourceImages.size()) + " source images given, the graph reads " +
                std::to_string(sources_.size()) + "; give them in the order of sourceImageHandles()");
  if (run.sourceStates.size() != sourceStates_.size())
    base::raise(who + ": " + std::to_string(run.sourceStates.size()) + " source states given, the graph reads " +
                std::to_string(sourceStates_.size()) + "; give them in the order of sourceStateHandles()");
  const std::size_t count = run.sourceImages.empty() ? 0 : run.sourceImages[0].size();
  for (const auto& batch : run.sourceImages) {
    if (batch.size() != count || count == 0)
      base::raise(who + ": source batches of " + std::to_string(count) + " and " + std::to_string(batch.size()) +
                  " images; all must have the same number, at least 1");
    for (const auto& image : Images(batch).looks())
      if (!image) base::raise(who + ": a source image is null");
  }
  for (const auto& batch : run.sourceStates)
    if (batch.size() != count)
      base::raise(who + ": " + std::to_string(batch.size()) + " source states for " + std::to_string(count) +
                  " images; give one per image");
}

MPS::ImageBatch GraphPlan::encode(const Run& run, const std::string& who) {
  check(run, who);
  std::vector<MPS::ImageBatch> images(images_.size());
  std::vector<MPS::StateBatch> states(states_.size());
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    images[sources_[i]] = run.sourceImages[i];
    // However many layers read it, one encode uses up one read.
    if (images_[sources_[i]].readers > 1)
      Access::addReads(run.sourceImages[i], static_cast<std::ptrdiff_t>(images_[sources_[i]].readers) - 1);
  }
  for (std::size_t i = 0; i < sourceStates_.size(); ++i) states[sourceStates_[i]] = run.sourceStates[i];
  try {
    runSteps(run, images, states);
  } catch (const std::exception& e) {
    // Part of the graph is encoded and read counts are spent: the command buffer cannot be used any more.
    rt::Access::state(run.commandBuffer)->fail(who + ": " + e.what());
    throw;
  }
  for (std::size_t slot : exports_)
    if (run.intermediateImages) run.intermediateImages->push_back(images[slot]);
  for (std::size_t slot : exportedStates_)
    if (run.destinationStates) run.destinationStates->push_back(states[slot]);
  return resultNeeded ? images[slotOf(results_[0].get())] : MPS::ImageBatch{};
}

void GraphPlan::runSteps(const Run& run, std::vector<MPS::ImageBatch>& images, std::vector<MPS::StateBatch>& states) {
  const std::size_t first = slotOf(results_[0].get());
  for (Step& step : steps_) {
    const ImageSlot& result = images_[step.result];
    if (!runsForItsResults(step) && !step.layer->hasOtherEffects()) continue;
    LayerCall call;
    call.commandBuffer = run.commandBuffer;
    call.batch = run.batch;
    for (std::size_t s : step.images) call.sources.push_back(images[s]);
    for (std::size_t s : step.states) call.states.push_back(states[s]);
    if (step.resultState != kNone) {
      const StateSlot& state = states_[step.resultState];
      const bool exported = state.node->exportFromGraph();
      call.wantStates = state.readers > 0 || exported;
      call.statesAreTemporary = !state.lasting && (!exported || outputStateIsTemporary);
    }
    const auto own = result.node->format();
    const bool isResult = step.result == first && resultNeeded;
    formats_->set(own != MPS::ImageFeatureChannelFormat::None ? own : format,
                  isResult ? destinationAllocator : result.node->imageAllocator());
    images[step.result] = step.layer->encode(call);
    const std::size_t reads =
        result.readers + (result.kept ? 1 : 0) + (isResult && result.node->exportFromGraph() ? 1 : 0);
    Access::addReads(images[step.result], static_cast<std::ptrdiff_t>(reads) - 1);
    if (result.node->synchronizeResource()) MPS::imageBatchSynchronize(images[step.result], run.commandBuffer);
    if (call.wantStates) {
      states[step.resultState] = call.resultStates;
      const StateSlot& state = states_[step.resultState];
      MPS::stateBatchIncrementReadCount(
          call.resultStates, static_cast<std::ptrdiff_t>(state.readers + (state.node->exportFromGraph() ? 1 : 0)) - 1);
      if (state.node->synchronizeResource()) MPS::stateBatchSynchronize(call.resultStates, run.commandBuffer);
    }
  }
  // What nobody took (a layer without an update hook, say) is over with the graph.
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states_[i].node->exportFromGraph() || !NodeAccess::producer(*states_[i].node)) continue;
    forEachDistinct(MPS::BatchView<MPS::State>(states[i]), [](const Ref<MPS::State>& s, std::size_t) {
      if (s->readCount() > 0) s->setReadCount(0);
      return true;
    });
  }
}

void GraphPlan::reload() {
  for (Step& step : steps_) step.layer->reload();
}

std::vector<MPS::CNNKernelBase*> GraphPlan::kernels() const {
  std::vector<MPS::CNNKernelBase*> kernels;
  for (const Step& step : steps_)
    if (MPS::CNNKernelBase* kernel = step.layer->kernel()) kernels.push_back(kernel);
  return kernels;
}

namespace {

/// A handle for a node that has none: a list of handles has no holes.
Ref<MPS::Handle> handleOr(const Ref<MPS::Handle>& handle, std::size_t index) {
  return handle ? handle : std::make_shared<MPS::NamedHandle>("MPS_unnamed_" + std::to_string(index));
}

template <class Slots>
std::vector<Ref<MPS::Handle>> handlesOf(const Slots& slots, const std::vector<std::size_t>& which) {
  std::vector<Ref<MPS::Handle>> handles;
  for (std::size_t i : which) handles.push_back(handleOr(slots[i].node->handle(), handles.size()));
  return handles;
}

}  // namespace

std::vector<Ref<MPS::Handle>> GraphPlan::sourceImageHandles() const { return handlesOf(images_, sources_); }
std::vector<Ref<MPS::Handle>> GraphPlan::sourceStateHandles() const { return handlesOf(states_, sourceStates_); }
std::vector<Ref<MPS::Handle>> GraphPlan::intermediateHandles() const { return handlesOf(images_, exports_); }
std::vector<Ref<MPS::Handle>> GraphPlan::resultStateHandles() const { return handlesOf(states_, exportedStates_); }

}  // namespace kovar::nn
