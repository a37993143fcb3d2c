// What the files beside a tokenizer.json say about its special tokens, as transformers reads them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/internal/tokenizer_files.h"
#include "text/tokenizer_json/added_tokens.h"

namespace sluice::text::internal {

// What stands around the ids of a single text.
struct Surround {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

struct SpecialTokens {
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::optional<TokenId> pad;
};

// Reads tokenizer_config.json, special_tokens_map.json and added_tokens.json, as far as they are there.
// Tokens that they name and `added` lacks are added to it. The post-processor of tokenizer.json says what
// stands around a text, whatever their add_bos_token says. Throws DataError naming `where` and the file.
SpecialTokens read_special_tokens(const TokenizerFiles& files, AddedTokenList& added,
                                  const std::string& where);

// Reads the member "post_processor" of a tokenizer.json. Throws DataError naming `where` for a type that is
// not supported, a template without the text and more than 64 ids around it.
Surround read_post_processor(const Json& component, const std::string& where);

}  // namespace sluice::text::internal
