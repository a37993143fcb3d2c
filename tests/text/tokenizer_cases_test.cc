// What the `tokenizers` wheel makes of strings, for a tokenizer of every kind:
// tests/oracle/make_tokenizer_cases.py wrote the file.
#include <gtest/gtest.h>

#include "tests/text/tiny_tokenizer.h"

namespace sluice::text {
namespace {

TEST(TokenizerCases, AreEncodedAndDecodedAsTheWheelDoes) {
  const Json cases = read_json(SLUICE_SOURCE_DIR "/tests/text/tokenizer_cases.json");
  ASSERT_EQ(cases["tokenizers"].size(), 12);
  for (const auto& entry : cases["tokenizers"]) {
    const auto tokenizer = tokenizer_of(entry["tokenizer"]);
    for (const auto& row : entry["cases"]) {
      SCOPED_TRACE(entry["name"].get<std::string>() + ": " + row[0].dump());
      const auto ids = tokenizer->encode(row[0].get<std::string>());
      EXPECT_EQ(ids, row[1].get<std::vector<TokenId>>());
      EXPECT_EQ(tokenizer->decode(ids, /*keep_specials=*/true), row[2].get<std::string>());
      EXPECT_EQ(tokenizer->decode(ids), row[3].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace sluice::text
