#include "kovar/report/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kovar/report/html.hpp"

namespace kovar::tools {
namespace {

constexpr double kWidth = 480;
constexpr double kHeight = 260;
constexpr double kLeft = 50;
constexpr double kRight = 20;
constexpr double kTop = 14;
constexpr double kBottom = 40;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

constexpr double kSmallestError = 1e-3;  // the end of the nines scale: a batch without errors has infinitely many

struct Axes {
  Range x;
  Range y;  // of heights
  ChartScale scale = ChartScale::Linear;

  double height(double value) const {
    switch (scale) {
      case ChartScale::Logarithmic:
        return std::log10(value);
      case ChartScale::Nines:
        return -std::log10(std::max(1 - value, kSmallestError));
      case ChartScale::Linear:
        break;
    }
    return value;
  }
  double value(double height) const {
    switch (scale) {
      case ChartScale::Logarithmic:
        return std::pow(10.0, height);
      case ChartScale::Nines:
        return 1 - std::pow(10.0, -height);
      case ChartScale::Linear:
        break;
    }
    return height;
  }
  double across(double step) const { return kLeft + (step - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double down(double shown) const {
    return kTop + (y.high - height(shown)) / (y.high - y.low) * (kHeight - kTop - kBottom);
  }
  bool shows(double step, double shown) const {
    return std::isfinite(step) && std::isfinite(shown) && std::isfinite(height(shown));
  }
};

Axes axesOf(const Chart& chart) {
  Axes axes;
  axes.scale = chart.scale;
  const auto take = [&](double step, double value) {
    if (!axes.shows(step, value)) return;
    axes.x.take(step);
    axes.y.take(axes.height(value));
  };
  for (const ChartLine& line : chart.lines) {
    for (const StepValue& point : line.points) take(point.step, point.value);
  }
  for (const ChartBand& range : chart.band) {
    take(range.step, range.low);
    take(range.step, range.high);
  }
  if (axes.x.empty()) return axes;
  if (chart.lastStep > chart.firstStep) {
    axes.x.take(chart.firstStep);
    axes.x.take(chart.lastStep);
  }
  if (axes.x.low == axes.x.high) axes.x = {axes.x.low - 1, axes.x.high + 1};
  const double air = std::max(0.06 * (axes.y.high - axes.y.low), 1e-3 * std::max(1e-3, std::abs(axes.y.high)));
  axes.y = {axes.y.low - air, axes.y.high + air};
  return axes;
}

std::vector<double> valueTicks(const Axes& axes) {
  switch (axes.scale) {
    case ChartScale::Logarithmic:
      return logarithmicTicks(axes.value(axes.y.low), axes.value(axes.y.high));
    case ChartScale::Nines:
      return ninesTicks(axes.value(axes.y.low), axes.value(axes.y.high));
    case ChartScale::Linear:
      break;
  }
  return linearTicks(axes.y.low, axes.y.high, 5);
}

std::string label(double value, ChartScale scale) {
  if (scale != ChartScale::Nines) return fmt::format("{:.4g}", value);
  return fmt::format("{:.4g}\xe2\x80\xaf%", 100 * value);
}

std::string grid(const Axes& axes) {
  std::string out = R"(<g class="grid">)";
  std::string labels = R"(<g class="ticks">)";
  for (const double tick : valueTicks(axes)) {
    const double y = axes.down(tick);
    out += fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>)", kLeft, y, kWidth - kRight, y);
    labels += fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft - 8, y + 4,
                          label(tick, axes.scale));
  }
  const double foot = kHeight - kBottom;
  for (const double tick : linearTicks(axes.x.low, axes.x.high, 5)) {
    const double x = axes.across(tick);
    out += fmt::format(R"(<line x1="{0:.1f}" y1="{1:.1f}" x2="{0:.1f}" y2="{2:.1f}"/>)", x, foot, foot + 5);
    labels += fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)", x, foot + 18,
                          fmt::format("{:.10g}", tick));
  }
  labels +=
      fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="end">step</text></g>)", kWidth - kRight, kHeight - 4);
  return out + "</g>" + labels;
}

std::string bandPath(const std::vector<ChartBand>& band, const Axes& axes) {
  std::string above;
  std::string below;
  for (const ChartBand& range : band) {
    if (!axes.shows(range.step, range.low) || !axes.shows(range.step, range.high)) continue;
    above += fmt::format("{}{:.1f} {:.1f}", above.empty() ? "M" : "L", axes.across(range.step), axes.down(range.high));
    below.insert(0, fmt::format("L{:.1f} {:.1f}", axes.across(range.step), axes.down(range.low)));
  }
  return above.empty() ? "" : fmt::format(R"(<path class="band" d="{}{}Z"/>)", above, below);
}

std::string linePath(const ChartLine& line, const Axes& axes) {
  std::string path;
  std::string dots;
  for (const StepValue& point : line.points) {
    if (!axes.shows(point.step, point.value)) continue;
    const double x = axes.across(point.step);
    const double y = axes.down(point.value);
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, y);
    if (line.dots) dots += fmt::format(R"(<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>)", line.style, x, y);
  }
  return path.empty() ? "" : fmt::format(R"(<path class="line {}" d="{}"/>{})", line.style, path, dots);
}

}  // namespace

std::vector<double> linearTicks(double low, double high, int wanted) {
  if (!(high > low) || !std::isfinite(high - low)) return {};
  const double rough = (high - low) / wanted;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (step < rough) step = factor * power;
  }
  std::vector<double> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k) {
    ticks.push_back(k == 0 ? 0 : k * step);  // never minus zero
  }
  return ticks;
}

std::vector<double> logarithmicTicks(double low, double high) {
  if (!(low > 0) || !(high > low) || !std::isfinite(high)) return {};
  const bool wide = high / low > 1000;
  std::vector<double> ticks;
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  for (int power = static_cast<int>(std::floor(std::log10(low))); power <= last; ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10.0, power);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9) && (factor == 1 || !wide)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::vector<double> ninesTicks(double low, double high) {
  std::vector<double> ticks;
  for (const double tick : {0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999}) {
    if (tick >= low - 1e-9 && tick <= high + 1e-9) ticks.push_back(tick);
  }
  return ticks;
}

std::string chartElement(const Chart& chart) {
  const Axes axes = axesOf(chart);
  if (axes.x.empty()) return "";
  std::string out = fmt::format(R"(<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">)", kWidth,
                                kHeight, escaped(chart.title));
  out += grid(axes) + bandPath(chart.band, axes);
  for (const ChartLine& line : chart.lines) out += linePath(line, axes);
  out += "</svg>\n<p class=\"legend\">";
  for (const ChartLine& line : chart.lines) {
    if (!line.points.empty()) out += fmt::format(R"(<span class="key {}"></span>{} )", line.style, escaped(line.name));
  }
  return out + "</p>\n";
}

Summary summarise(const std::vector<float>& values, double firstStep, std::size_t buckets) {
  Summary summary;
  const std::size_t run = std::max<std::size_t>(1, (values.size() + buckets - 1) / std::max<std::size_t>(1, buckets));
  for (std::size_t begin = 0; begin < values.size(); begin += run) {
    const std::size_t end = std::min(begin + run, values.size());
    Range range;
    double sum = 0;
    int count = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(values[i])) continue;
      range.take(values[i]);
      sum += values[i];
      ++count;
    }
    if (count == 0) continue;
    const double step = firstStep + static_cast<double>(begin + end - 1) / 2;
    summary.means.push_back({step, sum / count});
    summary.band.push_back({step, range.low, range.high});
  }
  return summary;
}

}  // namespace kovar::tools
