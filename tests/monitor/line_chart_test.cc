#include "monitor/line_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

int64_t count(const std::string& text, const std::string& word) {
  int64_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

// The `points` of the first curve.
std::string places(const std::string& svg) {
  const std::string open = "points=\"";
  const size_t begin = svg.find(open) + open.size();
  return svg.substr(begin, svg.find('"', begin) - begin);
}

ChartSeries ramp(const std::string& name, int length) {
  ChartSeries series{.name = name};
  for (int i = 1; i <= length; ++i) series.points.push_back({static_cast<double>(i), i / 1000.0});
  return series;
}

TEST(LineChart, TicksAreRoundNumbers) {
  EXPECT_THAT(round_ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(round_ticks(1, 140, 7), ElementsAre(20, 40, 60, 80, 100, 120, 140));
  EXPECT_THAT(round_ticks(-0.3, 0.3, 3),
              ElementsAre(testing::DoubleNear(-0.2, 1e-12), 0, testing::DoubleNear(0.2, 1e-12)));
  EXPECT_FALSE(std::signbit(round_ticks(-1, 1, 2)[1]));  // "0", not "-0"
}

// Times of 0.124 and of the next number after it once made ticks without end.
TEST(LineChart, OfNumbersThatDifferInTheirLastBitHasFewTicks) {
  const double time = 0.124, next = std::nextafter(time, 1);
  EXPECT_LE(round_ticks(time, next, 6).size(), 7);
  const auto svg = line_chart({{.name = "a", .points = {{1, time}, {2, next}}}});
  EXPECT_LT(svg.size(), 10'000);
}

// The axes enclose x 56 to 536 and y 34 to 312 of the page; y has 5 % of room on both sides: 278 / 1.1 =
// 252.7 for the values, 12.6 for the room.
TEST(LineChart, PutsPointsWhereTheirNumbersSay) {
  const auto svg = line_chart({{.name = "a", .points = {{0, 0}, {5, 1}, {10, 0.5}}}});

  EXPECT_EQ(places(svg), "56,299.4 296,46.6 536,173");
}

TEST(LineChart, ALongSeriesBecomesTheMeansOfEqualRuns) {
  ChartSeries series{.name = "a"};
  for (int i = 0; i < 120; ++i) series.points.push_back({static_cast<double>(i), i % 2 ? 1.0 : 0.0});

  const auto svg = line_chart({series, {.name = "b", .points = {{0.5, 0}, {118.5, 1}}}});

  // 60 pairs of which each has the mean 0.5, the first at x = 0.5 and the last at 118.5
  EXPECT_EQ(count(places(svg), ","), 60);
  EXPECT_TRUE(places(svg).starts_with("56,173 ")) << places(svg);
  EXPECT_TRUE(places(svg).ends_with(" 536,173")) << places(svg);
}

TEST(LineChart, LeavesOutWhatIsNotFinite) {
  const auto svg = line_chart({{.name = "a", .points = {{0, 0}, {5, NAN}, {6, INFINITY}, {10, 1}}}});

  EXPECT_EQ(places(svg), "56,299.4 536,46.6");
  EXPECT_THAT(message_of<UsageError>([] {
                line_chart({{.name = "a", .points = {{1, NAN}}}});
              }),
              HasSubstr("no series has a point"));
}

TEST(LineChart, DrawsASinglePointAndACurveThatDoesNotMove) {
  const auto one = line_chart({{.name = "a", .points = {{3, 7}}}});
  EXPECT_EQ(places(one), "296,173 296,173");
  const auto flat = line_chart({{.name = "a", .points = {{1, 0}, {2, 0}}}});
  EXPECT_EQ(places(flat), "56,173 536,173");
  EXPECT_THAT(one + flat, Not(testing::AnyOf(HasSubstr("nan"), HasSubstr("inf"))));
}

TEST(LineChart, CountsWholeSteps) {
  const auto svg = line_chart({{.name = "a", .points = {{21, 0}, {22, 1}, {23, 3}}}});
  for (const char* step : {">21<", ">22<", ">23<"}) EXPECT_THAT(svg, HasSubstr(step));
  EXPECT_THAT(svg, Not(HasSubstr("1.5<")));
}

TEST(LineChart, WithoutALegendItEndsWhereTheAxesDo) {
  const auto svg = line_chart({{.name = "grpo", .points = {}}, ramp("after", 2)}, {.legend = false});
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 552 360\""));
  EXPECT_THAT(svg, Not(HasSubstr(">after<")));
  EXPECT_THAT(
      svg, HasSubstr(std::string("stroke=\"") + chart_colour(1) + "\" stroke-linecap=\"round\" points=\"5"));
}

TEST(LineChart, NamesEverySeriesInTheLegendAndKeepsXmlWhole) {
  const auto svg = line_chart({ramp("a<b>&c\x01", 2), ramp(std::string(23, 'x') + "éé", 2)},
                              {.title = "reward", .x_label = "step"});

  EXPECT_THAT(svg, HasSubstr(">a&lt;b>&amp;c</text>"));
  EXPECT_THAT(svg, HasSubstr(">" + std::string(23, 'x') + "…</text>"));  // é is two bytes and stays whole
  EXPECT_THAT(svg, HasSubstr(">reward</text>"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(svg, Not(HasSubstr("<rect")));  // no background of its own
}

TEST(LineChart, StaysUnder30KilobytesAndTellsItsCurvesApart) {
  std::vector<ChartSeries> series;
  for (int i = 0; i < kMaxChartSeries; ++i) series.push_back(ramp(std::string(100, '&'), 5000));

  const auto svg = line_chart(series, {.title = std::string(1000, '&')});

  EXPECT_LT(svg.size(), 30'000u);
  EXPECT_EQ(count(svg, "<polyline"), kMaxChartSeries);
  EXPECT_EQ(count(svg, "stroke=\"#0a7cc4\""), 6);  // three curves, each also in the legend
  EXPECT_EQ(count(svg, "stroke=\"#0a7cc4\" stroke-dasharray=\"6 3\""), 2);
  series.push_back(ramp("one more", 2));
  EXPECT_THAT(message_of<UsageError>([&] { line_chart(series); }), HasSubstr("there is room for 24"));
}

}  // namespace
}  // namespace sluice::monitor
