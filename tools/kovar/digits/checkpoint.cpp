#include "kovar/digits/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include "base/edge.hpp"
#include "base/io/safetensors.hpp"

namespace kovar::tools {
namespace {

using base::io::Safetensors;
using base::io::TensorShape;

constexpr const char* kNetwork = "kovar digits 1";
constexpr std::pair<Init, std::string_view> kInits[] = {{Init::He, "he"}, {Init::Apple, "apple"}};
constexpr std::pair<SampleOrder::Kind, std::string_view> kOrders[] = {{SampleOrder::Kind::Shuffled, "shuffled"},
                                                                      {SampleOrder::Kind::Drawn, "drawn"}};

template <class Table, class Value>
std::string nameIn(const Table& table, Value value) {
  return std::string(std::ranges::find(table, value, &std::ranges::range_value_t<Table>::first)->second);
}

/// The shortest text that reads back as the same number.
std::string exactly(double value) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

struct Entry {
  std::string name;
  TensorShape shape;
  std::span<float> values;
};

/// Every tensor of the file, with where it lives.
std::vector<Entry> entriesOf(const DigitNetwork& network) {
  std::vector<Entry> entries;
  for (const auto& layer : network.layers) {
    const auto sizes = layer->weightShape();
    const TensorShape weights(sizes.begin(), sizes.end()), biases{weights[0]};
    const std::string weight = layer->name() + ".weight", bias = layer->name() + ".bias";
    entries.push_back({weight, weights, layer->weightValues()});
    entries.push_back({bias, biases, layer->biasValues()});
    entries.push_back({"adam.m." + weight, weights, layer->firstMoments(false)});
    entries.push_back({"adam.m." + bias, biases, layer->firstMoments(true)});
    entries.push_back({"adam.v." + weight, weights, layer->secondMoments(false)});
    entries.push_back({"adam.v." + bias, biases, layer->secondMoments(true)});
  }
  return entries;
}

class Metadata {
 public:
  explicit Metadata(const Safetensors& file) : file_(file) {}

  const std::string& text(const std::string& key) const {
    const auto at = file_.metadata().find(key);
    if (at == file_.metadata().end()) refuse("it has no metadata '" + key + "'");
    return at->second;
  }
  /// Between the two, both included.
  template <class T>
  T number(const std::string& key, T least, T most) const {
    const std::string& t = text(key);
    T value = 0;
    const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
    // Written so that NaN is refused too.
    if (error != std::errc() || end != t.data() + t.size() || !(value >= least && value <= most))
      refuse("its metadata '" + key + "' is '" + t + "'");
    return value;
  }
  template <class Table>
  auto oneOf(const Table& table, const std::string& key) const {
    const auto at = std::ranges::find(table, text(key), &std::ranges::range_value_t<Table>::second);
    if (at == std::ranges::end(table)) refuse("its metadata '" + key + "' is not known");
    return at->first;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    base::raise("'" + file_.name() + "' is not a run of this program's digit classifier: " + why +
                "; give a file that kovar train digits --save wrote");
  }

 private:
  const Safetensors& file_;
};

Safetensors open(const std::string& path) { return base::unwrap(Safetensors::open(path)); }

}  // namespace

void saveRun(const std::string& path, const DigitNetwork& network, const RunState& state) {
  base::io::SafetensorsWriter writer;
  for (const Entry& e : entriesOf(network)) base::unwrap(writer.add(e.name, e.shape, e.values));
  const std::pair<const char*, std::string> metadata[] = {{"network", kNetwork},
                                                          {"step", std::to_string(state.step)},
                                                          {"seed", std::to_string(state.seed)},
                                                          {"batch", std::to_string(state.batch)},
                                                          {"learning_rate", exactly(state.learningRate)},
                                                          {"init", nameIn(kInits, state.init)},
                                                          {"order", nameIn(kOrders, state.order)},
                                                          {"pictures", std::to_string(state.pictures)}};
  for (const auto& [key, value] : metadata) base::unwrap(writer.setMetadata(key, value));
  base::unwrap(writer.save(path));
}

RunState readRunState(const std::string& path) {
  const Safetensors file = open(path);
  const Metadata metadata(file);
  if (metadata.text("network") != kNetwork) metadata.refuse("it is of the network '" + metadata.text("network") + "'");
  RunState state;
  constexpr auto kAny = std::numeric_limits<std::uint64_t>::max();
  state.step = metadata.number<std::uint64_t>("step", 0, kMostSteps);
  state.seed = metadata.number<std::uint64_t>("seed", 0, kAny);
  state.batch = metadata.number<std::uint64_t>("batch", 1, kMostPicturesAStep);
  state.learningRate =
      metadata.number("learning_rate", std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max());
  state.init = metadata.oneOf(kInits, "init");
  state.order = metadata.oneOf(kOrders, "order");
  state.pictures = metadata.number<std::uint64_t>("pictures", 1, kAny);
  return state;
}

void loadRun(const std::string& path, const DigitNetwork& network) {
  const Safetensors file = open(path);
  const std::vector<Entry> entries = entriesOf(network);
  std::vector<std::vector<float>> values;
  values.reserve(entries.size());
  for (const Entry& e : entries) values.push_back(base::unwrap(file.floats(e.name, e.shape)));
  for (std::size_t i = 0; i < entries.size(); ++i) std::ranges::copy(values[i], entries[i].values.begin());
}

}  // namespace kovar::tools
