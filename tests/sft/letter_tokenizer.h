// A tokenizer whose ids a test can count: "a" is 3, "b" is 4 and so on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::sft {

class LetterTokenizer final : public text::Tokenizer {
 public:
  explicit LetterTokenizer(std::optional<text::TokenId> eos = 2) : eos_(eos) {}
  std::vector<text::TokenId> encode(std::string_view text, text::Specials) const override {
    std::vector<text::TokenId> ids;
    for (const char letter : text) ids.push_back(letter - 'a' + 3);
    return ids;
  }
  std::vector<text::TokenId> with_specials(std::vector<text::TokenId> ids) const override { return ids; }
  std::string decode(std::span<const text::TokenId>, bool) const override { return {}; }
  std::optional<text::TokenId> find(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return 23; }
  std::optional<text::TokenId> bos_id() const override { return std::nullopt; }
  std::optional<text::TokenId> eos_id() const override { return eos_; }
  std::optional<text::TokenId> pad_id() const override { return std::nullopt; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path&) const override {}

 private:
  const std::optional<text::TokenId> eos_;
  const std::string hash_ = "letters";
};

}  // namespace sluice::sft
