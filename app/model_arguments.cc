#include "app/model_arguments.h"

#include <iostream>
#include <vector>

#include "actors/stop_ids.h"
#include "base/error.h"
#include "model/model_directory.h"
#include "text/chat_template.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

bool has_tokenizer(const fs::path& directory) {
  return fs::exists(directory / "tokenizer.json") || fs::exists(directory / "tokenizer.model");
}

}  // namespace

fs::path find_model(const fs::path& path) {
  // The link is followed at once: a run that goes on may move it.
  for (const char* below : {"", "hf", "checkpoints/latest/hf"}) {
    if (fs::exists(path / below / "config.json")) return fs::canonical(path / below);
  }
  fail<DataError>(path.string(), ": neither a model directory (config.json), nor a checkpoint",
                  " (hf/config.json), nor a run (checkpoints/latest)");
}

fs::path find_tokenizer(const fs::path& path) {
  if (has_tokenizer(path)) return path;
  for (const char* below : {"hf", "checkpoints/latest/hf"}) {
    if (has_tokenizer(path / below)) return fs::canonical(path / below);
  }
  return path;
}

std::unique_ptr<text::Tokenizer> LoadedModel::load_tokenizer() const {
  return has_tokenizer(directory) ? text::load_tokenizer(directory) : nullptr;
}

std::unique_ptr<text::Tokenizer> LoadedModel::need_tokenizer() const {
  auto tokenizer = load_tokenizer();
  require<DataError>(tokenizer != nullptr, directory.string(),
                     ": no tokenizer (tokenizer.json or tokenizer.model) in it; give token ids with --ids");
  return tokenizer;
}

std::set<int32_t> LoadedModel::stop_ids(const text::Tokenizer* tokenizer) const {
  auto ids = actors::stop_ids(network->config(), tokenizer, /*chat=*/nullptr);
  if (tokenizer == nullptr) return ids;
  try {
    const auto chat = text::load_chat_template(directory);
    return actors::stop_ids(network->config(), tokenizer, chat ? &*chat : nullptr);
  } catch (const DataError& error) {
    std::cerr << "sluice: " << error.what()
              << "; what the chat template ends a turn with ends no completion\n";
    return ids;
  }
}

LoadedModel ModelArguments::load(bool scalar_head) const {
  LoadedModel loaded{.directory = find_model(model), .network = nullptr};
  std::vector<std::string> notices;
  loaded.network = model::load_model(
      loaded.directory, at::kCPU,
      {.dtype = model::dtype_named(dtype).value(), .scalar_head = scalar_head, .notices = &notices});
  for (const auto& notice : notices) std::cerr << "sluice: " << notice << '\n';
  if (!adapter.empty()) model::load_adapter(adapter, *loaded.network);
  return loaded;
}

void add_model_arguments(CLI::App& app, ModelArguments& arguments) {
  app.add_option("model", arguments.model,
                 "A model directory, a checkpoint, or a run (its latest checkpoint)")
      ->required();
  app.add_option("--adapter", arguments.adapter, "A PEFT adapter directory (LoRA) to put on it");
}

void add_load_dtype(CLI::App& app, ModelArguments& arguments) {
  app.add_option("--dtype", arguments.dtype, "What weights are kept in, whatever the directory stores")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
}

}  // namespace sluice::app
