// `sluice reward init`.
#pragma once

#include "app/command.h"

namespace sluice::app {

// An example of each kind of reward of one's own, and its test, into a folder where nothing is overwritten.
Command add_reward_init(CLI::App& app);

}  // namespace sluice::app
