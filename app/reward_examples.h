// Rewards of one's own to begin with, each with its test: what `sluice reward init` writes.
#pragma once

#include <string>
#include <vector>

namespace sluice::app {

struct ExampleFile {
  std::string name;
  std::string text;
  bool program = false;  // may be executed
};

struct RewardExample {
  std::string kind;  // python, command, library, http
  std::string what;  // for the command line
  std::vector<ExampleFile> files;
  std::vector<std::string> next;  // what to type in the folder
};

const std::vector<RewardExample>& reward_examples();

}  // namespace sluice::app
