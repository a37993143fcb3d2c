#include "app/top_screen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/clock.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "monitor/live_line.h"
#include "monitor/step_report.h"

namespace sluice::app {
namespace {

using recipes::RunState;
using recipes::RunView;

constexpr std::string_view kBold = "\x1b[1m", kDim = "\x1b[2m", kRed = "\x1b[31m", kGreen = "\x1b[32m";
constexpr size_t kMostRoles = 6;
constexpr size_t kLabel = 9, kValue = 10, kNumber = 10;
// What stands beside a curve, with two spaces on either side of it: "  0.12 .. 0.15" on its right.
constexpr size_t kTexts = kLabel + kValue + 2 + 2 + kNumber + 4 + kNumber;

struct Curve {
  const char* label;
  const char* metric;
};
constexpr std::array kCurves = {Curve{"reward", "reward"},
                                Curve{"kl", "kl"},
                                Curve{"entropy", "entropy"},
                                Curve{"length", "completions/mean_length"},
                                Curve{"loss", "loss"},
                                Curve{"margin", "rewards/margins"},
                                Curve{"accuracy", "rewards/accuracies"},
                                Curve{"grad", "grad_norm"},
                                Curve{"step s", "step_time"}};

// Whole from a thousand on, else of three digits: at most kNumber bytes, as in -2.1e-05.
std::string number(double value) {
  const bool whole = std::abs(value) < 1e9 && (std::abs(value) >= 1e3 || value == std::trunc(value));
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%.3g", value);
  return text.data();
}

struct Row {
  std::string text;  // inert once it is printed
  std::string_view style = {};
};

std::optional<double> metric(const RunView& view, const std::string& name) {
  if (view.newest() == nullptr) return std::nullopt;
  const auto found = view.newest()->metrics.find(name);
  return found == view.newest()->metrics.end() ? std::nullopt : std::optional(found->second);
}

std::string head(const RunView& view) {
  std::string text = view.name() + "  " + std::string(state_name(view.state()));
  if (const auto& record = view.record(); record && record->started > 0) {
    const bool ended = record->code.has_value();
    text += " " + format_seconds((ended ? record->ended : wall_seconds()) - record->started);
  }
  if (const auto* step = view.newest()) {
    text += "   " + step->stage + " " + std::to_string(step->stage_step) + "/" +
            std::to_string(step->stage_steps);
    size_t number = 0;
    for (const auto& stage : view.recipe().stages) {
      ++number;
      if (stage.name == step->stage)
        text += ", stage " + std::to_string(number) + " of " + std::to_string(view.recipe().stages.size());
    }
  }
  const auto left = view.seconds_left();
  if (view.state() == RunState::Running && left) text += "   " + format_seconds(*left) + " left of the stage";
  return text;
}

std::string bar(const monitor::StepReport& step, size_t columns) {
  const double share = monitor::stage_share(step);
  return monitor::progress_bar(share, columns > 10 ? std::min<size_t>(columns - 8, 60) : 2) + " " +
         std::to_string(static_cast<int>(share * 100)) + "%";
}

void add_curves(const RunView& view, const TopStyle& style, std::vector<Row>& rows) {
  const size_t room = style.columns > kTexts ? style.columns - kTexts : 0;
  for (const auto& curve : kCurves) {
    if (!metric(view, curve.metric)) continue;
    const auto values = view.values(curve.metric, std::max<size_t>(room, 1));
    std::string label = curve.label, value = number(values.back());
    label.resize(kLabel, ' ');
    value.insert(0, kValue - std::min(kValue, value.size()), ' ');
    std::string text = label + value;
    if (room > 0) {
      const auto [low, high] = std::ranges::minmax(values);
      text += "  " + sparkline(values, room, style.blocks) +
              std::string(room - std::min(room, values.size()), ' ') + "  " + number(low) + " .. " +
              number(high);
    }
    rows.push_back({text});
  }
}

void add_flow(const RunView& view, std::vector<Row>& rows) {
  std::string text;
  const auto add = [&](const char* label, const char* name, const char* unit) {
    const auto value = metric(view, name);
    if (value) text += (text.empty() ? "" : "  ") + std::string(label) + " " + number(*value) + unit;
  };
  add("queue", "queue/depth", "");
  add("credits", "queue/credits", "");
  add("age", "queue/age", "s");
  add("version", "policy/version", "");
  add("lag", "policy/lag", "");
  add("tok/s", "tokens_per_s", "");
  add("cut", "completions/clipped_ratio", "");
  if (!text.empty()) rows.push_back({text});
  std::string time;
  for (const auto& [part, share] : view.time_shares()) {
    const int percent = static_cast<int>(std::lround(share * 100));
    if (percent > 0) time += (time.empty() ? "" : "   ") + part + " " + std::to_string(percent) + "%";
  }
  if (!time.empty()) rows.push_back({"time     " + time});
}

void add_roles(const RunView& view, std::vector<Row>& rows) {
  if (!view.is_alive()) return;
  size_t shown = 0;
  for (const auto& role : view.roles()) {
    if (++shown > kMostRoles) continue;
    std::string name = role.name;
    name.resize(std::max(name.size(), kLabel), ' ');
    rows.push_back({name + "  " + role.doing, kDim});
  }
  if (shown > kMostRoles) rows.push_back({"... and " + std::to_string(shown - kMostRoles) + " more", kDim});
}

void add_end(const RunView& view, std::vector<Row>& rows) {
  const auto& record = view.record();
  if (view.state() == RunState::Failed && record && !record->cause.empty())
    rows.push_back({record->cause, kRed});
  if (view.state() == RunState::Killed) rows.push_back({"no process of it is left, and none said why", kRed});
  const bool ill = view.state() == RunState::Failed || view.state() == RunState::Killed;
  if (ill) rows.push_back({"why: sluice doctor " + view.run().root().string()});
  if (view.state() == RunState::Stopped && record) rows.push_back({"goes on with: " + record->resume});
}

// A line of one style, exactly as wide as what it says.
std::string printed(const Row& row, const TopStyle& style) {
  std::string text = fitted_line(row.text, style.columns);
  text.resize(text.find_last_not_of(' ') + 1);
  return style.colour && !row.style.empty() ? std::string(row.style) + text + std::string(kStyleOff) : text;
}

}  // namespace

std::string sparkline(const std::vector<double>& values, size_t columns, bool blocks) {
  constexpr std::array kBlocks = {"\u2581", "\u2582", "\u2583", "\u2584",
                                  "\u2585", "\u2586", "\u2587", "\u2588"};
  constexpr std::array kLetters = {"_", ".", ":", "-", "=", "+", "*", "#"};
  double low = INFINITY, high = -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  std::string line;
  for (size_t i = values.size() - std::min(columns, values.size()); i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      line += "!";
      continue;
    }
    const double height = high > low ? (values[i] - low) / (high - low) : 0.5;
    const auto level = static_cast<size_t>(std::lround(height * 7));
    line += blocks ? kBlocks[level] : kLetters[level];
  }
  return line;
}

