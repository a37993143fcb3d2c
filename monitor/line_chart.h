// Curves over steps as a picture: series in, the text of an SVG file out.
#pragma once

#include <string>
#include <vector>

namespace sluice::monitor {

struct ChartPoint {
  double x = 0, y = 0;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // by rising x; a point that is not finite is left out
};

struct LineChartOptions {
  std::string title;
  std::string x_label = "step";
  bool legend = true;  // else whoever shows it says whose curve has which chart_colour()
};

// "#0a7cc4", of the series with this number, counted from 0.
const char* chart_colour(size_t number);

// How many curves one chart can tell apart.
inline constexpr int64_t kMaxChartSeries = 24;

// A complete SVG document of less than 30 KB with axes, ticks at round numbers and a legend. It has no
// background, and its colours can be read on light and on dark.
//
// A long series is shown by the means of equal runs of its points, which is also what makes a noisy one
// readable. Throws UsageError for more series than kMaxChartSeries, or when no series has a point.
std::string line_chart(const std::vector<ChartSeries>& series, const LineChartOptions& options = {});

// The round numbers within [low, high], about `count` of them, at steps of 1, 2 or 5 times a power of ten.
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace sluice::monitor
