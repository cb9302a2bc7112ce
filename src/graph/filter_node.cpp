#include "kovar/MPS/NN/NNFilterNode.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/NNArithmeticNode.hpp"

namespace kovar::MPS {

using nn::NodeAccess;

Ref<NNImageNode> NNImageNode::createExported(const Ref<Handle>& handle) {
  auto node = create(handle);
  node->setExportFromGraph(true);
  return node;
}

NNFilterNode::NNFilterNode(std::vector<Ref<NNImageNode>> sources, std::vector<Ref<NNStateNode>> sourceStates)
    : sources_(std::move(sources)), sourceStates_(std::move(sourceStates)) {
  for (const auto& s : sources_)
    if (!s) base::raise("NNFilterNode: a source image node is null");
  result_.producer_ = this;
  if (!sources_.empty()) result_.format_ = sources_[0]->format();
}

NNFilterNode::~NNFilterNode() = default;

// The result is a node of its own, which the application sets up; it keeps the filter alive.
Ref<NNImageNode> NNFilterNode::resultImage() const {
  return Ref<NNImageNode>(shared_from_this(), &const_cast<NNFilterNode*>(this)->result_);
}

Ref<NNStateNode> NNFilterNode::resultState() const {
  return resultStates_.empty() ? nullptr : Ref<NNStateNode>(shared_from_this(), resultStates_[0].get());
}

std::vector<Ref<NNStateNode>> NNFilterNode::resultStates() const {
  std::vector<Ref<NNStateNode>> all;
  for (const auto& s : resultStates_) all.emplace_back(shared_from_this(), s.get());
  return all;
}

void NNFilterNode::addResultState(std::unique_ptr<NNStateNode> state) {
  state->producer_ = this;
  resultStates_.push_back(std::move(state));
}

std::string NNFilterNode::described() const {
  return label_.empty() ? className() : std::string(className()) + " \"" + label_ + "\"";
}

std::vector<Ref<NNGradientFilterNode>> NNFilterNode::doGradientFilters(const Ref<NNImageNode>&) { return {}; }

std::vector<Ref<NNGradientFilterNode>> NNFilterNode::gradientFilters(const std::vector<Ref<NNImageNode>>& sources) {
  if (sources.empty() || !sources[0]) base::raise(described() + ".gradientFilters: the gradient image node is null");
  auto made = doGradientFilters(sources[0]);
  if (made.empty())
    base::raise(described() + ".gradientFilters: this class has no gradient; stop before it with stopGradient");
  return made;
}

std::vector<Ref<NNGradientFilterNode>> NNFilterNode::gradientFilters(const Ref<NNImageNode>& source) {
  return gradientFilters(std::vector<Ref<NNImageNode>>{source});
}

Ref<NNGradientFilterNode> NNFilterNode::gradientFilter(const std::vector<Ref<NNImageNode>>& sources) {
  return gradientFilters(sources)[0];
}
Ref<NNGradientFilterNode> NNFilterNode::gradientFilter(const Ref<NNImageNode>& source) {
  return gradientFilters(source)[0];
}

namespace {

/// Forward filters reachable backwards over image links, producers before consumers.
std::vector<NNFilterNode*> forwardOrder(NNFilterNode* last) {
  std::vector<NNFilterNode*> order;
  std::set<NNFilterNode*> seen;
  // An explicit stack: graphs may be thousands of nodes deep.
  std::vector<std::pair<NNFilterNode*, std::size_t>> stack{{last, 0}};
  seen.insert(last);
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    const auto& sources = NodeAccess::sources(*node);
    if (next == sources.size()) {
      order.push_back(node);
      stack.pop_back();
      continue;
    }
    NNFilterNode* producer = NodeAccess::producer(*sources[next++]);
    if (producer && seen.insert(producer).second) stack.emplace_back(producer, 0);
  }
  return order;
}

/// Gradients that have arrived for each image node.
class Contributions {
 public:
  void add(NNImageNode* image, const Ref<NNImageNode>& gradient) { of(image).push_back(gradient); }
  std::vector<Ref<NNImageNode>>& of(NNImageNode* image) {
    for (auto& [node, list] : entries_)
      if (node == image) return list;
    entries_.emplace_back(image, std::vector<Ref<NNImageNode>>{});
    return entries_.back().second;
  }

