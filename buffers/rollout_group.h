// A lease and what came of it: the types that travel between learner and actors, and their bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "rewards/reward.h"
#include "text/dataset.h"

namespace sluice::buffers {

// Added to the logit of a token.
struct LogitBias {
  int32_t token = 0;
  double bias = 0;
};

// Spec section 18. The learner divides by the temperature and knows no bias and no penalty, so training goes
// without them.
struct SamplingParams {
  double temperature = 1.0;  // 0 is greedy
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;
  double min_p = 0.0;               // of the likeliest token's probability; 0: off
  double repetition_penalty = 1.0;  // of tokens of the prompt and the completion; 1: off
  double frequency_penalty = 0.0;   // for each time that the completion has the token
  double presence_penalty = 0.0;    // once where it has
  std::vector<LogitBias> logit_bias;
  std::vector<std::string> stop_strings;  // texts that end a completion
  int64_t max_new_tokens = 0;
};
inline constexpr double kMinRepetitionPenalty = 0.01, kMaxRepetitionPenalty = 100;
inline constexpr double kMaxPenalty = 2;  // frequency and presence, of either sign
inline constexpr double kMaxLogitBias = 100;
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr size_t kMaxStopStrings = 16, kMaxStopStringBytes = 256;

// Which of them is out of its range, such as "min_p 2; it goes from 0 to 1"; empty where none is. Of
// max_new_tokens it says nothing.
std::string sampling_fault(const SamplingParams& sampling);

// The right to produce one group.
struct Lease {
  uint64_t group = 0;   // its slot and refill: buffers/group_id.h
  int32_t attempt = 0;  // 0 the first time
  int64_t step = 0;     // optimizer step of the stage it is meant for
  int64_t version = 0;  // policy version: exact in deterministic mode, else the oldest allowed
  bool exact_version = true;
  int64_t num_samples = 0;
  bool greedy_baseline = false;  // one completion more, decoded greedily, of which only the reward is wanted
  uint64_t seed = 0;
  SamplingParams sampling;
  Millis lease_ms = 0;  // time to produce it, from when it is received; heartbeats renew it
  text::Row row;
};

enum class FinishReason : uint8_t {
  Stop = 0,  // by a token that is no part of what was said
  Length = 1,
  StopString = 2,  // by one of SamplingParams::stop_strings, which ends in the last token
};

struct Completion {
  std::vector<int32_t> tokens;  // end-of-sequence included where the policy chose it
  std::vector<uint8_t> mask;    // [tokens] 1 where the policy chose the token
  std::vector<float>
      logprobs;  // [tokens] after temperature, before min-p, top-k and top-p (spec section 8.1)
  std::vector<float> kept_mass;   // [tokens] probability that min-p, top-k and top-p kept; 1 without them
  std::vector<int64_t> versions;  // [tokens] policy version that chose it
  FinishReason finish = FinishReason::Length;
  std::string text;
  std::vector<rewards::RewardOutcome> outcomes;  // one per scorer, in the recipe's order
};

// What the actor noticed of a scorer while it scored a group.
struct ScorerWatch {
  double seconds = 0;  // for the group
  std::optional<double>
      canary_error;    // by how much a known score is off; only with groups that canaries are due with
  int64_t cached = 0;  // scores that it had given before and was not asked for again
};

// What came of the calls of a group's completions.
struct ToolWatch {
  int64_t calls = 0;
  int64_t failed = 0;
  double seconds = 0;  // of all calls together
};

struct RolloutGroup {
  uint64_t group = 0;
  int32_t attempt = 0;
  int64_t step = 0;
  std::vector<int32_t> prompt;
  std::string prompt_text;
  std::vector<Completion> completions;
  std::vector<rewards::RewardOutcome> greedy;  // of Lease::greedy_baseline, one per scorer; else empty
  std::vector<ScorerWatch> scorers;            // one per scorer
  std::optional<ToolWatch> tools;              // where there are tools
  std::string actor;                           // who made it
  uint64_t incarnation = 0;                    // of that actor: a restarted one is another
  uint64_t sequence = 0;                       // of the group among that incarnation's
  double ttft_s = 0;                           // until a completion's first token, mean over the completions
  double tpot_s = 0;                           // and from then on for each token

  int64_t oldest_version() const;  // of the chosen tokens; 0 when there is none
  int64_t num_tokens() const;      // chosen ones
};

// Limits checked before anything is allocated.
struct GroupLimits {
  int64_t max_samples = 1024;
  int64_t max_tokens = 1 << 20;  // of one sequence
  int64_t vocab_size = 1 << 24;
};

std::string encode_lease(const Lease& lease);
// Throws DataError for bytes that do not hold together or a lease of nothing.
Lease decode_lease(std::string_view bytes);
std::string encode_group(const RolloutGroup& group);
// Throws DataError for bytes that do not hold together: lengths that disagree, ids out of the vocabulary,
// scores that are not finite. What the policy computed is taken as it is: whoever trains on it looks at it.
RolloutGroup decode_group(std::string_view bytes, const GroupLimits& limits = {});

}  // namespace sluice::buffers
