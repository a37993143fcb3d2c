// The built-in scorers, as the registry knows them, and what they share.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "rewards/internal/ascii.h"
#include "rewards/reward.h"

namespace sluice::rewards::internal {

// A scorer that looks at one completion at a time. One that it fails on is unscored by itself, not with its
// group.
class CompletionReward : public RewardFunction {
 public:
  explicit CompletionReward(const RewardSpec& spec) : name_(spec.name.empty() ? spec.use : spec.name) {}

  const std::string& name() const final { return name_; }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) final {
    std::vector<RewardOutcome> outcomes;
    outcomes.reserve(group.size());
    for (const auto& request : group) outcomes.push_back(score_or_reason(request));
    return outcomes;
  }

 protected:
  virtual RewardOutcome score_one(const RewardRequest& request) const = 0;

 private:
  RewardOutcome score_or_reason(const RewardRequest& request) const {
    try {
      return score_one(request);
    } catch (const Error& error) {
      return RewardOutcome::unscored(error.what());
    }
  }

  const std::string name_;
};

// Who speaks in a message about an entry: its place in the recipe and the scorer.
inline std::string speaker(const RewardSpec& spec) {
  return (spec.where.empty() ? "" : spec.where + ": ") + "reward \"" + spec.use + "\"";
}

// The option `key`, or `fallback` where it is not given; a wrong type is a mistake in the recipe.
template <class T>
T option(const RewardSpec& spec, const std::string& key, T fallback) {
  try {
    return json_member_or<T>(spec.options, key, std::move(fallback), speaker(spec));
  } catch (const DataError& error) {
    throw UsageError(error.what());
  }
}

// The text of a row's column; a number or a truth value as JSON writes it. Where there is none to compare
// with, what is wrong with it instead: "column "answer" is missing at train.jsonl:12".
struct ColumnText {
  std::string text;  // not empty where `problem` is
  std::string problem;
};
ColumnText column_text(const RewardRequest& request, const std::string& column);
// The same where the column may be a list of texts; there is at least one.
struct ColumnTexts {
  std::vector<std::string> texts;
  std::string problem;
};
ColumnTexts column_texts(const RewardRequest& request, const std::string& column);

std::unique_ptr<RewardFunction> make_exact_answer(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_numeric_answer(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_math_answer(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_gsm8k(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_countdown(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_multiple_choice(const RewardSpec& spec,
                                                     const RewardResources& resources);
std::unique_ptr<RewardFunction> make_format_tags(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_tag_count(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_regex(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_json_schema(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_code_tests(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_keyword(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_blocklist(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_rouge_l(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_bleu(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_real_words(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_language(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_repetition(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_length(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_soft_overlong(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_reward_model(const RewardSpec& spec, const RewardResources& resources);
// Whose weights are there already; throws DataError when they cannot be read.
std::unique_ptr<RewardFunction> make_loaded_reward_model(const RewardSpec& spec);
std::unique_ptr<RewardFunction> make_python(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_command(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_library(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_http(const RewardSpec& spec, const RewardResources& resources);
std::unique_ptr<RewardFunction> make_judge(const RewardSpec& spec, const RewardResources& resources);

}  // namespace sluice::rewards::internal
