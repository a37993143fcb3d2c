#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/epoch_order.h"
#include "base/error.h"
#include "base/files.h"
#include "base/shared_work.h"
#include "base/terminal.h"
#include "recipes/internal/frozen_policy.h"
#include "recipes/internal/kept_samples.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"

namespace sluice::recipes {
namespace {

using internal::SampleCounts;
using internal::ScoredText;

constexpr int64_t kPromptsAtOnce = 256;  // decoded together; what is kept in memory of completions

// Training prompts, each text once, in the order in which a stage of this seed would ask them.
class PromptsOnce {
 public:
  // `model` has the chat template of prompts that are conversations.
  PromptsOnce(const StageSpec& stage, const std::filesystem::path& model, uint64_t seed)
      : rows_(open_prompts(stage, model)),
        order_(rows_->size(), seed, stage.data.choice.orders()),
        left_(stage.samples.prompts == 0 ? rows_->size() : stage.samples.prompts) {}

  int64_t at_most() const { return std::min(left_, rows_->size()); }
  int64_t num_left_out() const { return rows_->num_left_out(); }

  // Up to `count` more of them; empty when all were asked.
  std::vector<text::Row> take(int64_t count) {
    std::vector<text::Row> taken;
    while (std::ssize(taken) < std::min(count, left_) && next_ < rows_->size()) {
      auto row = rows_->at(order_.at(next_++));
      if (asked_.insert(row.prompt).second) taken.push_back(std::move(row));
    }
    left_ -= std::ssize(taken);
    return taken;
  }

 private:
  const std::unique_ptr<text::Rows> rows_;
  EpochOrder order_;
  int64_t left_;
  int64_t next_ = 0;
  std::set<std::string> asked_;
};

std::vector<ScoredText> scored(const std::vector<buffers::Completion>& completions,
                               const std::vector<double>& weights, std::string& why_unscored) {
  std::vector<ScoredText> samples;
  for (const auto& completion : completions) {
    samples.push_back({completion.text, rewards::total_reward(completion.outcomes, weights)});
    for (const auto& outcome : completion.outcomes) {
      if (!outcome.score && why_unscored.empty()) why_unscored = outcome.unscored_reason;
    }
  }
  return samples;
}

struct Sampled {
  std::string lines;  // of the file
  SampleCounts counts;
  std::string why_unscored;  // of the first completion that has no score
};

// Empty when the process was asked to stop.
std::optional<Sampled> sample(const Recipe& recipe, const StageSpec& stage, const Checkpoint& checkpoint,
                              PromptsOnce& prompts, const StopRequest& stop) {
  const internal::FrozenPolicy policy(recipe, stage, checkpoint.model());
  actors::EvaluationOptions options{
      .sampling = stage.rollout.sampling,
      .samples = stage.rollout.group_size,
      .seed = stage_seed(recipe, stage.name),
      .engine = {.threads = work_threads(), .reproducible = recipe.deterministic}};
  ProgressLine progress(stage.name, prompts.at_most());
  Sampled sampled;
  for (auto rows = prompts.take(kPromptsAtOnce); !rows.empty(); rows = prompts.take(kPromptsAtOnce)) {
    options.first_group = static_cast<uint64_t>(sampled.counts.prompts);
    const auto answers = policy.ask(rows, options, stop,
                                    [&](int64_t done) { progress.update(sampled.counts.prompts + done); });
    if (!answers.complete || stop() != 0) return std::nullopt;
    for (const auto& prompt : answers.prompts) {
      const auto samples = scored(prompt.completions, policy.rewards().weights(), sampled.why_unscored);
      for (const auto& row : internal::kept_rows(*prompt.row, samples, stage.samples, sampled.counts)) {
        sampled.lines += row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      }
    }
  }
  return sampled;
}

std::map<std::string, double> metrics_of(const SampleCounts& counts) {
  return {{"samples/prompts", static_cast<double>(counts.prompts)},
          {"samples/sampled", static_cast<double>(counts.sampled)},
          {"samples/unscored", static_cast<double>(counts.unscored)},
          {"samples/right", static_cast<double>(counts.right)},
          {"samples/duplicates", static_cast<double>(counts.duplicates)},
          {"samples/kept", static_cast<double>(counts.kept)},
          {"samples/kept_prompts", static_cast<double>(counts.kept_prompts)}};
}

std::string in_words(const SampleCounts& counts, bool pairs) {
  const auto n = format_count;
  return n(counts.prompts) + " prompts, " + n(counts.sampled) + " completions: " + n(counts.right) +
         " right, " + n(counts.duplicates) + " of them duplicates" +
         (counts.unscored > 0 ? ", " + n(counts.unscored) + " unscored" : "") + "; kept " + n(counts.kept) +
         (pairs ? " pairs of " : " of ") + n(counts.kept_prompts) + " prompts";
}

// Nothing to learn from is a mistake to be put right, not a stage that is done.
void check_kept(const StageSpec& stage, const Sampled& sampled) {
  const auto& counts = sampled.counts;
  if (counts.kept > 0) return;
  require<DataError>(counts.unscored < counts.sampled, stage.name, ": none of ", counts.sampled,
                     " completions has a score; the first reason: ", sampled.why_unscored);
  require<DataError>(counts.right > 0, stage.name, ": none of ", counts.sampled, " completions of ",
                     counts.prompts,
                     " prompts has a reward of samples.min_reward = ", stage.samples.min_reward,
                     "; lower it, sample more (rollout.group_size, samples.prompts), or train longer before");
  fail<DataError>(
      stage.name, ": no prompt has ",
      stage.samples.pairs ? "both a right and a wrong completion" : "a right completion that is not empty",
      " among ", counts.sampled, " completions of ", counts.prompts, " prompts, ", counts.right,
      " right; sample more (rollout.group_size, samples.prompts), or change samples.min_reward");
}

}  // namespace

int run_rejection_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                        const StopRequest& stop, transport::Collective&) {
  const SteadyClock clock;
  const Millis began = clock.now_ms();
  const Checkpoint checkpoint = find_start(run, recipe, stage).checkpoint;
  StageMonitor monitor(run, recipe, stage, checkpoint.state.step);
  monitor.show_state(checkpoint.state.step, 0);
  PromptsOnce prompts(stage, checkpoint.model(), stage_seed(recipe, stage.name));
  monitor.say_left_out(prompts.num_left_out());
  const auto sampled = sample(recipe, stage, checkpoint, prompts, stop);
  if (!sampled) return stop();
  check_kept(stage, *sampled);

  const auto file = run.samples(stage.name);
  std::filesystem::create_directories(file.parent_path());
  remove_temporaries(file.parent_path());
  write_file_atomically(file, sampled->lines);
  const auto metrics = metrics_of(sampled->counts);
  monitor.say(stage.name + ": " + in_words(sampled->counts, stage.samples.pairs) + ", in " + file.string());
  run.write_stage_result(stage.name, {{"name", stage.name},
                                      {"use", stage.use},
                                      {"checkpoint", checkpoint.name()},
                                      {"seconds", static_cast<double>(clock.now_ms() - began) / 1000.0},
                                      {"counts", metrics}});
  monitor.report(checkpoint.state.step, /*stage_step=*/0, metrics);
  return 0;
}

}  // namespace sluice::recipes
