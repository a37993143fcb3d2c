// Runs beside each other: a table of what they came to, and their curves.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "app/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/nearest.h"
#include "monitor/line_chart.h"
#include "monitor/run_history.h"
#include "recipes/run_directory.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFinalSteps = 10;  // "final" is a mean over so many: a single step is noise

struct ComparedRun {
  std::string name;
  std::vector<monitor::ChartPoint> points;  // of the metric; x counts the steps that have it
  std::optional<double> before, after;      // mean reward on held-out prompts
};

// The metric over the steps that have it; what metrics there are is added to `known`.
std::vector<monitor::ChartPoint> read_points(const fs::path& file, const std::string& metric,
                                             std::set<std::string>& known) {
  std::vector<monitor::ChartPoint> points;
  int64_t first = 0;
  monitor::for_each_step(file, [&](const monitor::StepReport& report) {
    for (const auto& [name, value] : report.metrics) known.insert(name);
    const auto found = report.metrics.find(metric);
    if (found == report.metrics.end() || !std::isfinite(found->second)) return;
    if (points.empty()) first = report.step;
    points.push_back({static_cast<double>(report.step - first + 1), found->second});
  });
  return points;
}

// The first evaluation that training follows, and the last one that none follows.
void read_evaluations(const recipes::RunDirectory& run, ComparedRun& out) {
  const auto stages = run.recipe().stages;
  const auto last_trained =
      std::find_if(stages.rbegin(), stages.rend(), [](const auto& stage) { return stage.trains(); });
  for (auto stage = stages.begin(); stage != stages.end(); ++stage) {
    const auto result = run.stage_result(stage->name);
    const Json evals = stage->trains() || !result ? Json() : result->value("evals", Json());
    if (evals.empty()) continue;  // it measures nothing
    const double reward = evals[0].at("value");
    if (stage >= last_trained.base()) {
      out.after = reward;
    } else if (!out.before) {
      out.before = reward;
    }
  }
}

// Throws UsageError when no run has the metric.
std::vector<ComparedRun> read_runs(const std::vector<std::string>& folders, const std::string& metric) {
  std::vector<ComparedRun> runs;
  std::set<std::string> known;
  for (const auto& folder : folders) {
    const recipes::RunDirectory run(folder);
    runs.push_back(
        {.name = fs::canonical(run.root()).filename(), .points = read_points(run.metrics(), metric, known)});
    read_evaluations(run, runs.back());
  }
  if (std::ranges::all_of(runs, [](const auto& run) { return run.points.empty(); })) {
    fail<UsageError>("compare: no run has a step with the metric \"", metric, "\"",
                     did_you_mean(metric, known));
  }
  return runs;
}

std::optional<double> mean_of_last(const std::vector<monitor::ChartPoint>& points, size_t count) {
  if (points.empty()) return std::nullopt;
  count = std::min(count, points.size());
  double sum = 0;
  for (size_t i = points.size() - count; i < points.size(); ++i) sum += points[i].y;
  return sum / static_cast<double>(count);
}

Json to_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json to_json(const ComparedRun& run) {
  Json points = Json::array();
  for (const auto& point : run.points) points.push_back({point.x, point.y});
  return {{"run", run.name},
          {"steps", run.points.size()},
          {"mean", to_json(mean_of_last(run.points, run.points.size()))},
          {"final", to_json(mean_of_last(run.points, kFinalSteps))},
          {"before", to_json(run.before)},
          {"after", to_json(run.after)},
          {"points", points}};
}

void print_table(const std::vector<ComparedRun>& runs, const std::string& metric) {
  size_t width = 3;
  for (const auto& run : runs) width = std::max(width, run.name.size());
  const auto print = [&](const std::string& name, const std::array<std::string, 5>& cells) {
    std::cout << name << std::string(width - name.size(), ' ');
    for (const auto& cell : cells) std::cout << std::setw(10) << cell;
    std::cout << '\n';
  };
  const auto cell = [](const std::optional<double>& value) {
    if (!value) return std::string("-");
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.4g", *value);
    return std::string(text.data());
  };
  std::cout << metric << " of each step, its mean over the last " << kFinalSteps
            << ", and the mean reward on held-out prompts\n";
  print("run", {"steps", "mean", "final", "before", "after"});
  for (const auto& run : runs) {
    print(run.name, {std::to_string(run.points.size()), cell(mean_of_last(run.points, run.points.size())),
                     cell(mean_of_last(run.points, kFinalSteps)), cell(run.before), cell(run.after)});
  }
}

void write_chart(const std::string& file, const std::vector<ComparedRun>& runs, const std::string& metric) {
  std::vector<monitor::ChartSeries> series;
  for (const auto& run : runs) series.push_back({.name = run.name, .points = run.points});
  write_file_atomically(file, monitor::line_chart(series, {.title = metric}));
}

}  // namespace

Command add_compare(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> runs;
    std::string metric = "reward", svg;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("runs", arguments->runs, "Run directories, finished or not")->required();
  app.add_option("--metric", arguments->metric, "A name of metrics.jsonl")->capture_default_str();
  app.add_option("--svg", arguments->svg, "Where to draw the curves");
  app.add_flag("--json", arguments->json, "Print figures and points as JSON");
  return [arguments] {
    const auto runs = read_runs(arguments->runs, arguments->metric);
    if (!arguments->svg.empty()) write_chart(arguments->svg, runs, arguments->metric);
    if (arguments->json) {
      Json report = Json::array();
      for (const auto& run : runs) report.push_back(to_json(run));
      std::cout << report.dump(2) << '\n';
      return 0;
    }
    print_table(runs, arguments->metric);
    return 0;
  };
}

}  // namespace sluice::app
