#include "text/token_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tests/text/tiny_tokenizer.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;

TEST(TokenMap, GivesATokenToTheRangeItBeginsIn) {
  const auto tokenizer = tokenizer_of(bpe_document({"a", "b", "c", "d", "bc"}, {"b c"}));
  TokenMap map(*tokenizer, "abcd");
  EXPECT_THAT(map.ids(), ElementsAre(0, 4, 3));
  EXPECT_EQ(map.beginning_in({0, 2}), (TokenRange{0, 2}));
  EXPECT_EQ(map.beginning_in({2, 4}), (TokenRange{2, 3}));
  EXPECT_EQ(map.beginning_in({2, 3}), (TokenRange{2, 2}));
  EXPECT_EQ(map.touching({2, 3}), (TokenRange{1, 2}));
  EXPECT_EQ(map.touching({0, 1}), (TokenRange{0, 1}));
  EXPECT_EQ(map.touching({0, 4}), (TokenRange{0, 3}));
}

TEST(TokenMap, CountsTheWhiteSpaceThatASpecialTokenTakesAsItsOwn) {
  auto document = bpe_document({"a", "b", " "});
  document["added_tokens"] = {added_token(3, "<e>", {{"special", true}, {"lstrip", true}, {"rstrip", true}})};
  const auto tokenizer = tokenizer_of(document);
  TokenMap map(*tokenizer, "a  <e>  b");
  EXPECT_THAT(map.ids(), ElementsAre(0, 3, 1));
  EXPECT_EQ(map.beginning_in({3, 6}), (TokenRange{2, 2}));
  EXPECT_EQ(map.beginning_in({1, 9}), (TokenRange{1, 3}));
  EXPECT_EQ(map.beginning_in({7, 9}), (TokenRange{2, 3}));
}

// What stands before a place gets the space that the model puts before every text, and tokens reach over.
TEST(TokenMap, FindsItsWayThroughSentencePiece) {
  const auto tokenizer = load_tokenizer(SLUICE_SOURCE_DIR "/data/tokenizers/llama2.model");
  const std::string text = "[INST] Grüße 你好 [/INST] Hello world</s>";
  TokenMap map(*tokenizer, text);
  const size_t begin = text.find(" Hello"), end = text.find("</s>");
  const auto [first, last] = map.beginning_in({begin, end});
  EXPECT_EQ(tokenizer->decode(std::span(map.ids()).subspan(first, last - first)), "Hello world");
  EXPECT_EQ(last + 1, map.ids().size());
  EXPECT_EQ(map.beginning_in({begin + 1, end}), (TokenRange{first + 1, last}));  // the word began before
}

// Ids that all depend on how long the text is.
class ContraryTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, Specials) const override {
    return std::vector<TokenId>(text.size(), static_cast<TokenId>(text.size()));
  }
  std::vector<TokenId> with_specials(std::vector<TokenId> ids) const override { return ids; }
  std::string decode(std::span<const TokenId>, bool) const override { return {}; }
  std::optional<TokenId> find(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return 100; }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  std::optional<TokenId> eos_id() const override { return std::nullopt; }
  std::optional<TokenId> pad_id() const override { return std::nullopt; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path&) const override {}

 private:
  const std::string hash_ = "contrary";
};

TEST(TokenMap, RefusesAPlaceThatTheIdsDoNotTell) {
  const ContraryTokenizer tokenizer;
  TokenMap map(tokenizer, "abc");
  EXPECT_EQ(map.beginning_in({0, 3}), (TokenRange{0, 3}));
  EXPECT_EQ(map.touching({1, 2}), (TokenRange{0, 3}));
  EXPECT_THROW(map.beginning_in({1, 3}), DataError);
}

}  // namespace
}  // namespace sluice::text
