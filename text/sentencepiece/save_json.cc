// tokenizer.json of the SentencePiece models that are trained here.
#include "base/json.h"
#include "text/sentencepiece/tokenizer.h"

namespace sluice::text::internal {
namespace {

Json replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json special_tokens(const SentencePieceTokenizer& tokenizer) {
  Json specials = Json::array();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) continue;
    specials.push_back({{"id", id},
                        {"content", tokenizer.piece(id)},
                        {"single_word", false},
                        {"lstrip", false},
                        {"rstrip", false},
                        {"normalized", false},
                        {"special", true}});
  }
  return specials;
}

std::string write(const SentencePieceTokenizer& tokenizer, Json decoders, Json model) {
  const Json out = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", special_tokens(tokenizer)},
      {"normalizer", replace(" ", "▁")},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder", {{"type", "Sequence"}, {"decoders", std::move(decoders)}}},
      {"model", std::move(model)},
  };
  return out.dump(2) + "\n";
}

}  // namespace

std::string character_tokenizer_json(const SentencePieceTokenizer& tokenizer) {
  Json vocab = Json::object();
  auto& pieces = vocab.get_ref<Json::object_t&>();  // operator[] would look through all of them each time
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) pieces.emplace_back(tokenizer.piece(id), id);
  // Byte-pair encoding without merges is one piece per character. Like SentencePiece, it writes a run of
  // unknown characters as one unknown token.
  return write(tokenizer, Json::array({replace("▁", " "), Json{{"type", "Fuse"}}}),
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", tokenizer.piece(0)},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", true},
                {"byte_fallback", false},
                {"ignore_merges", false},
                {"vocab", vocab},
                {"merges", Json::array()}});
}

// SentencePiece never finds bytes and specials in a text. `tokenizers` finds every piece, so the score of
// these is below what any six characters have.
std::string unigram_tokenizer_json(const SentencePieceTokenizer& tokenizer) {
  constexpr double kNeverBest = -1000;
  Json vocab = Json::array();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const double score = tokenizer.is_text(id) ? static_cast<double>(tokenizer.score(id)) : kNeverBest;
    vocab.push_back(Json::array({tokenizer.piece(id), score}));
  }
  return write(tokenizer,
               Json::array({replace("▁", " "), Json{{"type", "ByteFallback"}}, Json{{"type", "Fuse"}}}),
               {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocab}, {"byte_fallback", true}});
}

std::unique_ptr<Tokenizer> with_tokenizer_json(std::string model, std::string json) {
  const std::string where = "tokenizer: the trained model";
  const SentencePieceTokenizer tokenizer(std::move(model), {{kTokenizerJson, std::move(json)}}, where);
  return make_tokenizer(tokenizer.files(), where);
}

}  // namespace sluice::text::internal
