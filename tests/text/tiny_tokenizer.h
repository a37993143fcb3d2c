// Small tokenizer.json documents for tests, built part by part.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/internal/tokenizer_files.h"

namespace sluice::text {

// A document without any part but a BPE model of these tokens, whose ids are their places.
inline Json bpe_document(const std::vector<std::string>& tokens,
                         const std::vector<std::string>& merges = {}) {
  Json vocab = Json::object();
  for (size_t id = 0; id < tokens.size(); ++id) vocab[tokens[id]] = id;
  return {{"version", "1.0"}, {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline Json unigram_document(const std::vector<std::pair<std::string, double>>& pieces, int unk_id = 0) {
  Json vocab = Json::array();
  for (const auto& [piece, score] : pieces) vocab.push_back({piece, score});
  return {{"version", "1.0"}, {"model", {{"type", "Unigram"}, {"unk_id", unk_id}, {"vocab", vocab}}}};
}

inline Json added_token(int id, const std::string& content, const Json& flags = Json::object()) {
  Json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  token.update(flags);
  return token;
}

inline std::unique_ptr<Tokenizer> tokenizer_of(const Json& document, const Json& config = nullptr) {
  internal::TokenizerFiles files = {{internal::kTokenizerJson, document.dump()}};
  if (!config.is_null()) files[internal::kTokenizerConfig] = config.dump();
  return internal::make_json_tokenizer(std::move(files), "here");
}

}  // namespace sluice::text
