#include "recipes/internal/data_loop.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice::recipes::internal {
namespace {

std::optional<double> number_of(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

std::string text_of(const Json& value) { return value.is_null() ? std::string() : value.get<std::string>(); }

// The stage that `name` is, among those that stand before the last one.
const StageSpec& find_source(const Recipe& recipe, const std::string& stage, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& other : recipe.stages) {
    if (&other == &recipe.stages.back()) break;
    if (other.name == name) return other;
    names.push_back(other.name);
  }
  fail<UsageError>("stage ", stage, ": data.from: no stage before it is named \"", name, "\"",
                   did_you_mean(name, names));
}

void check_source(const StageSpec& stage, const StageSpec& source) {
  const auto refuse_unless = [&](bool holds, const auto&... why) {
    require<UsageError>(holds, "stage ", stage.name, ": data.from = \"", source.name, "\": ", why...);
  };
  refuse_unless(stage.role != StageRole::Evaluation,
                "an evaluation asks held-out prompts; name a file in data.test_path");
  refuse_unless(source.role == StageRole::Sampling, "a stage of kind ", source.use,
                " keeps no samples; one of kind rejection_sampling does");
  const bool wants_pairs = stage.role == StageRole::Preference;
  refuse_unless(!wants_pairs || !stage.preference.judged(),
                "it keeps pairs, and this loss learns from completions that were judged");
  refuse_unless(!wants_pairs || source.samples.pairs,
                "preferences are pairs; set samples.pairs = true there");
  refuse_unless(wants_pairs || !source.samples.pairs,
                "it keeps pairs (samples.pairs), which only a stage that learns from preferences reads");
}

}  // namespace

text::RowChoice read_choice(const Json& data) {
  return {.min_pass_rate = number_of(data.at("min_pass_rate")),
          .max_pass_rate = number_of(data.at("max_pass_rate")),
          .pass_rate_column = data.at("pass_rate_column"),
          .max_prompt_chars = data.at("max_prompt_chars"),
          .order_by = text_of(data.at("order_by"))};
}

SamplesSpec read_samples(const Json& json) {
  return {.prompts = json.at("prompts"),
          .min_reward = json.at("min_reward"),
          .per_prompt = json.at("per_prompt"),
          .pairs = json.at("pairs")};
}

DistillSpec read_distill(const Json& json, const std::string& stage) {
  require<UsageError>(!json.at("path").is_null(), "stage ", stage,
                      ": teacher.path is not set; it names the model directory to learn from");
  return {
      .teacher = json.at("path").get<std::string>(),
      .options = {.temperature = json.at("temperature"),
                  .kl = json.at("kl") == "reverse" ? sft::KlDirection::Reverse : sft::KlDirection::Forward,
                  .nll_weight = json.at("nll_weight")}};
}

void check_loop(const Recipe& recipe) {
  const auto& stage = recipe.stages.back();
  const auto& choice = stage.data.choice;
  if (!stage.data_from.empty()) check_source(stage, find_source(recipe, stage.name, stage.data_from));
  require<UsageError>(stage.role != StageRole::Preference || !(choice.filters() || choice.orders()), "stage ",
                      stage.name,
                      ": pass rates, data.max_prompt_chars and data.order_by choose prompts and "
                      "examples, not preferences");
  require<UsageError>(choice.min_pass_rate.value_or(0.0) <= choice.max_pass_rate.value_or(1.0), "stage ",
                      stage.name, ": data.min_pass_rate is above data.max_pass_rate: no row is left");
  if (!stage.distill) return;
  require<UsageError>(stage.batch.loss == sft::LossKind::Nll, "stage ", stage.name,
                      ": batch.loss = \"dft\" weighs tokens of the data, a teacher says more than those");
  require<UsageError>(stage.learner.router_aux_loss == 0.0, "stage ", stage.name,
                      ": model.router_aux_loss is for stages without a teacher");
}

std::string describe(const SamplesSpec& spec, int64_t group_size) {
  std::ostringstream out;
  out << (spec.prompts == 0 ? "all" : std::to_string(spec.prompts)) << " training prompts x " << group_size
      << ", right from reward " << spec.min_reward << ", at most " << spec.per_prompt
      << (spec.pairs ? " pairs" : "") << " kept of each";
  return out.str();
}

std::string describe(const DistillSpec& spec) {
  std::ostringstream out;
  out << (spec.options.kl == sft::KlDirection::Forward ? "forward" : "reverse")
      << " KL to the teacher at temperature " << spec.options.temperature;
  if (spec.options.nll_weight > 0.0) out << ", the data's own tokens beside it " << spec.options.nll_weight;
  out << "; teacher " << spec.teacher.string();
  return out.str();
}

}  // namespace sluice::recipes::internal
