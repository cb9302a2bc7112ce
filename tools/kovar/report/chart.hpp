#pragma once
// Line charts as inline SVG. Colours come from the page's style, so that they follow light and dark.

#include <string>
#include <vector>

#include "kovar/report/report.hpp"

namespace kovar::tools {

/// One line of a chart. `style` is a CSS class: "first", "second".
struct ChartLine {
  std::string name;
  std::string style;
  std::vector<StepValue> points;
  bool dots = false;  ///< mark each point
};

/// The range between the smallest and the largest value at a step, drawn behind the lines.
struct ChartBand {
  double step = 0;
  double low = 0;
  double high = 0;
};

/// How values become heights.
enum class ChartScale {
  Linear,
  Logarithmic,  ///< for positive values over several powers of ten
  Nines,        ///< for shares near one: as far from 90 % to 99 % as from 99 % to 99.9 %, which is where it ends
};

struct Chart {
  std::string title;  ///< read out by screen readers
  ChartScale scale = ChartScale::Linear;
  double firstStep = 0;  ///< the left and right end, where they lie beyond the points
  double lastStep = 0;
  std::vector<ChartBand> band;
  std::vector<ChartLine> lines;
};

/// Ticks for about `wanted` labels between low and high, at 1, 2 or 5 times a power of ten.
std::vector<double> linearTicks(double low, double high, int wanted);
/// The same for a logarithmic axis: 1, 2, 5 times powers of ten, or powers of ten only when the range is wide.
std::vector<double> logarithmicTicks(double low, double high);
/// The same for shares near one: 50 %, 80 %, 90 %, 95 %, 98 %, 99 % and so on.
std::vector<double> ninesTicks(double low, double high);

/// The svg element, or nothing when there is no finite point.
std::string chartElement(const Chart& chart);

/// Many values in few: the mean of each of at most `buckets` runs of equal length, with their range. Values that are
/// not finite are left out.
struct Summary {
  std::vector<StepValue> means;
  std::vector<ChartBand> band;
};
Summary summarise(const std::vector<float>& values, double firstStep, std::size_t buckets);

}  // namespace kovar::tools
