#include "learner/training_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "learner/internal/completion_rows.h"
#include "model/pack_bins.h"
#include "rewards/reward_mix.h"

namespace sluice::learner {
namespace {

using buffers::Completion;
using buffers::RolloutGroup;

void check_group(const RolloutGroup& group, size_t num_scorers, int64_t max_new_tokens) {
  require<DataError>(!group.prompt.empty(), "make_training_batch: group ", group.group,
                     " has an empty prompt");
  for (size_t i = 0; i < group.completions.size(); ++i) {
    const Completion& completion = group.completions[i];
    const size_t length = completion.tokens.size();
    require<DataError>(std::ssize(completion.tokens) <= max_new_tokens, "make_training_batch: completion ", i,
                       " of group ", group.group, " has ", length, " tokens, at most ", max_new_tokens,
                       " were asked for");
    require<DataError>(completion.mask.size() == length && completion.logprobs.size() == length &&
                           completion.kept_mass.size() == length && completion.versions.size() == length,
                       "make_training_batch: completion ", i, " of group ", group.group, " has ", length,
                       " tokens, a mask of ", completion.mask.size(), ", ", completion.logprobs.size(),
                       " log-probs, ", completion.kept_mass.size(), " kept masses and ",
                       completion.versions.size(), " versions");
    for (size_t t = 0; t < length; ++t) {
      const float kept = completion.kept_mass[t];
      require<DataError>(completion.mask[t] == 0 || (kept > 0.0f && kept <= 1.0f),
                         "make_training_batch: token ", t, " of completion ", i, " of group ", group.group,
                         " has a kept mass of ", kept);
    }
    require<DataError>(completion.outcomes.size() == num_scorers, "make_training_batch: completion ", i,
                       " of group ", group.group, " has ", completion.outcomes.size(),
                       " outcomes, there are ", num_scorers, " scorers");
  }
}

double greedy_reward(const RolloutGroup& group, const std::vector<double>& reward_weights) {
  const auto reward = group.greedy.size() == reward_weights.size()
                          ? rewards::total_reward(group.greedy, reward_weights)
                          : std::nullopt;
  require<DataError>(reward.has_value(), "make_training_batch: group ", group.group,
                     " has no score of a greedy completion to be measured against");
  return *reward;
}

int64_t num_chosen(const Completion& completion) {
  return std::ranges::count_if(completion.mask, [](uint8_t chosen) { return chosen != 0; });
}

// Completions of one group that go into a pack together.
struct Piece {
  size_t group = 0;
  std::vector<size_t> completions;
  int64_t rows = 0;  // the prompt's included
};

int64_t num_rows(const TrainingBatch& batch, const Completion& completion) {
  return batch.bootstraps(completion) ? std::ssize(completion.tokens)
                                      : static_cast<int64_t>(internal::num_input_rows(completion.mask));
}

void cut_group(const TrainingBatch& batch, size_t index, int64_t max_tokens, std::vector<Piece>& pieces) {
  const RolloutGroup& group = batch.groups[index];
  const auto prompt_rows = static_cast<int64_t>(group.prompt.size());
  Piece piece{.group = index, .completions = {}, .rows = prompt_rows};
  for (size_t i = 0; i < group.completions.size(); ++i) {
    if (batch.leaves_out(group.completions[i]) || num_chosen(group.completions[i]) == 0) continue;
    const int64_t rows = num_rows(batch, group.completions[i]);
    if (!piece.completions.empty() && piece.rows + rows > max_tokens) {
      pieces.push_back(std::exchange(piece, {.group = index, .completions = {}, .rows = prompt_rows}));
    }
    piece.completions.push_back(i);
    piece.rows += rows;
  }
  if (!piece.completions.empty()) pieces.push_back(std::move(piece));
}

size_t end_of(const TrainingBatch& batch, const GroupRange& groups) {
  const size_t behind = batch.groups.size() - std::min(batch.groups.size(), groups.first);
  return groups.first + std::min(groups.count, behind);
}

std::vector<Piece> cut_groups(const TrainingBatch& batch, int64_t max_tokens, IdleGroups idle,
                              const GroupRange& groups, int64_t ranks) {
  std::vector<Piece> pieces;
  const size_t end = end_of(batch, groups);
  for (size_t i = groups.first; i < end; ++i) {
    const bool is_idle = std::ranges::all_of(batch.advantages[i], [](double value) { return value == 0.0; });
    if (is_idle && idle == IdleGroups::LeaveOut) continue;
    cut_group(batch, i, max_tokens, pieces);
  }
  if (ranks == 1) return pieces;
  int64_t rows = 0;
  for (const auto& piece : pieces) rows += piece.rows;
  const int64_t share = (rows + ranks - 1) / ranks;
  return share == 0 || share >= max_tokens ? pieces : cut_groups(batch, share, idle, groups, /*ranks=*/1);
}

// Collects pieces, then makes the tensors at once.
class MicroBatchBuilder {
 public:
  explicit MicroBatchBuilder(const TrainingBatch& batch) : batch_(batch) {}

