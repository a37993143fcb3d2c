#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "actors/evaluator.h"
#include "actors/stop_ids.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/terminal.h"
#include "model/model_directory.h"
#include "recipes/evaluation.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

constexpr const char* kExactAnswer = "exact_answer";

// A figure of `evals` in summary.json.
Json figure(const std::string& stage, const std::string& split, const std::string& metric,
            const actors::Estimate& estimate) {
  return {{"stage", stage},  {"split", split},          {"metric", metric},
          {"n", estimate.n}, {"value", estimate.value}, {"stderr", estimate.stderr_}};
}

// Held-out prompts, apart by whether their text occurs in training where the reader knows that.
std::map<std::string, std::vector<text::Row>> held_out_splits(const StageSpec& stage) {
  auto rows = text::read_prompts(stage.data, text::Split::Test);
  std::map<std::string, std::vector<text::Row>> splits;
  for (auto& row : rows) {
    std::string split = "held_out";
    if (stage.data.keep_seen && row.columns.contains("seen"))
      split = row.columns["seen"] == true ? "seen" : "new";
    auto& list = splits[split];
    const auto limit = static_cast<size_t>(stage.evaluation.prompts);
    if (limit == 0 || list.size() < limit) list.push_back(std::move(row));
  }
  return splits;
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
                       const actors::Evaluation& evaluation, double temperature) {
  double sum = 0, tokens = 0;
  std::vector<std::pair<double, double>> per_prompt;  // sum of differences, tokens
  for (const auto& prompt : evaluation.prompts) {
    model::PackedBatchBuilder builder;
    std::vector<int64_t> rows, targets;
    const int64_t stem = builder.add(prompt.prompt);
    for (const auto& completion : prompt.completions) {
      if (completion.tokens.empty()) continue;
      const std::span<const int32_t> input(completion.tokens.data(), completion.tokens.size() - 1);
      const int64_t sequence = input.empty() ? -1 : builder.add(input, stem);
      for (size_t t = 0; t < completion.tokens.size(); ++t) {
        rows.push_back(t == 0 ? builder.row_of(stem, static_cast<int64_t>(prompt.prompt.size()) - 1)
                              : builder.row_of(sequence, static_cast<int64_t>(t) - 1));
        targets.push_back(completion.tokens[t]);
      }
    }
    if (rows.empty()) continue;
    const auto batch = builder.build(policy.device());
    const auto options = at::TensorOptions().dtype(at::kLong);
    const model::TokenTargets wanted{at::tensor(rows, options).to(policy.device()),
                                     at::tensor(targets, options).to(policy.device())};
    const auto difference = (policy.logprobs(batch, wanted, temperature).logprobs -
                             reference.logprobs(batch, wanted, temperature).logprobs)
                                .sum()
                                .item<double>();
    per_prompt.emplace_back(difference, static_cast<double>(rows.size()));
    sum += difference;
    tokens += static_cast<double>(rows.size());
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
      .engine = {.one_group_at_a_time = false}};
  if (greedy) options.sampling.temperature = 0;
  return options;
}

}  // namespace

Json evaluate_model(const Recipe& recipe, const StageSpec& stage,
                    const std::filesystem::path& model_directory,
                    const std::filesystem::path& reference_directory) {
  const auto tokenizer = text::load_tokenizer(model_directory);
  const auto network = model::load_model(model_directory, device_of(recipe));
  const auto rewards = make_rewards(stage);
  const auto stops = actors::stop_ids(*network, *tokenizer);
  const auto exact = std::find(rewards.names().begin(), rewards.names().end(), kExactAnswer);
  std::vector<double> exact_alone(rewards.names().size(), 0.0);
  if (exact != rewards.names().end()) exact_alone[static_cast<size_t>(exact - rewards.names().begin())] = 1.0;

  Json evals = Json::array(), samples = Json::array();
  for (const auto& [split, rows] : held_out_splits(stage)) {
    const auto run = [&, &rows = rows, &split = split](bool greedy) {
      ProgressLine progress(stage.name + ", " + split + (greedy ? ", greedy" : ", sampled"),
                            static_cast<int64_t>(rows.size()));
      return actors::evaluate(*network, *tokenizer, rewards, rows, stops,
                              evaluation_options(recipe, stage, greedy),
                              [&](int64_t done) { progress.update(done); });
    };
    const auto sampled = run(false);
    evals.push_back(figure(stage.name, split, "reward", sampled.reward(rewards.weights())));
    if (exact != rewards.names().end()) {
      evals.push_back(figure(stage.name, split, "exact_sampled", sampled.reward(exact_alone)));
    }
    if (stage.evaluation.greedy) {
      const auto greedy = run(true);
      const bool is_exact = exact != rewards.names().end();
      evals.push_back(figure(stage.name, split, is_exact ? "exact_greedy" : "reward_greedy",
                             greedy.reward(is_exact ? exact_alone : rewards.weights())));
    }
    if (!reference_directory.empty()) {
      const auto reference = model::load_model(reference_directory, device_of(recipe));
      evals.push_back(figure(stage.name, split, "kl",
                             kl_to(*reference, *network, sampled, stage.rollout.sampling.temperature)));
    }
    if (samples.empty()) samples = samples_of(sampled, stage.evaluation.show);
  }
  return {{"evals", evals}, {"samples", samples}};
}

int run_evaluation_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                         const StopRequest& stop) {
  const SteadyClock clock;
  const Millis began = clock.now_ms();
  const Checkpoint checkpoint = newest_checkpoint(run, recipe);
  std::filesystem::path reference;  // of the last policy stage before this one
  for (const auto& earlier : recipe.stages) {
    if (earlier.name == stage.name) break;
    if (!earlier.has_actors()) continue;
    if (const auto result = run.stage_result(earlier.name)) {
      reference = run.checkpoints() / result->at("started_from").get<std::string>() / "hf";
    }
  }
  Json result = {{"name", stage.name}, {"use", stage.use}, {"checkpoint", checkpoint.name()}};
  result.update(evaluate_model(recipe, stage, checkpoint.model(), reference));
  if (const int signal = stop()) return signal;
  result["seconds"] = static_cast<double>(clock.now_ms() - began) / 1000.0;
  for (const auto& eval : result["evals"]) {
    std::cout << stage.name << ": " << eval["metric"].get<std::string>() << " " << eval["value"].get<double>()
              << " +- " << eval["stderr"].get<double>() << " (" << eval["split"].get<std::string>() << ", "
              << eval["n"].get<int64_t>() << " prompts)" << std::endl;
  }
  run.write_stage_result(stage.name, result);
  return 0;
}

}  // namespace sluice::recipes
