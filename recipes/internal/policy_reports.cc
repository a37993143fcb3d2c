#include "recipes/internal/policy_reports.h"

#include <cmath>
#include <filesystem>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "base/replace_file.h"
#include "buffers/group_id.h"

namespace sluice::recipes {
namespace {

// "ids" and "log_ratios" of the chosen tokens, in four decimals; as many as are left of `room`.
void add_tokens(Json& json, const buffers::Completion& completion, const std::vector<float>& log_ratios,
                int64_t& room) {
  Json ids = Json::array(), ratios = Json::array();
  for (size_t i = 0, chosen = 0; i < completion.tokens.size() && room > 0; ++i) {
    if (completion.mask[i] == 0 || chosen >= log_ratios.size()) continue;
    ids.push_back(completion.tokens[i]);
    ratios.push_back(std::round(double{log_ratios[chosen++]} * 1e4) / 1e4);
    --room;
  }
  if (ids.empty()) return;
  json["ids"] = std::move(ids);
  json["log_ratios"] = std::move(ratios);
}

}  // namespace

void write_rollouts(const std::filesystem::path& file, const learner::TrainingBatch& batch,
                    const learner::TokenLogRatios& log_ratios) {
  std::ostringstream lines;
  int64_t room = kRecordedTokens;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const auto& group = batch.groups[g];
    Json completions = Json::array();
    for (size_t i = 0; i < group.completions.size(); ++i) {
      const auto& completion = group.completions[i];
      Json outcomes = Json::array();
      for (const auto& outcome : completion.outcomes) {
        outcomes.push_back(outcome.score ? Json(*outcome.score)
                                         : Json{{"unscored", outcome.unscored_reason}});
      }
      completions.push_back({{"text", completion.text},
                             {"reward", batch.rewards[g][i] ? Json(*batch.rewards[g][i]) : Json()},
                             {"advantage", batch.advantages[g][i]},
                             {"outcomes", outcomes},
                             {"tokens", completion.tokens.size()}});
      const auto ratios = log_ratios.find({g, i});
      if (ratios != log_ratios.end()) add_tokens(completions.back(), completion, ratios->second, room);
    }
    Json line = {{"group", group.group},
                 {"prompt", group.prompt_text},
                 {"refill", buffers::refill_of(group.group)},
                 {"actor", group.actor},
                 {"version", group.oldest_version()},
                 {"completions", completions}};
    if (!batch.baselines.empty()) line["baseline"] = batch.baselines[g];
    lines << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  const auto error = replace_file(file, lines.str());
  require<EnvironmentError>(!error, "rollouts: cannot write ", file.string(), ": ", error.message());
}

monitor::StepDetail step_detail(const learner::TrainingBatch& batch) {
  constexpr size_t kShown = 3;
  monitor::StepDetail detail;
  auto& rewards = detail.distributions["distributions/reward"];
  auto& lengths = detail.distributions["distributions/length"];
  auto& advantages = detail.distributions["distributions/advantage"];
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const auto& group = batch.groups[g];
    for (size_t i = 0; i < group.completions.size(); ++i) {
      const auto& completion = group.completions[i];
      lengths.push_back(static_cast<double>(completion.tokens.size()));
      advantages.push_back(batch.advantages[g][i]);
      if (const auto& reward = batch.rewards[g][i]) rewards.push_back(*reward);
      if (i > 0 || g >= kShown) continue;
      const auto& reward = batch.rewards[g][i];
      detail.texts["completions/" + std::to_string(g + 1)] = group.prompt_text + "\n--- earned " +
                                                             (reward ? std::to_string(*reward) : "no score") +
                                                             "\n" + completion.text;
    }
  }
  return detail;
}

void add_queue_metrics(learner::StepMetrics& metrics, const learner::RolloutStatus& status) {
  const auto& law = status.law;
  metrics["queue/depth"] = static_cast<double>(status.queue_depth);
  metrics["queue/credits"] = static_cast<double>(status.credits);
  metrics["queue/age"] = status.oldest_age_s;
  metrics["queue/journal_mb"] = static_cast<double>(status.journal_bytes) / (1 << 20);
  metrics["queue/duplicates"] = static_cast<double>(status.duplicates);
  metrics["queue/rejected"] = static_cast<double>(status.rejected_frames);
  for (const auto& [name, member] : buffers::kLedgerCounts) {
    metrics[std::string("law/") + name] = static_cast<double>(law.*member);
  }
}

}  // namespace sluice::recipes
