#include "learner/internal/arrived_group.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "buffers/group_id.h"
#include "learner/advantages.h"
#include "rewards/reward_mix.h"

namespace sluice::learner::internal {
namespace {

constexpr size_t kMaxReason = 200;  // of a scorer: it is counted by its text, and shown

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Why a completion has no score, or "" when it has one.
std::string unscored_reason(const std::vector<rewards::RewardOutcome>& outcomes,
                            const std::vector<double>& weights) {
  if (rewards::total_reward(outcomes, weights)) return "";
  for (const auto& outcome : outcomes) {
    if (!outcome.unscored_reason.empty()) return outcome.unscored_reason.substr(0, kMaxReason);
  }
  return "no scorer gave a score";
}

// What is wrong with the numbers that the policy computed, or "".
std::string bad_number(const buffers::Completion& completion) {
  const auto is_logprob = [](float value) { return std::isfinite(value) && value <= 0.0f; };
  const auto is_mass = [](float value) { return value > 0.0f && value <= 1.0f; };
  if (!std::ranges::all_of(completion.logprobs, is_logprob)) {
    return "the recorded log-prob of a token is not finite, or above 0";
  }
  if (!std::ranges::all_of(completion.kept_mass, is_mass)) {
    return "the mass kept where a token was drawn is not above 0 and at most 1";
  }
  return "";
}

Json to_json(const rewards::RewardOutcome& outcome) {
  if (!outcome.score) return {{"unscored", outcome.unscored_reason}};
  return {{"score", *outcome.score}, {"parts", outcome.parts}};
}

Json to_json(const buffers::Completion& completion) {
  Json outcomes = Json::array();
  for (const auto& outcome : completion.outcomes) outcomes.push_back(to_json(outcome));
  return {{"text", completion.text},
          {"num_tokens", completion.tokens.size()},
          {"finish", completion.finish == buffers::FinishReason::Length ? "length" : "stop"},
          {"outcomes", outcomes}};
}

}  // namespace

std::string misfit(const buffers::RolloutGroup& group, const buffers::Lease& lease, size_t num_rewards,
                   int64_t max_tokens) {
  const auto who = "group " + buffers::group_name(group.group);
  if (group.prompt.empty()) return sentence(who, " has an empty prompt");
  if (group.prompt_text != lease.row.prompt) {
    return sentence(who, " has another prompt than ", lease.row.where());
  }
  if (static_cast<int64_t>(group.completions.size()) != lease.num_samples) {
    return sentence(who, " has ", group.completions.size(), " completions, ", lease.num_samples,
                    " were asked for");
  }
  const size_t num_greedy = lease.greedy_baseline ? num_rewards : 0;
  if (group.greedy.size() != num_greedy) {
    return sentence("group ", group.group, " has ", group.greedy.size(),
                    " outcomes for a greedy completion, the lease asks for ", num_greedy);
  }
  for (const auto& completion : group.completions) {
    if (completion.outcomes.size() != num_rewards) {
      return sentence(who, " has ", completion.outcomes.size(), " outcomes for a completion, the run has ",
                      num_rewards, " rewards");
    }
    const auto length = std::ssize(group.prompt) + std::ssize(completion.tokens);
    if (length > max_tokens) {
      return sentence(who, " has a sequence of ", length, " tokens, the model takes ", max_tokens);
    }
  }
  if (!lease.exact_version) return "";
  if (group.step != lease.step) {
    return sentence(who, " is for step ", group.step, ", it was leased for step ", lease.step);
  }
  for (const auto& completion : group.completions) {
    for (const int64_t version : completion.versions) {
      if (version == lease.version) continue;
      return sentence(who, " has a token of version ", version, ", the lease names version ", lease.version);
    }
  }
  return "";
}

std::string quarantine_reason(const buffers::RolloutGroup& group, const std::vector<double>& reward_weights,
                              int64_t min_scored) {
  for (const auto& completion : group.completions) {
    if (const auto reason = bad_number(completion); !reason.empty()) return reason;
  }
  int64_t num_scored = 0;
  std::string first;
  try {
    for (const auto& completion : group.completions) {
      const auto reason = unscored_reason(completion.outcomes, reward_weights);
      if (reason.empty()) ++num_scored;
      if (first.empty()) first = reason;
    }
    const auto reason = group.greedy.empty() ? "" : unscored_reason(group.greedy, reward_weights);
    if (!reason.empty()) return "no baseline: the greedy completion has no score (" + reason + ")";
  } catch (const DataError& error) {
    return error.what();  // the sum is not finite
  }
  // A group smaller than the bound (one sample) is not short of anything when all of it is scored.
  const auto wanted = std::min(min_scored, static_cast<int64_t>(group.completions.size()));
  if (num_scored >= wanted) return "";
  return sentence("too few scored samples: ", num_scored, " of ", group.completions.size(), " (", first, ")");
}

bool has_spread(const buffers::RolloutGroup& group, const std::vector<double>& reward_weights) {
  std::vector<std::optional<double>> rewards;
  for (const auto& completion : group.completions) {
    rewards.push_back(rewards::total_reward(completion.outcomes, reward_weights));
  }
  return learner::has_spread(rewards);
}

void write_quarantine_file(const std::filesystem::path& folder, const buffers::Lease& lease,
                           const std::string& reason, const buffers::RolloutGroup* group) {
  Json json = {
      {"group", lease.group},
      {"reason", reason},
      {"step", lease.step},
      {"row", lease.row.where()},
      {"prompt", group != nullptr && !group->prompt_text.empty() ? group->prompt_text : lease.row.prompt},
      {"columns", lease.row.columns}};
  if (group != nullptr) {
    json["actor"] = group->actor;
    json["attempt"] = group->attempt;
    json["completions"] = Json::array();
    for (const auto& completion : group->completions) json["completions"].push_back(to_json(completion));
  }
  char slot[24];
  std::snprintf(slot, sizeof(slot), "%08llu", static_cast<unsigned long long>(buffers::slot_of(lease.group)));
  const int64_t refill = buffers::refill_of(lease.group);
  const std::string name =
      "group_" + std::string(slot) + (refill == 0 ? "" : "_refill_" + std::to_string(refill)) + ".json";
  std::filesystem::create_directories(folder);
  // The policy's text need not be UTF-8.
  write_file_atomically(folder / name, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace sluice::learner::internal
