#include "app/reward_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <span>

#include "app/bench/report.h"
#include "base/error.h"
#include "base/stopwatch.h"
#include "base/terminal.h"

namespace sluice::app {
namespace {

using rewards::RewardMix;
using rewards::RewardOutcome;
using rewards::RewardRequest;

constexpr int64_t kProfiledGroup = 64;
constexpr int kReps = 5;
constexpr double kRepSeconds = 0.3;
constexpr size_t kShownCharacters = 400;  // of a text

// A scorer's reason may quote bytes that are no text.
std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

struct Scored {
  std::vector<RewardOutcome> outcomes;  // none where there was nothing to score
  std::optional<double> total;
  std::string reason;  // why there is no total
  double seconds = 0;  // its share of its group's
};

// The rows that can be scored, `group` at a time.
std::vector<std::vector<size_t>> groups_of(const std::vector<TrialRow>& rows, int64_t group) {
  std::vector<std::vector<size_t>> groups;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].problem.empty()) continue;
    if (groups.empty() || std::ssize(groups.back()) == group) groups.emplace_back();
    groups.back().push_back(i);
  }
  return groups;
}

std::vector<RewardRequest> requests_of(const std::vector<TrialRow>& rows, const std::vector<size_t>& group) {
  std::vector<RewardRequest> requests;
  for (const size_t i : group) {
    requests.push_back({.group = group.front(),
                        .sample = std::ssize(requests),
                        .row = &rows[i].row,
                        .completion = rows[i].completion,
                        .tokens = rows[i].ids});
  }
  return requests;
}

// As a run has it: the weighted sum, and without any score the first reason.
void sum_up(Scored& scored, const RewardMix& mix) {
  scored.total = total_reward(scored.outcomes, mix.weights());
  if (scored.total) return;
  for (const auto& outcome : scored.outcomes) {
    if (scored.reason.empty()) scored.reason = outcome.unscored_reason;
  }
}

Json to_json(const TrialRow& row, const Scored& scored, const RewardMix& mix) {
  Json rewards = Json::object();
  for (size_t k = 0; k < scored.outcomes.size(); ++k) {
    const auto& outcome = scored.outcomes[k];
    rewards[mix.names()[k]] = {{"score", outcome.score ? Json(*outcome.score) : Json()},
                               {"weight", mix.weights()[k]},
                               {"parts", outcome.parts},
                               {"reason", outcome.score ? Json() : Json(outcome.unscored_reason)}};
  }
  return {{"row", row.row.where()},
          {"prompt", row.row.messages.is_null() ? Json(row.row.prompt) : row.row.messages},
          {"completion", row.completion},
          {"gold", row.gold.empty() ? Json() : Json(row.gold)},
          {"score", scored.total ? Json(*scored.total) : Json()},
          {"reason", scored.total ? Json() : Json(scored.reason)},
          {"rewards", rewards},
          {"seconds", scored.seconds}};
}

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

std::string quoted(const std::string& text) {
  const bool cut = text.size() > kShownCharacters;
  return dump(Json(text.substr(0, kShownCharacters))) + (cut ? " ..." : "");
}

void print_row(const TrialRow& row, const Scored& scored, const RewardMix& mix) {
  size_t width = std::string_view("completion").size();
  for (const auto& name : mix.names()) width = std::max(width, name.size());
  const auto line = [&](const std::string& name, const std::string& value) {
    std::cout << "  " << name << std::string(width + 2 - name.size(), ' ') << value << '\n';
  };
  std::cout << row.row.where() << '\n';
  line("prompt", quoted(row.row.asked()));
  line("completion", quoted(row.completion));
  if (!row.gold.empty()) line("gold", quoted(row.gold));
  for (size_t k = 0; k < scored.outcomes.size(); ++k) {
    const auto& outcome = scored.outcomes[k];
    std::string parts;
    for (const auto& [part, value] : outcome.parts) parts += "  " + part + " " + number(value);
    line(mix.names()[k], outcome.score ? number(*outcome.score) + " x " + number(mix.weights()[k]) + parts
                                       : "unscored: " + outcome.unscored_reason);
  }
  line("total", scored.total ? number(*scored.total) : "unscored: " + scored.reason);
  line("time", number(scored.seconds * 1e3) + " ms");
}

