// From generated tokens to a finished group: texts and one outcome for every scorer.
#pragma once

#include <vector>

#include "buffers/rollout_group.h"
#include "rewards/reward_mix.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// Fills text and outcomes of every completion. Special tokens and the end of sequence are not part of the
// text.
void score_completions(std::vector<buffers::Completion>& completions, const text::Row& row, uint64_t group,
                       const text::Tokenizer& tokenizer, const rewards::RewardMix& rewards);

}  // namespace sluice::actors
