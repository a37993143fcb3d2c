// From generated tokens to a finished group: texts and one outcome for every scorer.
#pragma once

#include <string>
#include <vector>

#include "buffers/rollout_group.h"
#include "rewards/reward_mix.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// The text that a completion was meant to say: without what stopped it (a token, or one of the texts),
// special tokens, and ids that only pad the model's vocabulary.
std::string completion_text(const buffers::Completion& completion, const text::Tokenizer& tokenizer,
                            const std::vector<std::string>& stop_strings);

// Fills text and outcomes of every completion; returns how many seconds each scorer took.
std::vector<double> score_completions(std::vector<buffers::Completion>& completions, const text::Row& row,
                                      uint64_t group, const text::Tokenizer& tokenizer,
                                      const rewards::RewardMix& rewards,
                                      const std::vector<std::string>& stop_strings);

}  // namespace sluice::actors