int report_scores(const Trial& trial, const ReportOptions& options) {
  const RewardMix mix = trial.mix(trial.scorers);
  const auto& rows = trial.rows;
  std::vector<Scored> scored(rows.size());
  for (const auto& group : groups_of(rows, std::max<int64_t>(1, options.group))) {
    const auto requests = requests_of(rows, group);
    const Stopwatch watch;
    auto outcomes = mix.score(requests);
    const double seconds = watch.seconds() / static_cast<double>(group.size());
    for (size_t j = 0; j < group.size(); ++j) {
      scored[group[j]].outcomes = std::move(outcomes[j]);
      scored[group[j]].seconds = seconds;
      sum_up(scored[group[j]], mix);
    }
  }
  int64_t unscored = 0;
  double sum = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].problem.empty()) scored[i].reason = rows[i].problem;
    unscored += scored[i].total ? 0 : 1;
    sum += scored[i].total.value_or(0.0);
    if (options.json) {
      std::cout << dump(to_json(rows[i], scored[i], mix)) << '\n';
    } else {
      print_row(rows[i], scored[i], mix);
    }
  }
  if (options.json) return 0;
  const int64_t num_scored = std::ssize(rows) - unscored;
  std::cout << format_count(std::ssize(rows)) << " rows: " << format_count(num_scored) << " scored";
  if (num_scored > 0) std::cout << ", mean " << number(sum / static_cast<double>(num_scored));
  std::cout << "; " << format_count(unscored) << " unscored\n";
  return 0;
}

// Samples a second, of all rows scored over and over.
Figure measure(const RewardMix& mix, const std::vector<std::vector<RewardRequest>>& groups) {
  std::vector<double> rates;
  for (int rep = 0; rep < kReps; ++rep) {
    int64_t samples = 0;
    const Stopwatch watch;
    do {
      for (const auto& group : groups) {
        mix.score(group);
        samples += std::ssize(group);
      }
    } while (watch.seconds() < kRepSeconds);
    rates.push_back(static_cast<double>(samples) / watch.seconds());
  }
  return summarise(std::move(rates));
}

int report_profile(const Trial& trial, const ReportOptions& options) {
  std::vector<std::vector<RewardRequest>> groups;
  int64_t samples = 0;
  for (const auto& group : groups_of(trial.rows, options.group == 0 ? kProfiledGroup : options.group)) {
    groups.push_back(requests_of(trial.rows, group));
    samples += std::ssize(group);
  }
  require<DataError>(samples > 0, "reward test: none of ", trial.rows.size(),
                     " rows can be scored; the first: ", trial.rows.front().problem);
  for (const auto& scorer : trial.scorers) {
    const RewardMix mix = trial.mix({scorer});
    const auto figure = measure(mix, groups);
    if (options.json) {
      std::cout << dump({{"reward", mix.names()[0]},
                         {"samples_per_s", figure.median},
                         {"spread", figure.spread},
                         {"rows", samples},
                         {"reps", kReps}})
                << '\n';
      continue;
    }
    std::cout << mix.names()[0] << ": " << format_count(static_cast<int64_t>(figure.median))
              << " samples/s +- " << number(100 * figure.spread) << "% (median of " << kReps << ", over "
              << format_count(samples) << " rows, one thread)\n";
  }
  return 0;
}

}  // namespace

int report_trial(const Trial& trial, const ReportOptions& options) {
  return options.profile ? report_profile(trial, options) : report_scores(trial, options);
}

}  // namespace sluice::app
