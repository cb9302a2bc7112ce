#include "graph/graph_plan.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/edge.hpp"
#include "nn/archive/values.hpp"

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

namespace {

/// The filters that `results` depend on, each after those it reads.
std::vector<MPS::NNFilterNode*> orderOf(const std::vector<Ref<MPS::NNImageNode>>& results) {
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

}  // namespace

/// Turns nodes into slots and steps.
struct GraphPlan::Builder {
  GraphPlan& plan;
  std::map<const MPS::NNImageNode*, std::size_t> images = {};
  std::map<const MPS::NNStateNode*, std::size_t> states = {};

  template <class S, class Node>
  static S described(const Node& node) {
    S slot;
    slot.handle = node.handle();
    slot.isExported = node.exportFromGraph();
    slot.isSynchronized = node.synchronizeResource();
    return slot;
  }
  std::size_t slotOf(const MPS::NNImageNode& node) {
    const auto [at, isNew] = images.try_emplace(&node, plan.images_.size());
    if (isNew) {
      auto slot = described<ImageSlot>(node);
      slot.format = node.format();
      slot.allocator = node.imageAllocator();
      slot.kept = slot.isExported;
      plan.images_.push_back(std::move(slot));
    }
    return at->second;
  }
  std::size_t slotOf(const MPS::NNStateNode& node) {
    const auto [at, isNew] = states.try_emplace(&node, plan.states_.size());
    if (isNew) {
      auto slot = described<StateSlot>(node);
      slot.produced = NodeAccess::producer(node) != nullptr;
      plan.states_.push_back(std::move(slot));
    }
    return at->second;
  }
  void addStep(MPS::NNFilterNode& node, GraphBuild& build);
  void findExports(const std::vector<Ref<MPS::NNImageNode>>& results);
};

void GraphPlan::Builder::addStep(MPS::NNFilterNode& node, GraphBuild& build) {
  Step step;
  for (const auto& source : NodeAccess::sources(node)) {
    const std::size_t slot = slotOf(*source);
    if (!NodeAccess::producer(*source) && plan.images_[slot].readers == 0) plan.sources_.push_back(slot);
    ++plan.images_[slot].readers;
    step.images.push_back(slot);
  }
  for (const auto& state : NodeAccess::sourceStates(node)) {
    if (!state) continue;
    const std::size_t slot = slotOf(*state);
    if (!plan.states_[slot].produced && plan.states_[slot].readers == 0) plan.sourceStates_.push_back(slot);
    ++plan.states_[slot].readers;
    step.states.push_back(slot);
  }
  step.layer = NodeAccess::makeLayer(node, build.device);
  step.layer->build(build);
  step.layer->setUp(node.paddingPolicy(), node.label());
  if (step.layer->needsLastingState())
    for (std::size_t s : step.states) plan.states_[s].lasting = true;
  step.result = slotOf(NodeAccess::result(node));
  if (const auto state = node.resultState()) step.resultState = slotOf(*state);
  plan.steps_.push_back(std::move(step));
}

void GraphPlan::Builder::findExports(const std::vector<Ref<MPS::NNImageNode>>& results) {
  for (std::size_t i = 0; i < plan.states_.size(); ++i)
    if (plan.states_[i].isExported) plan.exportedStates_.push_back(i);
  // Backwards from the first result: consumers before producers, operands in order; then the further results.
  std::vector<std::size_t>& exports = plan.exports_;
  std::set<const MPS::NNImageNode*> seen;
  std::vector<const MPS::NNImageNode*> stack{results[0].get()};
  while (!stack.empty()) {
    const MPS::NNImageNode* image = stack.back();
    stack.pop_back();
    if (!seen.insert(image).second) continue;
    if (image->exportFromGraph()) exports.push_back(slotOf(*image));
    const MPS::NNFilterNode* producer = NodeAccess::producer(*image);
    if (!producer) continue;
    const auto& sources = NodeAccess::sources(*producer);
    for (auto s = sources.rbegin(); s != sources.rend(); ++s) stack.push_back(s->get());
  }
  for (const std::size_t slot : std::span(plan.results_).subspan(1)) {
    if (plan.images_[slot].kept && std::find(exports.begin(), exports.end(), slot) == exports.end())
      exports.push_back(slot);
  }
}

GraphPlan::GraphPlan() : formats_(std::make_shared<FormatAllocator>()) {}

GraphPlan::GraphPlan(const Ref<MTL::Device>& device, const std::vector<Ref<MPS::NNImageNode>>& results,
                     const std::vector<bool>& needed)
    : GraphPlan() {
  for (const auto& r : results) {
    if (!r) base::raise("NNGraph: a result image node is null");
    if (!NodeAccess::producer(*r))
      base::raise("NNGraph: a result image node is the result of no filter; give a filter node's resultImage()");
  }
  GraphBuild build{device, {}};
  Builder builder{*this};
  for (MPS::NNFilterNode* node : orderOf(results)) builder.addStep(*node, build);
  resultNeeded = needed.empty() || needed[0];
  for (std::size_t i = 0; i < results.size(); ++i) {
    results_.push_back(builder.slotOf(*results[i]));
    if (i >= needed.size() || needed[i]) images_[results_[i]].kept = true;
  }
  builder.findExports(results);
  settle();
}

void GraphPlan::settle() {
  for (Step& step : steps_) {
    step.layer->setAllocator(formats_);
    step.layer->setResultWanted(runsForItsResults(step));
  }
}

std::unique_ptr<GraphPlan> GraphPlan::copyFor(const Ref<MTL::Device>& device) const {
  std::unique_ptr<GraphPlan> copied(new GraphPlan);
  copied->resultNeeded = resultNeeded;
  copied->outputStateIsTemporary = outputStateIsTemporary;
  copied->format = format;
  copied->destinationAllocator = destinationAllocator;
  copied->images_ = images_;
  copied->states_ = states_;
  copied->results_ = results_;
  copied->sources_ = sources_;
  copied->sourceStates_ = sourceStates_;
  copied->exports_ = exports_;
  copied->exportedStates_ = exportedStates_;
  copied->hasDataSources_ = hasDataSources_;
  GraphCopy copy{device, {}, {}};
  for (const Step& step : steps_) {
    Step s;
    s.layer = step.layer->copyFor(copy);
    s.images = step.images;
    s.states = step.states;
    s.result = step.result;
    s.resultState = step.resultState;
    copied->steps_.push_back(std::move(s));
  }
  copied->settle();
  return copied;
}

bool GraphPlan::runsForItsResults(const Step& step) const {
  const ImageSlot& result = images_[step.result];
  if (result.kept || result.readers > 0) return true;
  if (step.resultState == kNone) return false;
  // A gradient may need the state alone; the image is then dead work that no plan keeps.
  const StateSlot& state = states_[step.resultState];
  return state.readers > 0 || state.isExported;
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
  return resultNeeded ? images[results_[0]] : MPS::ImageBatch{};
}

void GraphPlan::runSteps(const Run& run, std::vector<MPS::ImageBatch>& images, std::vector<MPS::StateBatch>& states) {
  const std::size_t first = results_[0];
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
      const bool exported = state.isExported;
      call.wantStates = state.readers > 0 || exported;
      call.statesAreTemporary = !state.lasting && (!exported || outputStateIsTemporary);
    }
    const bool isResult = step.result == first && resultNeeded;
    formats_->set(result.format != MPS::ImageFeatureChannelFormat::None ? result.format : format,
                  isResult ? destinationAllocator : result.allocator);
    images[step.result] = step.layer->encode(call);
    const std::size_t reads = result.readers + (result.kept ? 1 : 0) + (isResult && result.isExported ? 1 : 0);
    Access::addReads(images[step.result], static_cast<std::ptrdiff_t>(reads) - 1);
    if (result.isSynchronized) MPS::imageBatchSynchronize(images[step.result], run.commandBuffer);
    if (call.wantStates) {
      states[step.resultState] = call.resultStates;
      const StateSlot& state = states_[step.resultState];
      MPS::stateBatchIncrementReadCount(call.resultStates,
                                        static_cast<std::ptrdiff_t>(state.readers + (state.isExported ? 1 : 0)) - 1);
      if (state.isSynchronized) MPS::stateBatchSynchronize(call.resultStates, run.commandBuffer);
    }
  }
  // What nobody took (a layer without an update hook, say) is over with the graph.
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states_[i].isExported || !states_[i].produced) continue;
    forEachDistinct(MPS::BatchView<MPS::State>(states[i]), [](const Ref<MPS::State>& s, std::size_t) {
      if (s->readCount() > 0) s->setReadCount(0);
      return true;
    });
  }
}

void GraphPlan::reload() {
  requireDataSource(hasDataSources_, "NNGraph.reloadFromDataSources", nullptr);
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
  handles.reserve(which.size());
  for (std::size_t i : which) handles.push_back(handleOr(slots[i].handle, handles.size()));
  return handles;
}

}  // namespace

std::vector<Ref<MPS::Handle>> GraphPlan::sourceImageHandles() const { return handlesOf(images_, sources_); }
std::vector<Ref<MPS::Handle>> GraphPlan::sourceStateHandles() const { return handlesOf(states_, sourceStates_); }
std::vector<Ref<MPS::Handle>> GraphPlan::intermediateHandles() const { return handlesOf(images_, exports_); }
std::vector<Ref<MPS::Handle>> GraphPlan::resultStateHandles() const { return handlesOf(states_, exportedStates_); }

}  // namespace kovar::nn