 private:
  std::vector<std::pair<NNImageNode*, std::vector<Ref<NNImageNode>>>> entries_;
};

class Mirror {
 public:
  explicit Mirror(GradientNodeBlock handler) : handler_(std::move(handler)) {}

  std::vector<Ref<NNFilterNode>> run(NNFilterNode* last, const Ref<NNImageNode>& seed) {
    const std::vector<NNFilterNode*> order = forwardOrder(last);
    if (NodeAccess::isItsOwnGradient(*last))
      arrived_.add(NodeAccess::sources(*last)[0].get(), seed);
    else
      arrived_.add(&NodeAccess::result(*last), seed);
    for (auto filter = order.rbegin(); filter != order.rend(); ++filter)
      if (!(*filter == last && NodeAccess::isItsOwnGradient(*last))) mirror(**filter);
    // Several readers of a graph's source: their gradients are summed too.
    std::set<NNImageNode*> done;
    for (NNFilterNode* filter : order)
      for (const auto& source : NodeAccess::sources(*filter))
        if (!NodeAccess::producer(*source) && done.insert(source.get()).second) sum(source);
    return terminals();
  }

 private:
  /// The one gradient of an image: additions are made where several readers sent one.
  Ref<NNImageNode> sum(const Ref<NNImageNode>& image) {
    std::vector<Ref<NNImageNode>>& parts = arrived_.of(image.get());
    while (parts.size() > 1) {
      auto addition = NNAdditionNode::create(parts[0], parts[1]);
      read(parts[0]);
      read(parts[1]);
      made_.push_back(addition);
      if (handler_) handler_(addition, nullptr, image, parts[0]);
      parts.erase(parts.begin());
      parts[0] = addition->resultImage();
    }
    return parts.empty() ? nullptr : parts[0];
  }

  void mirror(NNFilterNode& filter) {
    const Ref<NNImageNode> result = filter.resultImage();
    const Ref<NNImageNode> gradient = sum(result);
    if (!gradient || result->stopGradient()) return;
    const auto nodes = NodeAccess::gradientFilters(filter, gradient);
    const auto& sources = NodeAccess::sources(filter);
    for (std::size_t i = 0; i < nodes.size() && i < sources.size(); ++i) {
      made_.push_back(nodes[i]);
      read(gradient);
      const Ref<NNImageNode> out = nodes[i]->resultImage();
      if (handler_)
        handler_(nodes[i], std::static_pointer_cast<NNFilterNode>(filter.shared_from_this()), sources[i], gradient);
      else
        out->setHandle(sources[i]->handle());
      if (!out->stopGradient() && !sources[i]->stopGradient()) arrived_.add(sources[i].get(), out);
    }
  }

  void read(const Ref<NNImageNode>& image) { read_.insert(image.get()); }

  std::vector<Ref<NNFilterNode>> terminals() {
    std::vector<Ref<NNFilterNode>> ends;
    for (const auto& node : made_)
      if (!read_.count(node->resultImage().get())) ends.push_back(node);
    return ends;
  }

  GradientNodeBlock handler_;
  Contributions arrived_;
  std::vector<Ref<NNFilterNode>> made_;
  std::set<NNImageNode*> read_;
};

}  // namespace

std::vector<Ref<NNFilterNode>> NNFilterNode::trainingGraph(const Ref<NNImageNode>& sourceGradient,
                                                           GradientNodeBlock nodeHandler) {
  return Mirror(std::move(nodeHandler)).run(this, sourceGradient ? sourceGradient : resultImage());
}

}  // namespace kovar::MPS
