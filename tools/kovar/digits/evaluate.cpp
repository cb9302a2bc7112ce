#include "kovar/digits/evaluate.hpp"

#include <algorithm>
#include <numeric>

namespace kovar::tools {
namespace {

constexpr std::size_t kBatch = 100;

struct Running {
  Ref<MTL::CommandBuffer> commands;
  MPS::ImageBatch results;
  std::uint64_t first = 0;
};

void count(Running& running, const base::io::LabelledImages& set, Evaluation& into) {
  if (!running.commands) return;
  running.commands->waitUntilCompleted();
  if (const auto error = running.commands->error()) throw *error;
  for (std::size_t i = 0; i < running.results.size(); ++i) {
    std::array<float, kDigits> p;
    running.results[i]->readBytes(p.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    const auto said = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    const std::size_t truth = set.labels[running.first + i];
    ++into.confusion[truth][said];
    ++into.pictures;
    if (said == truth)
      ++into.correct;
    else
      into.mistakes.push_back({running.first + i, static_cast<int>(said), static_cast<int>(truth), p[said]});
  }
  running = {};
}

}  // namespace

Evaluator::Evaluator(const Ref<MTL::CommandQueue>& queue, const DigitNetwork& network)
    : queue_(queue),
      graph_(makeInferenceGraph(queue->device(), network)),
      batches_{PictureBatch(queue->device(), kBatch), PictureBatch(queue->device(), kBatch)} {}

Evaluation Evaluator::evaluate(const base::io::LabelledImages& set) {
  graph_->reloadFromDataSources();
  Evaluation evaluation;
  std::array<Running, 2> running;
  const auto total = static_cast<std::uint64_t>(set.count);
  std::size_t turn = 0;
  for (std::uint64_t first = 0; first < total; first += kBatch, turn ^= 1) {
    count(running[turn], set, evaluation);
    std::vector<std::uint64_t> which(std::min<std::uint64_t>(kBatch, total - first));
    std::iota(which.begin(), which.end(), first);
    batches_[turn].write(set, which);
    const MPS::ImageBatch& all = batches_[turn].images();
    const MPS::ImageBatch images(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(which.size()));
    running[turn].commands = queue_->commandBuffer();
    running[turn].results = graph_->encodeBatch(running[turn].commands, {images}, {});
    running[turn].first = first;
    running[turn].commands->commit();
  }
  count(running[turn], set, evaluation);
  count(running[turn ^ 1], set, evaluation);
  return evaluation;
}

}  // namespace kovar::tools
