// Model directories for the commands that take one, and what they print.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "model/model_directory.h"
#include "text/tokenizer.h"

namespace sluice::app {

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / name;
}

inline const std::vector<std::string>& tested_goldens() {
  static const std::vector<std::string> names = {"llama", "mistral", "gemma2", "deepseek_v3", "gpt2"};
  return names;
}

// A small network over the letters, the space and the line end, with its tokenizer and a chat template.
inline void write_letters(const std::filesystem::path& directory) {
  const auto tokenizer = text::train_character_tokenizer("abcdefghijklmnopqrstuvwxyz \n");
  model::Network network(model::llama_config({.vocab_size = tokenizer->vocab_size() + 2,
                                              .hidden_size = 16,
                                              .intermediate_size = 24,
                                              .num_layers = 2,
                                              .num_heads = 2,
                                              .num_kv_heads = 1,
                                              .head_dim = 8,
                                              .max_position = 64,
                                              .bos_id = 1,
                                              .eos_ids = {2}}),
                         at::kCPU);
  network.init(5);
  model::save_model(directory, network, {.dtype = at::kFloat});
  tokenizer->save(directory);
  write_file_atomically(directory / "chat_template.jinja",
                        "{% for m in messages %}{{ m.role }} {{ m.content }}{{ eos_token }}{% endfor %}"
                        "{% if add_generation_prompt %}assistant {% endif %}");
}

// The same with weights that are no numbers.
inline void write_broken_letters(const std::filesystem::path& directory) {
  write_letters(directory);
  const auto network = model::load_model(directory, at::kCPU);
  network->flat().fill_(std::numeric_limits<float>::quiet_NaN());
  model::save_model(directory, *network, {.dtype = at::kFloat});
}

// A line of {KEY: ids} for each list.
inline std::string id_lines(const std::vector<std::vector<int32_t>>& lists) {
  std::string lines;
  for (const auto& ids : lists) lines += Json{{"ids", ids}}.dump() + "\n";
  return lines;
}

inline std::vector<Json> json_lines(const std::string& out) {
  std::vector<Json> lines;
  std::istringstream text(out);
  for (std::string line; std::getline(text, line);) lines.push_back(parse_json(line, "output"));
  return lines;
}

}  // namespace sluice::app
