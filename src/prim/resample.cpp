#include "prim/resample.hpp"

#include <algorithm>

namespace kovar::prim {

TapTable tapsOf(const Resample& desc, const maths::Sampling& axis, std::int64_t dst, std::int64_t src) {
  TapTable table;
  const auto add = [&](std::int64_t at, float weight) {
    if (weight == 0.f || (desc.zeroEdge && (at < 0 || at >= src))) return;
    const auto position = static_cast<std::int32_t>(std::clamp<std::int64_t>(at, 0, src - 1));
    // Beyond a repeated edge both taps are the same pixel.
    if (table.first.back() < static_cast<std::int32_t>(table.position.size()) && table.position.back() == position) {
      table.weight.back() += weight;
      return;
    }
    table.position.push_back(position);
    table.weight.push_back(weight);
  };
  for (std::int64_t i = 0; i < dst; ++i) {
    const maths::BetweenPixels u = maths::betweenPixels(axis, i);
    const bool nearest = desc.kind == ResampleKind::Nearest;
    add(u.pixel, nearest ? 1.f : u.before);
    if (!nearest) add(u.pixel + 1, u.after);
    table.first.push_back(static_cast<std::int32_t>(table.position.size()));
  }
  return table;
}

TapTable transposed(const TapTable& taps, std::int64_t src) {
  TapTable table;
  table.first.assign(static_cast<std::size_t>(src) + 1, 0);
  for (const std::int32_t p : taps.position) ++table.first[static_cast<std::size_t>(p) + 1];
  for (std::size_t i = 1; i < table.first.size(); ++i) table.first[i] += table.first[i - 1];
  table.position.resize(taps.position.size());
  table.weight.resize(taps.weight.size());
  std::vector<std::int32_t> next(table.first.begin(), table.first.end() - 1);
  for (std::int64_t i = 0; i < taps.results(); ++i)
    for (std::size_t k = 0; k < taps.positions(i).size(); ++k) {
      const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(taps.positions(i)[k])]++);
      table.position[at] = static_cast<std::int32_t>(i);
      table.weight[at] = taps.weights(i)[k];
    }
  return table;
}

TapTable tableOf(const Resample& desc, const maths::Sampling& axis, std::int64_t large, std::int64_t small) {
  TapTable taps = tapsOf(desc, axis, large, small);
  return desc.direction == Direction::Forward ? taps : transposed(taps, small);
}

}  // namespace kovar::prim
