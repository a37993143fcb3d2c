#include "monitor/live_line.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <numeric>

#include "base/terminal.h"
#include "base/terminal_text.h"

namespace sluice::monitor {
namespace {

constexpr size_t kRecentSteps = 20;
constexpr size_t kWidest = 40;  // of the bar

}  // namespace

double stage_share(const StepReport& report) {
  return std::clamp(
      static_cast<double>(report.stage_step) / static_cast<double>(std::max<int64_t>(report.stage_steps, 1)),
      0.0, 1.0);
}

std::string progress_bar(double share, size_t signs) {
  const auto full = static_cast<size_t>(share * static_cast<double>(signs));
  return "[" + std::string(full, '#') + std::string(signs - full, '-') + "]";
}

double seconds_left(const StepReport& report, const std::vector<double>& step_times) {
  const double sum = std::accumulate(step_times.begin(), step_times.end(), 0.0);
  return sum / static_cast<double>(step_times.size()) *
         static_cast<double>(report.stage_steps - report.stage_step);
}

std::string live_text(const StepReport& report, const std::vector<double>& step_times, size_t columns) {
  const double share = stage_share(report);
  std::string text = "  " + std::to_string(static_cast<int>(share * 100)) + "%  " +
                     std::to_string(report.stage_steps - report.stage_step) + " steps";
  if (!step_times.empty()) text += ", " + format_seconds(seconds_left(report, step_times));
  text += " left";
  const std::string name = inert(report.stage);
  const size_t taken = name.size() + text.size() + 4;  // brackets, a space and the last column
  if (columns > taken + 4) text.insert(0, " " + progress_bar(share, std::min(kWidest, columns - taken)));
  return (name + text).substr(0, columns > 0 ? columns - 1 : 0);
}

LiveLine::LiveLine() : interactive_(is_interactive(STDOUT_FILENO) && is_interactive(STDERR_FILENO)) {}

LiveLine::~LiveLine() { clear(); }

void LiveLine::clear() {
  if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

void LiveLine::draw(const StepReport& report) {
  const auto time = report.metrics.find("step_time");
  if (time != report.metrics.end()) step_times_.push_back(time->second);
  if (step_times_.size() > kRecentSteps) step_times_.erase(step_times_.begin());
  if (!interactive_ || report.stage_step >= report.stage_steps) return;
  std::cerr << "\r\x1b[K" << live_text(report, step_times_, terminal_size(STDERR_FILENO).columns)
            << std::flush;
  drawn_ = true;
}

}  // namespace sluice::monitor
