#include "tests/fuzz/targets.h"
#include "text/internal/tokenizer_files.h"

namespace sluice::fuzz {
namespace {

constexpr std::string_view kText = "Hi <s> it's  12\n\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80 </s>\xff";

}  // namespace

void read_tokenizer_json(std::string_view bytes) {
  refuse_or([&] {
    const auto tokenizer =
        text::internal::make_json_tokenizer({{text::internal::kTokenizerJson, std::string(bytes)}}, "fuzzed");
    for (const auto specials : {text::Specials::Parse, text::Specials::AsText}) {
      const auto ids = tokenizer->with_specials(tokenizer->encode(kText, specials));
      for (const auto id : ids) must_hold(id >= 0 && id < tokenizer->vocab_size(), "an id out of range");
      tokenizer->decode(ids, /*keep_specials=*/true);
      tokenizer->decode(ids);
    }
  });
}

}  // namespace sluice::fuzz
