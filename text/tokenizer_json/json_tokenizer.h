// A tokenizer put together from the parts of a tokenizer.json.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "text/internal/tokenizer_files.h"
#include "text/tokenizer_json/added_tokens.h"
#include "text/tokenizer_json/decoders.h"
#include "text/tokenizer_json/normalizers.h"
#include "text/tokenizer_json/piece_cache.h"
#include "text/tokenizer_json/pre_tokenizers.h"
#include "text/tokenizer_json/special_tokens.h"
#include "text/tokenizer_json/token_model.h"

namespace sluice::text::internal {

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be null
  std::unique_ptr<Decoder> decoder;             // may be null: then tokens are joined with spaces
  std::unique_ptr<TokenModel> model;
  std::map<TokenId, AddedToken> added;
  SpecialTokens specials;
  Surround surround;
};

class JsonTokenizer : public Tokenizer {
 public:
  // save() writes `files` as they are. Throws DataError naming `where` for an id around a text that the
  // vocabulary lacks and for an added token whose normal form is too long; Error when it has none in time.
  JsonTokenizer(TokenizerParts parts, TokenizerFiles files, const std::string& where);
  ~JsonTokenizer() override;

  std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::Parse) const override;
  std::vector<TokenId> with_specials(std::vector<TokenId> ids) const override;
  std::string decode(std::span<const TokenId> ids, bool keep_specials = false) const override;
  std::optional<TokenId> find(std::string_view token) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(texts_.size()); }
  std::optional<TokenId> bos_id() const override { return parts_.specials.bos; }
  std::optional<TokenId> eos_id() const override { return parts_.specials.eos; }
  std::optional<TokenId> pad_id() const override { return parts_.specials.pad; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path& directory) const override;

 private:
  struct Workspace;
  class Lease;

  void normalize_added(const std::string& where);
  void index_tokens();
  void check_ids(const std::string& where) const;
  std::string compute_hash() const;

  void encode_text(std::string_view text, bool at_start, Specials specials, Workspace& work,
                   std::vector<TokenId>& ids) const;
  void encode_pieces(std::string_view text, bool at_start, Specials specials, Workspace& work,
                     std::vector<TokenId>& ids) const;
  void encode_piece(std::string_view piece, Specials specials, Workspace& work,
                    std::vector<TokenId>& ids) const;

  const TokenizerParts parts_;
  const TokenizerFiles files_;
  std::string hash_;
  std::optional<AddedTokenFinder> raw_finder_;     // of tokens in the text as it is
  std::optional<AddedTokenFinder> normal_finder_;  // of tokens in the normalized text
  std::map<std::string, TokenId, std::less<>> added_ids_;
  std::map<TokenId, std::string> normal_forms_;  // of added tokens: what they decode to
  std::vector<const std::string*> texts_;        // by id, null for a hole
  BlockedIds silent_;                            // by id: decodes to nothing
  BlockedIds forbidden_;                         // by id: must not come out of text that is only text

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;  // guarded by mutex_
};

}  // namespace sluice::text::internal
