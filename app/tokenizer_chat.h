// `sluice tokenizer chat`: what a model's chat template makes of conversations.
#pragma once

#include "app/command.h"

namespace sluice::app {

Command add_tokenizer_chat(CLI::App& app);

}  // namespace sluice::app
