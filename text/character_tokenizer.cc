#include <string>

#include "base/error.h"
#include "text/internal/utf8.h"
#include "text/sentencepiece/tokenizer.h"
#include "text/sentencepiece/training_text.h"
#include "text/tokenizer.h"

namespace sluice::text {

std::unique_ptr<Tokenizer> train_character_tokenizer(std::string_view text) {
  const auto offsets = internal::character_offsets(text, "tokenizer: the training text");
  const auto characters = internal::count_characters(text, offsets);

  // Separators become symbols the model is given instead of pieces it learns; the line end always.
  std::vector<std::string> symbols = {"\n"};
  for (const char* separator : {"\t", "\u2585"}) {
    if (characters.contains(separator)) symbols.emplace_back(separator);
  }
  internal::Characters alphabet;
  for (const auto& [character, count] : characters) {
    if (!internal::is_separator(character)) alphabet.insert(character);
  }
  const size_t vocab_size = internal::kNumSpecials + characters.size() + (characters.contains("\n") ? 0 : 1);
  const std::string model = internal::train_sentencepiece(
      {
          {"model_type", "char"},
          {"vocab_size", std::to_string(vocab_size)},
          {"character_coverage", "1.0"},
          {"use_all_vocab",
           "true"},  // coverage alone is a rounded share: it would lose one character in 2^24
          {"user_defined_symbols", internal::join_symbols(symbols)},
      },
      internal::TrainingSentences(text, offsets, alphabet));

  const std::string where = "tokenizer: the trained model";
  const internal::SentencePieceTokenizer trained(model, {}, where);
  for (const auto& [character, count] : characters) {
    const auto ids = trained.encode(character, Specials::AsText);
    require(ids.size() == 1 && trained.decode(ids) == character, "tokenizer: the character \"", character,
            "\" did not become a piece");
  }
  return internal::with_tokenizer_json(model, internal::character_tokenizer_json(trained));
}

}  // namespace sluice::text
