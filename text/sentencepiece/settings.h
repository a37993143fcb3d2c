// What the files beside tokenizer.model say about it: tokens added after training, and transformers'
// settings.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "text/internal/tokenizer_files.h"
#include "text/tokenizer_json/added_tokens.h"

namespace sluice::text::internal {

struct SentencePieceSettings {
  std::map<TokenId, AddedToken> added;
  std::string bos, eos, pad;              // as spelled; empty: the model's own
  bool add_bos = false, add_eos = false;  // what transformers 5 does when nothing is said
  std::optional<bool> legacy;             // transformers': a dummy prefix after special tokens too
  std::optional<bool> add_prefix_space;
};

// Reads added_tokens.json and tokenizer_config.json where they are. Throws DataError naming `where`, the file
// and the token for what is malformed: an id that is negative or past 2^24, two tokens with one id, text that
// is empty or not UTF-8.
SentencePieceSettings read_settings(const TokenizerFiles& files, const std::string& where);

}  // namespace sluice::text::internal
