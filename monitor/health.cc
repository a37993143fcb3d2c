#include "monitor/health.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice::monitor {
namespace {

template <class Steps>
std::vector<double> values_of(const Steps& steps, size_t begin, const std::string& metric) {
  std::vector<double> values;
  for (size_t i = begin; i < steps.size(); ++i) {
    const auto found = steps[i].metrics.find(metric);
    if (found != steps[i].metrics.end() && std::isfinite(found->second)) values.push_back(found->second);
  }
  if (2 * values.size() < steps.size() - begin) values.clear();
  return values;
}

}  // namespace

void StageSteps::add(const StepReport& report) {
  if (first_.size() < kFirst) first_.push_back(report);
  last_.push_back(report);
  if (last_.size() > kLast) last_.pop_front();
  add_held_out(report);
}

void StageSteps::add_held_out(const StepReport& report) {
  const auto value = [&](const char* metric) {
    const auto found = report.metrics.find(metric);
    return found != report.metrics.end() && std::isfinite(found->second) ? std::optional(found->second)
                                                                         : std::nullopt;
  };
  const auto reward = value("reward"), exact = value("eval_exact"), prompts = value("eval_prompts");
  if (reward) {
    rewards_ += *reward;
    spreads_ += value("reward_std").value_or(0);
    ++rewarded_;
  }
  if (!exact || !prompts || rewarded_ == 0) return;
  const auto steps = static_cast<double>(std::exchange(rewarded_, 0));
  held_out_.push_back(
      {*exact, *prompts, std::exchange(rewards_, 0.0) / steps, std::exchange(spreads_, 0.0) / steps});
  if (held_out_.size() > kLast) held_out_.pop_front();
}

std::vector<double> StageSteps::last(const std::string& metric, int64_t count) const {
  if (std::ssize(last_) < count) return {};
  return values_of(last_, last_.size() - static_cast<size_t>(count), metric);
}

std::vector<double> StageSteps::first(const std::string& metric) const {
  if (first_.size() < kFirst) return {};
  return values_of(first_, 0, metric);
}

void check_health_rules(const std::vector<std::string>& names, const std::string& who) {
  std::vector<std::string> known;
  std::string all;
  for (const auto& rule : health_rules()) {
    known.push_back(rule.name);
    all += (all.empty() ? "" : ", ") + rule.name;
  }
  for (const auto& name : names) {
    if (std::ranges::count(known, name) > 0) continue;
    fail<UsageError>(who, ": there is no health rule \"", name, "\"",
                     did_you_mean(name, known, "; there are " + all));
  }
}

HealthWatch::HealthWatch(std::vector<std::string> off) : off_(std::move(off)) {
  check_health_rules(off_, "health.off");
}

const std::vector<Alarm>& HealthWatch::after(const StepReport& report) {
  if (report.stage != stage_) {
    steps_ = {};
    standing_.clear();
  }
  stage_ = report.stage;
  step_ = report.step;
  steps_.add(report);
  alarms_.clear();
  for (const auto& rule : health_rules()) {
    if (std::ranges::count(off_, rule.name) > 0) continue;
    const auto seen = rule.see(rule, steps_);
    const auto found = standing_.find(rule.name);
    if (!seen.empty()) {
      auto& standing = standing_[rule.name];
      const int64_t since = found == standing_.end() ? report.step : standing.alarm.since_step;
      standing = {{rule.name, seen, rule.suggestion, since}};
    } else if (found != standing_.end() && ++found->second.calm_steps >= kCalmSteps) {
      standing_.erase(found);
    }
    if (const auto stands = standing_.find(rule.name); stands != standing_.end())
      alarms_.push_back(stands->second.alarm);
  }
  return alarms_;
}

std::vector<Alarm> HealthWatch::raised() const {
  std::vector<Alarm> raised;
  for (const auto& alarm : alarms_) {
    if (alarm.since_step == step_) raised.push_back(alarm);
  }
  return raised;
}

}  // namespace sluice::monitor
