// The recipes that `sluice init` writes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/jsonl_layout.h"

namespace sluice::app {

struct InitSource {
  std::string from;  // "gsm8k", "countdown", "preference"
  std::string about;
  std::vector<std::pair<std::string, std::string>> files;  // of data/ -> in the new folder
  std::string recipe;                                      // its stages and tables; paths are those files'
};
const std::vector<InitSource>& init_sources();

struct OwnData {
  std::string train, test;  // file names; test is "" where there are too few rows to hold out
  text::RowLayout layout;
  std::string model;           // a model directory, or "" for a small network from scratch
  bool gsm8k_answers = false;  // "... #### 42"
};
// A recipe for rows of one's own.
std::string own_recipe(const OwnData& data);

}  // namespace sluice::app
