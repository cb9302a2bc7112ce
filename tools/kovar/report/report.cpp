#include "kovar/report/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kovar/report/chart.hpp"
#include "kovar/report/html.hpp"
#include "kovar/report/style.hpp"

namespace kovar::tools {
namespace {

constexpr std::size_t kLossBuckets = 200;

std::string section(std::string_view title, std::string_view body) {
  if (body.empty()) return "";
  return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", escaped(title), body);
}

std::string columns(const std::string& first, const std::string& second) {
  if (first.empty() || second.empty()) return first + second;
  return "<div class=\"columns\">\n" + first + second + "</div>\n";
}

std::string card(std::string_view name, std::string_view value, std::string_view detail) {
  return fmt::format("<dl class=\"card\"><dt>{}</dt><dd>{}</dd><dd class=\"detail\">{}</dd></dl>\n", name, value,
                     detail);
}

std::string cards(const TrainingReport& report) {
  std::string out = "<div class=\"cards\">\n";
  out += card("Test accuracy", percent(report.testAccuracy, 2), grouped(report.testPictures) + " pictures");
  out += card("Training speed", fixed(report.imagesPerSecond, 0), "pictures a second");
  out += card("Training time", duration(report.trainingSeconds),
              fmt::format("{} steps of {}", grouped(report.steps), grouped(report.batch)));
  out += card("Peak memory", byteSize(report.peakMemoryBytes), "of the whole process");
  out += card("Parameters", grouped(report.parameters), "32-bit floats");
  return out + "</div>\n";
}

// Both charts cover the same steps, so that they can be compared.
void setSteps(Chart& chart, const TrainingReport& report) {
  chart.firstStep = static_cast<double>(report.firstStep - 1);
  chart.lastStep = chart.firstStep + static_cast<double>(report.losses.size());
}

std::string lossSection(const TrainingReport& report) {
  const Summary summary = summarise(report.losses, static_cast<double>(report.firstStep), kLossBuckets);
  Chart chart;
  chart.title = "Loss over the steps";
  chart.band = summary.band;
  setSteps(chart, report);
  // A loss falls by powers of ten; without negative values or zeros that is what the axis shows.
  const bool positive = std::all_of(chart.band.begin(), chart.band.end(), [](const ChartBand& b) { return b.low > 0; });
  chart.scale = positive ? ChartScale::Logarithmic : ChartScale::Linear;
  const std::size_t run = summary.means.empty() ? 1 : (report.losses.size() + kLossBuckets - 1) / kLossBuckets;
  chart.lines.push_back(
      {run > 1 ? fmt::format("mean of {} steps, and their range", run) : "each step", "first", summary.means, false});
  std::string body = chartElement(chart);
  const auto lost =
      std::count_if(report.losses.begin(), report.losses.end(), [](float x) { return !std::isfinite(x); });
  if (lost > 0)
    body += fmt::format("<p class=\"note\">{} values are not finite and are left out.</p>\n", grouped(lost));
  return section("Loss", body);
}

std::string accuracySection(const TrainingReport& report) {
  Chart chart;
  chart.title = "Accuracy over the steps";
  chart.scale = ChartScale::Nines;
  setSteps(chart, report);
  chart.lines.push_back({"training batches", "first", report.trainAccuracy, false});
  chart.lines.push_back({"test set", "second", report.testAccuracies, true});
  return section("Accuracy", chartElement(chart));
}

std::string confusionSection(const TrainingReport& report) {
  const std::size_t n = report.classes.size();
  if (n == 0 || report.confusion.size() != n * n) return "";
  const auto count = [&](std::size_t truth, std::size_t said) { return report.confusion[truth * n + said]; };
  std::int64_t mostRight = 1;
  std::int64_t mostWrong = 1;
  for (std::size_t truth = 0; truth < n; ++truth) {
    for (std::size_t said = 0; said < n; ++said) {
      std::int64_t& most = truth == said ? mostRight : mostWrong;
      most = std::max(most, count(truth, said));
    }
  }
  std::string out = "<table class=\"matrix\">\n<tr><th></th>";
  for (const std::string& name : report.classes) out += fmt::format(R"(<th scope="col">{}</th>)", escaped(name));
  out += "<th></th></tr>\n";
  for (std::size_t truth = 0; truth < n; ++truth) {
    out += fmt::format(R"(<tr><th scope="row">{}</th>)", escaped(report.classes[truth]));
    std::int64_t all = 0;
    for (std::size_t said = 0; said < n; ++said) {
      const std::int64_t value = count(truth, said);
      all += value;
      const bool right = truth == said;
      if (value <= 0) {
        out += "<td class=\"none\">\xc2\xb7</td>";
        continue;
      }
      // Errors are few: their colour grows with the root, so that a single one can still be seen.
      const double share = static_cast<double>(value) / static_cast<double>(right ? mostRight : mostWrong);
      out += fmt::format(R"(<td class="{}" style="--heat:{:.2f}" title="{} pictures of {} called {}">{}</td>)",
                         right ? "right" : "wrong", right ? 0.55 * share : 0.1 + 0.65 * std::sqrt(share), value,
                         escaped(report.classes[truth]), escaped(report.classes[said]), value);
    }
    const double recall = all > 0 ? static_cast<double>(count(truth, truth)) / static_cast<double>(all) : std::nan("");
    out += fmt::format("<td class=\"recall\">{}</td></tr>\n", percent(recall, 1));
  }
  out +=
      "</table>\n<p class=\"note\">Row: what the picture shows. Column: what was said. Right: share of the row that is "
      "right.</p>\n";
  return section("Confusion matrix", out);
}

std::string wrongSection(const TrainingReport& report) {
  if (report.wrong.empty()) return "";
  std::string out = "<div class=\"gallery\">\n";
  for (const WrongPicture& wrong : report.wrong) {
    out += "<figure>" + pictureElement(wrong.picture, 84, "a " + wrong.truth + " that was called " + wrong.said) +
           fmt::format("<figcaption>said <b>{}</b>, {}<br>truth <b>{}</b></figcaption></figure>\n", escaped(wrong.said),
                       percent(wrong.probability, 0), escaped(wrong.truth));
  }
  out += "</div>\n";
  const auto shown = static_cast<std::int64_t>(report.wrong.size());
  if (report.wrongTotal > shown) {
    out += fmt::format("<p class=\"note\">{} of {} are shown.</p>\n", grouped(shown), grouped(report.wrongTotal));
  }
  return section("What it got wrong", out);
}

std::string filterSection(const TrainingReport& report) {
  if (report.filters.empty()) return "";
  std::string out = "<div class=\"gallery\">\n";
  for (std::size_t i = 0; i < report.filters.size(); ++i) {
    out += "<figure>" + pictureElement(report.filters[i], 44, fmt::format("filter {}", i + 1)) + "</figure>\n";
  }
  return section(
      "Filters of the first layer",
      out + "</div>\n<p class=\"note\">Orange adds, blue takes away, white is zero; one scale for all.</p>\n");
}

std::string row(std::string_view name, std::string_view note, std::string_view value, double share) {
  return fmt::format(
      "<tr><th scope=\"row\">{}{}</th><td class=\"number\">{}</td><td><span class=\"bar\"><span "
      "style=\"width:{:.1f}%\"></span></span></td></tr>\n",
      escaped(name), note.empty() ? "" : "<br><small>" + escaped(note) + "</small>", value,
      std::isfinite(share) ? 100 * std::clamp(share, 0.0, 1.0) : 0);
}

std::string timeSection(const TrainingReport& report) {
  if (report.phases.empty()) return "";
  const double all = std::accumulate(report.phases.begin(), report.phases.end(), 0.0,
                                     [](double sum, const PhaseTime& phase) { return sum + phase.seconds; });
  std::string out = "<table class=\"rows\">\n";
  for (const PhaseTime& phase : report.phases) {
    out += row(phase.name, "", duration(phase.seconds), phase.seconds / all);
  }
  return section("Time", out + "</table>\n");
}

std::string memorySection(const TrainingReport& report) {
  std::vector<MemoryUse> rows;
  if (report.arenaBytes > 0) {
    std::string note;
    if (report.intermediatesBytes > report.arenaBytes) {
      note = fmt::format("{:.1f} times smaller than side by side",
                         static_cast<double>(report.intermediatesBytes) / static_cast<double>(report.arenaBytes));
    }
    rows.push_back({"Intermediates of a step, in one arena", report.arenaBytes, note});
  }
  if (report.intermediatesBytes > 0) rows.push_back({"The same, side by side", report.intermediatesBytes, ""});
  rows.insert(rows.end(), report.memory.begin(), report.memory.end());
  if (rows.empty()) return "";
  std::uint64_t most = 1;
  for (const MemoryUse& use : rows) most = std::max(most, use.bytes);
  std::string out = "<table class=\"rows\">\n";
  for (const MemoryUse& use : rows) {
    out += row(use.name, use.note, byteSize(use.bytes), static_cast<double>(use.bytes) / static_cast<double>(most));
  }
  return section("Memory", out + "</table>\n");
}

std::string runSection(const TrainingReport& report) {
  std::string out;
  if (!report.command.empty()) out += fmt::format("<pre><code>{}</code></pre>\n", escaped(report.command));
  if (!report.configuration.empty()) {
    out += "<table class=\"rows\">\n";
    for (const auto& [name, value] : report.configuration) {
      out +=
          fmt::format("<tr><th scope=\"row\">{}</th><td class=\"wide\">{}</td></tr>\n", escaped(name), escaped(value));
    }
    out += "</table>\n";
  }
  return section("This run", out);
}

}  // namespace

std::string writeTrainingReport(const TrainingReport& report) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, "
      "initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n"
      "<h1>{0}</h1>\n",
      escaped(report.title), kReportStyle);
  out += fmt::format("<p class=\"subtitle\">{}</p>\n", escaped(report.subtitle));
  out += cards(report);
  out += columns(lossSection(report), accuracySection(report));
  out += columns(confusionSection(report), filterSection(report));
  out += wrongSection(report);
  out += columns(timeSection(report), memorySection(report));
  out += runSection(report);
  return out + "<footer>Written by kovar train.</footer>\n</main>\n</body>\n</html>\n";
}