std::vector<std::string> top_lines(const RunView& view, const TopStyle& style) {
  std::vector<Row> rows, alarms;
  const bool fell = view.state() == RunState::Failed || view.state() == RunState::Killed;
  rows.push_back({head(view), fell ? kRed : kBold});
  if (const auto* step = view.newest()) {
    rows.push_back({bar(*step, style.columns), kGreen});
    add_curves(view, style, rows);
    add_flow(view, rows);
  } else {
    rows.push_back({"no step yet"});
  }
  add_end(view, rows);
  for (const auto& alarm : view.alarms()) {
    alarms.push_back(
        {"! " + alarm.rule + " since step " + std::to_string(alarm.since_step) + ": " + alarm.sentence,
         kRed});
    alarms.push_back({"  " + alarm.suggestion, kDim});
  }
  add_roles(view, rows);
  if (view.newest() != nullptr && alarms.empty()) alarms.push_back({"no alarm", kDim});
  const size_t for_alarms = std::min(alarms.size(), style.rows / 2);
  rows.resize(std::min(rows.size(), style.rows - for_alarms));
  rows.insert(rows.end(), alarms.begin(), alarms.begin() + static_cast<std::ptrdiff_t>(for_alarms));
  std::vector<std::string> lines;
  for (const auto& row : rows) lines.push_back(printed(row, style));
  return lines;
}

}  // namespace sluice::app
