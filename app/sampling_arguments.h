// The arguments that say how tokens are drawn.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "buffers/rollout_group.h"

namespace sluice::app {

struct SamplingArguments {
  buffers::SamplingParams params;
  bool greedy = false;
  std::vector<std::string> biases;  // ID=VALUE

  // All of it together. Throws UsageError, its message begun with `who`, for what cannot be meant.
  buffers::SamplingParams read(const std::string& who) const;
};

void add_sampling_arguments(CLI::App& app, SamplingArguments& arguments);

}  // namespace sluice::app
