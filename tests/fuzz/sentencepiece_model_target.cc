#include "tests/fuzz/targets.h"
#include "text/internal/tokenizer_files.h"
#include "text/sentencepiece/model.h"

namespace sluice::fuzz {
namespace {

constexpr std::string_view kText = "Hi <s> it's  12\n\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80 </s>\xff";

}  // namespace

void read_sentencepiece_model(std::string_view bytes) {
  refuse_or([&] {
    const auto model = text::internal::read_sentencepiece_model(bytes, "fuzzed");
    // The library, which must live through what the check lets pass.
    const auto tokenizer =
        text::internal::make_tokenizer({{text::internal::kTokenizerModel, std::string(bytes)}}, "fuzzed");
    must_hold(tokenizer->vocab_size() >= static_cast<int64_t>(model.pieces.size()), "a piece was lost");
    for (const auto specials : {text::Specials::Parse, text::Specials::AsText}) {
      const auto ids = tokenizer->encode(kText, specials);
      for (const auto id : ids) must_hold(id >= 0 && id < tokenizer->vocab_size(), "an id out of range");
      tokenizer->decode(ids);
    }
  });
}

}  // namespace sluice::fuzz
