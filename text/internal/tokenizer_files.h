// The files of a tokenizer, and who reads them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/tokenizer.h"

namespace sluice::text::internal {

// File name -> bytes of everything that belongs to a tokenizer.
using TokenizerFiles = std::map<std::string, std::string>;

inline constexpr uint64_t kMaxTokenizerBytes = 64u << 20;  // of one file
inline constexpr const char* kTokenizerModel = "tokenizer.model";
inline constexpr const char* kTokenizerJson = "tokenizer.json";
inline constexpr const char* kTokenizerConfig = "tokenizer_config.json";
inline constexpr const char* kSpecialTokensMap = "special_tokens_map.json";
inline constexpr const char* kAddedTokens = "added_tokens.json";

// Whether a tokenizer's file is JSON, and not a SentencePiece model.
bool is_json(std::string_view bytes);
// Parses a file that holds an object. Throws DataError naming `where`.
Json parse_object(std::string_view bytes, const std::string& where);

// The tokenizer that these files are: read from tokenizer.json when it is among them, else from
// tokenizer.model. What load_tokenizer() makes of a folder that holds them, so a trained tokenizer that comes
// from here has the hash and the ids it will have when it is loaded again. Throws DataError naming `where`.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerFiles files, const std::string& where);

// The same for files that have a tokenizer.json (text/tokenizer_json/load.cc says what of it is read).
std::unique_ptr<Tokenizer> make_json_tokenizer(TokenizerFiles files, const std::string& where);

}  // namespace sluice::text::internal
