// The arguments of every command that takes a model directory, and what they load.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "model/network.h"
#include "text/tokenizer.h"

namespace sluice::app {

// The model directory that a path means: itself, `hf` of a checkpoint, or that of a run's latest checkpoint.
// Throws DataError saying what was looked for.
std::filesystem::path find_model(const std::filesystem::path& path);
// The same for a tokenizer, which may also be a file; a path without any comes back as it is.
std::filesystem::path find_tokenizer(const std::filesystem::path& path);

struct LoadedModel {
  std::filesystem::path directory;
  std::unique_ptr<model::Network> network;  // with the adapter beside its weights

  // Null where the directory has none. Throws DataError for one that is not read.
  std::unique_ptr<text::Tokenizer> load_tokenizer() const;
  // Throws DataError where there is none, too.
  std::unique_ptr<text::Tokenizer> need_tokenizer() const;

  // actors::stop_ids(), for who has no other use for the chat template: one that is not read or does not
  // render is said on stderr and left out.
  std::set<int32_t> stop_ids(const text::Tokenizer* tokenizer) const;
};

struct ModelArguments {
  std::string model, adapter;
  std::string dtype = "float32";  // what weights are kept in: float32 | bfloat16

  // A policy, or a reward model. What was left out or changed is said on stderr.
  LoadedModel load(bool scalar_head = false) const;
};

// DIR and --adapter. `--dtype` means what weights are loaded in to most commands, and to one what it writes.
void add_model_arguments(CLI::App& app, ModelArguments& arguments);
void add_load_dtype(CLI::App& app, ModelArguments& arguments);

}  // namespace sluice::app