  void add(const Piece& piece) {
    const RolloutGroup& group = batch_.groups[piece.group];
    const int64_t most = batch_.max_new_tokens;
    rows_.add_prompt(group.prompt, most == 0 ? 0 : std::ssize(group.prompt) + most);
    for (const size_t i : piece.completions) {
      add(group.completions[i], batch_.advantages[piece.group][i]);
      completions_.push_back({piece.group, i});
    }
  }

  MicroBatch build(const at::Device& device) const {
    return {.batch = rows_.batch(device),
            .targets = rows_.targets(device),
            .lengths = rows_.lengths(),
            .behaviour_logprobs = at::tensor(logprobs_, at::kFloat).to(device),
            .kept_mass = at::tensor(kept_mass_, at::kFloat).to(device),
            .advantages = at::tensor(advantages_, at::kFloat).to(device),
            .versions = at::tensor(versions_, at::kLong).to(device),
            .end_rows = rows_.end_rows(device),
            .completions = completions_};
  }

 private:
  void add(const Completion& completion, double advantage) {
    if (batch_.bootstraps(completion)) {
      rows_.add_whole(completion.tokens, completion.mask);
    } else {
      rows_.add(completion.tokens, completion.mask);
    }
    for (size_t i = 0; i < completion.mask.size(); ++i) {
      if (completion.mask[i] == 0) continue;
      logprobs_.push_back(completion.logprobs[i]);
      kept_mass_.push_back(completion.kept_mass[i]);
      advantages_.push_back(static_cast<float>(advantage));
      versions_.push_back(completion.versions[i]);
    }
  }

