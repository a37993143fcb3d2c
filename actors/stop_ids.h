// Which tokens end a completion.
#pragma once

#include <cstdint>
#include <set>

#include "model/network.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// The tokenizer's end of sequence and those that the model's configuration names.
std::set<int32_t> stop_ids(const model::Network& network, const text::Tokenizer& tokenizer);

}  // namespace sluice::actors