std::vector<base::io::Picture> filterPictures(const std::vector<float>& weights, int count, int height, int width,
                                              int channels) {
  const int inputs = height * width * channels;
  if (count <= 0 || inputs <= 0 ||
      weights.size() < static_cast<std::size_t>(count) * static_cast<std::size_t>(inputs)) {
    return {};
  }
  std::vector<double> means;
  const std::size_t pixels =
      static_cast<std::size_t>(count) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  means.reserve(pixels);
  for (std::size_t at = 0; at < pixels; ++at) {
    double sum = 0;
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      sum += weights[at * static_cast<std::size_t>(channels) + c];
    }
    means.push_back(std::isfinite(sum) ? sum / channels : 0);
  }
  double largest = 0;
  for (const double mean : means) largest = std::max(largest, std::abs(mean));
  constexpr double kPositive[] = {200, 84, 20};
  constexpr double kNegative[] = {28, 96, 160};
  std::vector<base::io::Picture> pictures;
  for (std::size_t f = 0, at = 0; f < static_cast<std::size_t>(count); ++f) {
    base::io::Picture picture{width, height, 3, {}};
    for (int i = 0; i < height * width; ++i, ++at) {
      const double part = largest > 0 ? means[at] / largest : 0;
      for (int c = 0; c < 3; ++c) {
        const double colour = part > 0 ? kPositive[c] : kNegative[c];
        picture.pixels.push_back(static_cast<std::uint8_t>(std::lround(255 + std::abs(part) * (colour - 255))));
      }
    }
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace kovar::tools
