#include "monitor/line_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/utf8.h"

namespace sluice::monitor {
namespace {

constexpr double kWidth = 720, kHeight = 360, kWidthWithoutLegend = 552;
constexpr double kLeft = 56, kTop = 34, kRight = 536, kBottom = 312;  // of what the axes enclose
constexpr double kLegendX = 552, kLegendLine = 12;
constexpr size_t kPointsOfAll = 1200;  // of all series together: 14 bytes each at most
constexpr size_t kPointsOfOne = 60;
constexpr size_t kNameBytes = 24, kTitleBytes = 80;

// Middle tones, told apart also by who confuses red and green (Okabe and Ito 2008).
constexpr std::array<const char*, 8> kColours = {"#0a7cc4", "#d9622b", "#12a37a", "#c977a8",
                                                 "#c08a00", "#3aa5dc", "#8c6bd1", "#888888"};
constexpr std::array<const char*, 3> kDashes = {"", "6 3", "2 3"};  // from one round of colours to the next

constexpr const char* kStyle =
    "<style>text{font:12px "
    "sans-serif;fill:#57606a}.t{font-size:14px}.e{text-anchor:end}.m{text-anchor:middle}"
    ".g{stroke:#8884;fill:none}.c{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    "@media(prefers-color-scheme:dark){text{fill:#adb5bd}}</style>\n";

std::string format(const char* pattern, double a) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), pattern, a);
  return text.data();
}

std::string place(double value) {
  std::string text = format("%.1f", value);
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

// At most `bytes` of it, whole characters, safe within XML.
std::string label(const std::string& name, size_t bytes) {
  const std::string kept = std::string(whole_characters(name, bytes)) + (name.size() > bytes ? "…" : "");
  std::string safe;
  for (const char c : kept) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (static_cast<unsigned char>(c) >= 0x20)  // others may not stand in XML at all
      safe += c;
  }
  return safe;
}

std::string text_at(double x, double y, const char* kind, const std::string& text) {
  return "<text x=\"" + place(x) + "\" y=\"" + place(y) + "\" class=\"" + kind + "\">" + text + "</text>\n";
}

// The finite points, as the means of equal runs of them where there are too many.
std::vector<ChartPoint> shown_points(const std::vector<ChartPoint>& all, size_t limit) {
  std::vector<ChartPoint> points;
  for (const auto& point : all) {
    if (std::isfinite(point.x) && std::isfinite(point.y)) points.push_back(point);
  }
  if (points.size() <= limit) return points;
  std::vector<ChartPoint> means(limit);
  for (size_t i = 0; i < limit; ++i) {
    const size_t begin = i * points.size() / limit, end = (i + 1) * points.size() / limit;
    for (size_t j = begin; j < end; ++j) {
      means[i].x += points[j].x / static_cast<double>(end - begin);
      means[i].y += points[j].y / static_cast<double>(end - begin);
    }
  }
  return means;
}

// One axis: numbers to places on the page.
struct Axis {
  double low = INFINITY, high = -INFINITY;
  double begin = 0, end = 0;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Room for a curve that does not move, or that touches the edge.
  void widen(double share) {
    const double size = std::max(std::abs(low), std::abs(high));
    const bool moves = high - low > size * 1e-9;  // what is left of a rounding is no curve
    const double room = moves ? (high - low) * share : std::max(size, 1.0) * 0.1;
    low -= room;
    high += room;
  }
  double at(double value) const { return begin + (value - low) / (high - low) * (end - begin); }
};

std::string grid(const Axis& x, const Axis& y) {
  std::string out = "<path class=\"g\" d=\"M" + place(kLeft) + " " + place(kTop) + "V" + place(kBottom) +
                    "H" + place(kRight) + "\"/>\n";
  for (const double tick : round_ticks(y.low, y.high, 6)) {
    out +=
        "<path class=\"g\" d=\"M" + place(kLeft) + " " + place(y.at(tick)) + "H" + place(kRight) + "\"/>\n";
    out += text_at(kLeft - 6, y.at(tick) + 4, "e", format("%.4g", tick));
  }
  const int whole = static_cast<int>(std::clamp(x.high - x.low, 1.0, 7.0));  // there is no half a step
  for (const double tick : round_ticks(x.low, x.high, whole)) {
    out += "<path class=\"g\" d=\"M" + place(x.at(tick)) + " " + place(kBottom) + "v5\"/>\n";
    out += text_at(x.at(tick), kBottom + 19, "m", format("%.6g", tick));
  }
  return out;
}

// How the curve with this number is drawn, here and in the legend.
std::string stroke(size_t number) {
  const char* dash = kDashes[number / kColours.size() % kDashes.size()];
  std::string text = std::string("class=\"c\" stroke=\"") + chart_colour(number) + "\"";
  if (*dash != '\0') text += std::string(" stroke-dasharray=\"") + dash + "\"";
  return text;
}

std::string curve(size_t number, const std::vector<ChartPoint>& points, const Axis& x, const Axis& y) {
  std::string places;
  for (const auto& point : points) {
    places += (places.empty() ? "" : " ") + place(x.at(point.x)) + "," + place(y.at(point.y));
  }
  if (points.size() == 1) places += " " + places;  // a line of no length is not drawn without round ends
  return "<polyline " + stroke(number) + " stroke-linecap=\"round\" points=\"" + places + "\"/>\n";
}

std::string legend(size_t number, const std::string& name) {
  const double y = kTop + 8 + static_cast<double>(number) * kLegendLine;
  return "<path " + stroke(number) + " d=\"M" + place(kLegendX) + " " + place(y - 4) + "h20\"/>\n" +
         text_at(kLegendX + 26, y, "n", label(name, kNameBytes));
}

}  // namespace

const char* chart_colour(size_t number) { return kColours[number % kColours.size()]; }

std::vector<double> round_ticks(double low, double high, int count) {
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i <= count && (first + i) * step <= high + step * 1e-9; ++i)
    ticks.push_back((first + i) * step + 0.0);  // + 0: no "-0"
  return ticks;
}

std::string line_chart(const std::vector<ChartSeries>& series, const LineChartOptions& options) {
  require<UsageError>(std::ssize(series) <= kMaxChartSeries, "chart: ", series.size(),
                      " curves cannot be told apart; there is room for ", kMaxChartSeries);
  Axis x{.begin = kLeft, .end = kRight}, y{.begin = kBottom, .end = kTop};
  const size_t limit = std::min(kPointsOfOne, kPointsOfAll / std::max<size_t>(series.size(), 1));
  std::vector<std::vector<ChartPoint>> shown;
  for (const auto& one : series) {
    shown.push_back(shown_points(one.points, limit));
    for (const auto& point : shown.back()) {
      x.include(point.x);
      y.include(point.y);
    }
  }
  require<UsageError>(x.low <= x.high, "chart: no series has a point");
  if (x.low == x.high) x.widen(0);
  y.widen(0.05);

  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " +
                    place(options.legend ? kWidth : kWidthWithoutLegend) + " " + place(kHeight) + "\">\n" +
                    kStyle;
  out += text_at(kLeft, 20, "t", label(options.title, kTitleBytes));
  out += text_at((kLeft + kRight) / 2, kHeight - 8, "m", label(options.x_label, kTitleBytes));
  out += grid(x, y);
  for (size_t i = 0; i < series.size(); ++i) {
    out += curve(i, shown[i], x, y);
    if (options.legend) out += legend(i, series[i].name);
  }
  return out + "</svg>\n";
}

}  // namespace sluice::monitor
