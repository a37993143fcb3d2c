// What a scorer sees and what it answers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/dataset.h"

namespace sluice::rewards {

// One completion to score. Everything in it is the policy's or the data's: hostile until checked.
struct RewardRequest {
  uint64_t group = 0;
  int64_t sample = 0;               // index in its group
  const text::Row* row = nullptr;   // the prompt and every column; never null
  std::string completion;           // decoded text, without special tokens
  std::span<const int32_t> tokens;  // as sampled, end-of-sequence included
  bool truncated = false;           // cut by the length limit
  bool afresh = false;              // never what was said of the same before: a canary
};

// A score with named parts, or unscored with a reason. Unscored is not zero.
struct RewardOutcome {
  std::optional<double> score;          // finite
  std::map<std::string, double> parts;  // what the score was made of, for people
  std::string unscored_reason;          // set exactly when score is empty

  static RewardOutcome scored(double score, std::map<std::string, double> parts = {});
  static RewardOutcome unscored(std::string reason);
};

// Scores a whole group at once, in order. What throws, or answers the wrong number of outcomes or one that is
// not finite, is turned into unscored outcomes by the mix.
class RewardFunction {
 public:
  virtual ~RewardFunction() = default;
  virtual const std::string& name() const = 0;
  virtual std::vector<RewardOutcome> score(std::span<const RewardRequest> group) = 0;

  // Whether it wants a group as a whole, once all of it is there. Else what it says of a completion depends
  // on that one alone, and it is asked as soon as the completion has ended.
  virtual bool takes_whole_groups() const { return false; }
  // Completions that have ended, each answered as if score() were asked for it alone; so by default.
  virtual std::vector<RewardOutcome> score_each(std::span<const RewardRequest> samples);
  // Completions that it was not asked for again, so far: it is pure, and had scored the same before.
  virtual int64_t num_cached() const { return 0; }
  // From another thread: what is under way is not wanted any more, nor anything that would come.
  virtual void interrupt() {}
};

// One entry of a recipe's `rewards`: which scorer, its weight, and its own keys.
struct RewardSpec {
  std::string use;
  std::string name;  // as it appears in metrics; defaults to `use`
  double weight = 1.0;
  Json options = Json::object();
  std::string where;  // file:line:column in the recipe, for messages
};

// What a scorer may want of the stage it serves, filled by whoever opens the dataset.
struct RewardResources {
  std::string training_text = {};  // of the `text` reader: its training part; empty otherwise
  std::string device = "cpu";      // where a model computes, as torch names it
};

// Names of all scorers with one sentence each; the table that make_reward() looks into.
struct RewardEntry {
  std::string name;
  std::string summary;
  std::vector<std::string> options;  // the keys it understands
};
const std::vector<RewardEntry>& reward_entries();

// Throws UsageError for an unknown name (with the nearest one) or an unknown or wrong option.
std::unique_ptr<RewardFunction> make_reward(const RewardSpec& spec, const RewardResources& resources);

}  // namespace sluice::rewards