  const TrainingBatch& batch_;
  internal::CompletionRows rows_;
  std::vector<int64_t> versions_;
  std::vector<float> logprobs_, kept_mass_, advantages_;
  std::vector<CompletionIndex> completions_;
};

GroupNumbers lengths_of(const TrainingBatch& batch) {
  GroupNumbers lengths;
  for (const auto& group : batch.groups) {
    auto& row = lengths.emplace_back();
    for (const auto& completion : group.completions) {
      row.push_back(batch.leaves_out(completion) ? 0.0 : static_cast<double>(num_chosen(completion)));
    }
  }
  return lengths;
}

GroupNumbers advantages_of(const TrainingBatch& batch, const std::vector<double>& reward_weights,
                           const AdvantageOptions& options, const ValueTracker* values) {
  if (options.baseline == Baseline::Greedy)
    return baseline_advantages(batch.rewards, batch.baselines, options, lengths_of(batch));
  if (options.baseline == Baseline::History) {
    require(values != nullptr, "make_training_batch: nobody knows what the prompts earned before");
    return baseline_advantages(batch.rewards, values->baselines(prompts_of(batch), batch.rewards), options,
                               lengths_of(batch));
  }
  if (!options.each_reward) return group_advantages(batch.rewards, options, lengths_of(batch));
  std::vector<GroupRewards> scores(reward_weights.size());
  for (size_t k = 0; k < scores.size(); ++k) {
    for (const auto& group : batch.groups) {
      auto& row = scores[k].emplace_back();
      for (const auto& completion : group.completions) row.push_back(completion.outcomes[k].score);
    }
  }
  return each_reward_advantages(scores, reward_weights, options);
}

}  // namespace

TrainingBatch make_training_batch(int64_t step, std::vector<RolloutGroup> groups,
                                  const std::vector<double>& reward_weights, const AdvantageOptions& options,
                                  int64_t max_new_tokens, const ValueTracker* values) {
  TrainingBatch batch{.step = step,
                      .groups = std::move(groups),
                      .rewards = {},
                      .baselines = {},
                      .advantages = {},
                      .denominators = {},
                      .mask_truncated = options.mask_truncated,
                      .bootstrap_truncated = options.bootstrap_truncated,
                      .max_new_tokens = max_new_tokens};
  for (const auto& group : batch.groups) {
    check_group(group, reward_weights.size(), max_new_tokens);
    auto& rewards = batch.rewards.emplace_back();
    for (const auto& completion : group.completions) {
      rewards.push_back(rewards::total_reward(completion.outcomes, reward_weights));
    }
    if (options.baseline == Baseline::Greedy) batch.baselines.push_back(greedy_reward(group, reward_weights));
  }
  batch.denominators = denominators_of(batch);
  batch.advantages = advantages_of(batch, reward_weights, options, values);
  return batch;
}

std::vector<std::string> prompts_of(const TrainingBatch& batch) {
  std::vector<std::string> prompts;
  for (const auto& group : batch.groups) prompts.push_back(group.prompt_text);
  return prompts;
}

std::vector<GroupRange> split_groups(const TrainingBatch& batch, int64_t parts) {
  require(parts > 0, "split_groups: ", parts, " parts");
  const auto count = batch.groups.size(), n = static_cast<size_t>(parts);
  std::vector<GroupRange> ranges;
  for (size_t i = 0; i < n; ++i) ranges.push_back({count * i / n, count * (i + 1) / n - count * i / n});
  return ranges;
}

StepDenominators denominators_of(const TrainingBatch& batch, const GroupRange& groups) {
  StepDenominators all{.max_length = batch.max_new_tokens};
  const size_t end = end_of(batch, groups);
  for (size_t i = groups.first; i < end; ++i) {
    for (const auto& completion : batch.groups[i].completions) {
      const int64_t chosen = batch.leaves_out(completion) ? 0 : num_chosen(completion);
      all.tokens += chosen;
      ++all.sequences;
      if (chosen > 0) ++all.nonempty;
    }
  }
  return all;
}

std::vector<MicroBatch> cut_into_micro_batches(const TrainingBatch& batch, int64_t max_tokens,
                                               const at::Device& device, IdleGroups idle,
                                               const GroupRange& groups, int64_t ranks) {
  require(max_tokens > 0 && ranks > 0, "cut_into_micro_batches: packs of ", max_tokens, " rows on ", ranks,
          " ranks");
  const auto pieces = cut_groups(batch, max_tokens, idle, groups, ranks);
  std::vector<int64_t> rows;
  for (const auto& piece : pieces) rows.push_back(piece.rows);

  std::vector<MicroBatch> micro_batches;
  for (const auto& pack : model::pack_for_ranks(rows, max_tokens, ranks)) {
    MicroBatchBuilder builder(batch);
    for (const int64_t item : pack.items) builder.add(pieces[static_cast<size_t>(item)]);
    micro_batches.push_back(builder.build(device));
    micro_batches.back().rank = pack.rank;
  }
  return micro_batches;
}

}  // namespace sluice::learner
