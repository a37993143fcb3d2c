// Which tokens end a completion.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "model/model_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// The ids that config.json and generation_config.json name, the tokenizer's end of sequence, and the special
// token that the template puts behind what an assistant says. Either of the last two may be null; without a
// tokenizer the template says nothing. Throws DataError for an id that the model does not have, and for a
// template that cannot render a question and its answer.
std::set<int32_t> stop_ids(const model::ModelConfig& config, const text::Tokenizer* tokenizer,
                           const text::ChatTemplate* chat);

// The ids in the order that a model directory names them: config.json's own first, as they stand there.
std::vector<int64_t> ordered_stop_ids(const model::ModelConfig& config, const std::set<int32_t>& stops);

}  // namespace sluice::actors
