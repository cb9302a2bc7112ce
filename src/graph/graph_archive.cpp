// A graph as bytes: its stages, and how they are wired.

#include <utility>

#include "base/edge.hpp"
#include "graph/graph_plan.hpp"
#include "kovar/MPS/Core/Archive.hpp"
#include "nn/archive/values.hpp"
#include "nn/norm_values.hpp"

namespace kovar::nn {
namespace {

void codeNumbers(MPS::Archive& coder, const char* name, std::vector<std::size_t>& values) {
  std::vector<std::uint32_t> all(values.begin(), values.end());
  coder.code(name, all);
  values.assign(all.begin(), all.end());
}

/// A handle is written as its label.
void codeHandle(MPS::Archive& coder, Ref<MPS::Handle>& handle) {
  bool there = handle != nullptr;
  std::string label = there ? handle->label() : std::string();
  coder.code("hasHandle", there);
  coder.code("handle", label);
  if (coder.isReading()) handle = there ? std::make_shared<MPS::NamedHandle>(label) : nullptr;
}

/// The number of elements of a list, for the reader to make; each takes more than a byte.
template <class T>
void codeSize(MPS::Archive& coder, const char* name, std::vector<T>& list) {
  std::size_t size = list.size();
  coder.code(name, size);
  if (!coder.isReading()) return;
  coder.require(size <= coder.remaining() / 8, name, "is more than the archive can hold");
  list.resize(size);
}

}  // namespace

void GraphPlan::write(MPS::Archive& coder, const std::string& who) {
  // Kernels have the graph's own allocator, which is not written.
  for (Step& step : steps_) step.layer->setAllocator(MPS::TemporaryImage::defaultAllocator());
  try {
    code(coder, nullptr, who);
  } catch (...) {
    settle();
    throw;
  }
  settle();
}

GraphPlan::GraphPlan(MPS::Archive& coder, const Ref<MTL::Device>& device) : GraphPlan() {
  hasDataSources_ = false;
  code(coder, device, "NNGraph");
  checkWiring(coder);
  settle();
}

void GraphPlan::checkWiring(const MPS::Archive& coder) const {
  const auto require = [&](bool holds, const char* what) { coder.require(holds, "steps", what); };
  enum Origin : char { None, Given, Made };
  std::vector<Origin> images(images_.size(), None), states(states_.size(), None);
  std::vector<std::size_t> imageReaders(images_.size()), stateReaders(states_.size());
  for (const std::size_t i : sources_) images[i] = Given;
  for (const std::size_t i : sourceStates_) states[i] = Given;
  for (const Step& step : steps_) {
    require(step.layer->takes(step.images.size(), step.states.size()), "give a stage too few images or states");
    for (const std::size_t i : step.images) {
      require(images[i] != None, "read an image before it is made");
      ++imageReaders[i];
    }
    for (const std::size_t i : step.states) {
      require(states[i] != None, "read a state before it is made");
      ++stateReaders[i];
    }
    require(images[step.result] == None, "make an image twice");
    images[step.result] = Made;
    if (step.resultState == kNone) continue;
    require(states[step.resultState] == None && states_[step.resultState].produced, "make a state twice");
    states[step.resultState] = Made;
  }
  for (std::size_t i = 0; i < images.size(); ++i)
    require(images[i] != None && images_[i].readers == imageReaders[i], "miscount the readers of an image");
  for (std::size_t i = 0; i < states.size(); ++i)
    require(states[i] != None && states_[i].readers == stateReaders[i], "miscount the readers of a state");
  for (const std::size_t i : results_) require(images[i] == Made, "do not make a result");
}

void GraphPlan::code(MPS::Archive& coder, const Ref<MTL::Device>& device, const std::string& who) {
  using Format = MPS::ImageFeatureChannelFormat;
  coder.code("resultImageIsNeeded", resultNeeded);
  coder.code("outputStateIsTemporary", outputStateIsTemporary);
  coder.code("format", format, Format::Float32);
  nn::code(coder, destinationAllocator, who);
  const auto codeSlot = [&](Slot& s) {
    codeHandle(coder, s.handle);
    coder.code("readers", s.readers);
    coder.code("isExported", s.isExported);
    coder.code("isSynchronized", s.isSynchronized);
  };
  codeSize(coder, "images", images_);
  for (ImageSlot& s : images_) {
    codeSlot(s);
    coder.code("format", s.format, Format::Float32);
    nn::code(coder, s.allocator, who);
    coder.code("kept", s.kept);
  }
  codeSize(coder, "states", states_);
  for (StateSlot& s : states_) {
    codeSlot(s);
    coder.code("produced", s.produced);
    coder.code("lasting", s.lasting);
  }
  const auto codeIndices = [&](const char* name, std::vector<std::size_t>& indices, std::size_t count) {
    codeNumbers(coder, name, indices);
    for (const std::size_t i : indices) coder.require(i < count, name, "names an image or state that the graph lacks");
  };
  codeIndices("results", results_, images_.size());
  coder.require(!results_.empty(), "results", "must be one at least");
  codeIndices("sources", sources_, images_.size());
  codeIndices("sourceStates", sourceStates_, states_.size());
  codeIndices("exports", exports_, images_.size());
  codeIndices("exportedStates", exportedStates_, states_.size());
  codeSize(coder, "steps", steps_);
  for (Step& step : steps_) {
    LayerRecord record;
    if (!coder.isReading()) record = step.layer->record();
    coder.code("kind", record.kind);
    codeNumbers(coder, "numbers", record.numbers);
    if (coder.isReading())
      record.kernel = coder.decodeKernel(device);
    else
      record.kernel->encodeWithCoder(coder);
    codeIndices("images", step.images, images_.size());
    codeIndices("states", step.states, states_.size());
    std::vector<std::size_t> result{step.result}, state;
    if (step.resultState != kNone) state.push_back(step.resultState);
    codeIndices("result", result, images_.size());
    codeIndices("resultState", state, states_.size());
    coder.require(result.size() == 1 && state.size() <= 1, "result", "must be one image");
    if (!coder.isReading()) continue;
    step.result = result[0];
    step.resultState = state.empty() ? kNone : state[0];
    step.layer = layerOf(record);
  }
}

}  // namespace kovar::nn
