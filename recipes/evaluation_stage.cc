#include <ATen/ATen.h>

#include <cmath>
#include <sstream>

#include "base/clock.h"
#include "base/error.h"
#include "base/shared_work.h"
#include "base/terminal.h"
#include "learner/training_batch.h"
#include "model/model_directory.h"
#include "recipes/evaluation.h"
#include "recipes/internal/frozen_policy.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"

namespace sluice::recipes {
namespace {

constexpr int64_t kKlRows = 16384;  // of one forward

// A figure of `evals` in summary.json.
Json figure(const std::string& stage, const std::string& split, const std::string& metric,
            const actors::Estimate& estimate) {
  return {{"stage", stage},  {"split", split},          {"metric", metric},
          {"n", estimate.n}, {"value", estimate.value}, {"stderr", estimate.stderr_}};
}

// Held-out prompts, apart by whether their text occurs in training where the reader knows that.
std::map<std::string, std::vector<text::Row>> held_out_splits(const StageSpec& stage,
                                                              const std::filesystem::path& model) {
  std::map<std::string, std::vector<text::Row>> splits;
  text::for_each_row(*open_prompts(stage, model), [&](text::Row row) {
    std::string split = "held_out";
    if (stage.data.keep_seen && row.columns.contains("seen"))
      split = row.columns["seen"] == true ? "seen" : "new";
    auto& list = splits[split];
    const auto limit = static_cast<size_t>(stage.evaluation.prompts);
    if (limit == 0 || list.size() < limit) list.push_back(std::move(row));
  });
  return splits;
}

// No figure without a score: unscored is not zero.
void check_scored(const StageSpec& stage, const std::string& split, const actors::Evaluation& evaluation) {
  std::string reason;
  for (const auto& prompt : evaluation.prompts) {
    for (const auto& completion : prompt.completions) {
      for (const auto& outcome : completion.outcomes) {
        if (outcome.score) return;
        if (reason.empty()) reason = outcome.unscored_reason;
      }
    }
  }
  fail<DataError>(stage.name, ": no completion of the ", evaluation.prompts.size(), " prompts (", split,
                  ") has a score; the first reason: ", reason);
}

Json samples_of(const actors::Evaluation& evaluation, int64_t count) {
  Json samples = Json::array();
  for (const auto& prompt : evaluation.prompts) {
    if (static_cast<int64_t>(samples.size()) >= count) break;
    samples.push_back({{"prompt", prompt.row->prompt}, {"completion", prompt.completions.front().text}});
  }
  return samples;
}

// KL(policy || reference) in nats a token, estimated on the sampled completions: the mean of log p - log
// p_ref over tokens drawn from p is unbiased (k1 of spec section 3.1). The standard error is over prompts.
actors::Estimate kl_to(const model::Network& reference, const model::Network& policy,
                       const actors::Evaluation& evaluation, const buffers::SamplingParams& sampling) {
  double sum = 0, tokens = 0;
  std::vector<std::pair<double, double>> per_prompt;  // sum of differences, tokens
  for (const auto& prompt : evaluation.prompts) {
    learner::TrainingBatch batch;
    batch.groups.push_back({.prompt = prompt.prompt, .completions = prompt.completions});
    batch.advantages.emplace_back(prompt.completions.size(), 0.0);
    batch.max_new_tokens = sampling.max_new_tokens;
    double difference = 0, count = 0;
    for (const auto& micro : learner::cut_into_micro_batches(batch, kKlRows, policy.device())) {
      difference += (policy.logprobs(micro.batch, micro.targets, sampling.temperature).logprobs -
                     reference.logprobs(micro.batch, micro.targets, sampling.temperature).logprobs)
                        .sum()
                        .item<double>();
      count += static_cast<double>(micro.targets.rows.numel());
    }
    per_prompt.emplace_back(difference, count);
    sum += difference;
    tokens += count;
  }
  const auto n = static_cast<double>(per_prompt.size());
  require<DataError>(tokens > 0, "evaluation: no completion has a token");
  const double mean = sum / tokens;
  double spread = 0;  // of a ratio of sums: deviations d_i - mean * t_i (delta method)
  for (const auto& [d, t] : per_prompt) spread += (d - mean * t) * (d - mean * t);
  return {mean, n > 1 ? std::sqrt(spread * n / (n - 1)) / tokens : 0.0,
          static_cast<int64_t>(per_prompt.size())};
}

actors::EvaluationOptions evaluation_options(const Recipe& recipe, const StageSpec& stage, bool greedy) {
  actors::EvaluationOptions options{
      .sampling = stage.rollout.sampling,
      .samples = greedy ? 1 : stage.evaluation.samples,
      // One stream for all evaluations, so that before and after draw the same numbers.
      .seed = recipe.seed,
      .engine = {.threads = work_threads(), .reproducible = false}};
  if (greedy) options.sampling.temperature = 0;
  return options;
}

}  // namespace

std::optional<Json> evaluate_model(const Recipe& recipe, const StageSpec& stage,
                                   const std::filesystem::path& model_directory,
                                   const std::filesystem::path& reference_directory,
                                   const StopRequest& stop) {
  const internal::FrozenPolicy policy(recipe, stage, model_directory);
  const auto& rewards = policy.rewards();
  const auto& exact = policy.exact_weights();
  Json evals = Json::array(), samples = Json::array();
  int64_t unscored = 0;
  for (const auto& [split, rows] : held_out_splits(stage, model_directory)) {
    const auto run = [&, &rows = rows, &split = split](bool greedy) {
      ProgressLine progress(stage.name + ", " + split + (greedy ? ", greedy" : ", sampled"),
                            static_cast<int64_t>(rows.size()));
      return policy.ask(rows, evaluation_options(recipe, stage, greedy), stop,
                        [&](int64_t done) { progress.update(done); });
    };
    const auto sampled = run(false);
    if (!sampled.complete) return std::nullopt;
    check_scored(stage, split, sampled);
    unscored += sampled.unscored;
    evals.push_back(figure(stage.name, split, "reward", sampled.reward(rewards.weights())));
    if (!exact.empty()) evals.push_back(figure(stage.name, split, "exact_sampled", sampled.reward(exact)));
    if (stage.evaluation.greedy) {
      const auto greedy = run(true);
      if (!greedy.complete) return std::nullopt;
      evals.push_back(figure(stage.name, split, exact.empty() ? "reward_greedy" : "exact_greedy",
                             greedy.reward(exact.empty() ? rewards.weights() : exact)));
    }
    if (!reference_directory.empty()) {
      const auto reference = load_network(reference_directory, recipe);
      evals.push_back(figure(stage.name, split, "kl",
                             kl_to(*reference, policy.network(), sampled, stage.rollout.sampling)));
    }
    if (samples.empty()) samples = samples_of(sampled, stage.evaluation.show);
  }
  return Json{{"evals", evals}, {"samples", samples}, {"unscored", unscored}};
}

std::vector<std::string> evaluation_lines(const Json& measured) {
  std::vector<std::string> lines;
  for (const auto& eval : measured.at("evals")) {
    std::ostringstream line;
    line << eval.at("metric").get<std::string>() << ' ' << eval.at("value").get<double>() << " +- "
         << eval.at("stderr").get<double>() << " (" << eval.at("split").get<std::string>() << ", "
         << eval.at("n").get<int64_t>() << " prompts)";
    lines.push_back(line.str());
  }
  if (const auto unscored = measured.at("unscored").get<int64_t>(); unscored > 0) {
    lines.push_back(std::to_string(unscored) + " completions have no score and are in no mean");
  }
  return lines;
}

int run_evaluation_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                         const StopRequest& stop, transport::Collective&) {
  const SteadyClock clock;
  const Millis began = clock.now_ms();
  const Checkpoint checkpoint = find_start(run, recipe, stage).checkpoint;
  StageMonitor monitor(run, recipe, stage, checkpoint.state.step);
  monitor.show_state(checkpoint.state.step, 0);
  std::filesystem::path reference;  // of the last policy stage before this one
  for (const auto& earlier : recipe.stages) {
    if (earlier.name == stage.name) break;
    if (!earlier.has_actors()) continue;
    if (const auto result = run.stage_result(earlier.name)) {
      reference = run.checkpoints() / result->at("started_from").get<std::string>() / "hf";
    }
  }
  const auto measured = evaluate_model(recipe, stage, checkpoint.model(), reference, stop);
  if (!measured) return stop();
  Json result = {{"name", stage.name}, {"use", stage.use}, {"checkpoint", checkpoint.name()}};
  result.update(*measured);
  result["seconds"] = static_cast<double>(clock.now_ms() - began) / 1000.0;
  for (const auto& line : evaluation_lines(*measured)) monitor.say(stage.name + ": " + line);
  run.write_stage_result(stage.name, result);
  return stop();
}

}  // namespace sluice::recipes
