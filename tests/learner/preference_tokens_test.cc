#include "learner/preference_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/sft/letter_tokenizer.h"

namespace sluice::learner {
namespace {

using Tokens = std::vector<int32_t>;
using Mask = std::vector<uint8_t>;

// "a" is 3, "b" is 4 and so on, "z" is 28; the end of sequence is 2.
const sft::LetterTokenizer& letters() {
  static const sft::LetterTokenizer tokenizer;
  return tokenizer;
}

text::PreferenceRow text_row(const char* prompt, const char* chosen, const char* rejected) {
  text::PreferenceRow row;
  row.prompt = prompt;
  row.completions = {chosen, rejected};
  row.file = "pairs.jsonl";
  row.line = 7;
  return row;
}

Json message(const char* role, const char* content) { return {{"role", role}, {"content", content}}; }

// Each turn is its role's first letter, its content and a "z".
text::ChatTemplate chat_template() {
  return text::ChatTemplate(
      "{% for m in messages %}{{ m.role[0] }}{{ m.content }}z{% endfor %}"
      "{% if add_generation_prompt %}a{% endif %}",
      Json::object(), "chat");
}

text::PreferenceRow talk() {
  auto row = text_row("", "", "");
  row.prompt = Json::array({message("user", "c")});
  row.completions[0] = Json::array({message("assistant", "d")});
  row.completions[1] =
      Json::array({message("assistant", "ef"), message("user", "g"), message("assistant", "h")});
  return row;
}

TEST(PreferenceTokens, EncodesPromptAndCompletionsOfTextOneByOne) {
  const auto example = *tokenize_preference(text_row("ab", "c", "de"), letters(), nullptr, {});
  EXPECT_EQ(example.prompt, (Tokens{3, 4}));
  EXPECT_EQ(example.completions[0].tokens, (Tokens{5, 2}));
  EXPECT_EQ(example.completions[1].tokens, (Tokens{6, 7, 2}));
  EXPECT_EQ(example.completions[1].mask, (Mask{1, 1, 1}));
}

TEST(PreferenceTokens, CountsWhatTheAssistantSaysBehindThePrompt) {
  const auto chat = chat_template();
  const auto example = *tokenize_preference(talk(), letters(), &chat, {});
  EXPECT_EQ(example.prompt, letters().encode("ucza", text::Specials::AsText));
  EXPECT_EQ(example.completions[0].tokens, letters().encode("dz", text::Specials::AsText));
  EXPECT_EQ(example.completions[0].mask, (Mask{1, 1}));
  EXPECT_EQ(example.completions[1].tokens, letters().encode("efzugzahz", text::Specials::AsText));
  EXPECT_EQ(example.completions[1].mask, (Mask{1, 1, 1, 0, 0, 0, 0, 1, 1}));
}

TEST(PreferenceTokens, LeavesTheFirstTokensOfCompletionsThatBeginAlikeInThem) {
  const auto chat = chat_template();
  auto row = talk();
  row.completions[1] = Json::array({message("assistant", "de")});
  const auto example = *tokenize_preference(row, letters(), &chat, {});
  EXPECT_EQ(example.prompt.size(), 4u);
  EXPECT_EQ(example.completions[1].mask, (Mask{1, 1, 1}));
}

TEST(PreferenceTokens, CutsTheEndOrTheStartOfThePrompt) {
  const auto row = text_row("abcd", "ef", "g");
  const auto start = *tokenize_preference(row, letters(), nullptr, {.max_length = 5});
  EXPECT_EQ(start.prompt.size(), 4u);
  EXPECT_EQ(start.completions[0].tokens, (Tokens{7}));
  EXPECT_EQ(start.completions[1].tokens, (Tokens{9}));

  const auto end =
      *tokenize_preference(row, letters(), nullptr, {.max_length = 5, .truncation = Truncation::KeepEnd});
  EXPECT_EQ(end.prompt, (Tokens{5, 6}));
  EXPECT_EQ(end.completions[0].tokens, (Tokens{7, 8, 2}));
  const auto short_one =
      *tokenize_preference(row, letters(), nullptr, {.max_length = 2, .truncation = Truncation::KeepEnd});
  EXPECT_EQ(short_one.prompt, (Tokens{6}));
  EXPECT_EQ(short_one.completions[0].tokens, (Tokens{7}));

  EXPECT_FALSE(tokenize_preference(row, letters(), nullptr, {.max_length = 4}));
}

TEST(PreferenceTokens, KeepsTheJudgement) {
  auto row = text_row("a", "b", "");
  row.completions.pop_back();
  row.desirable = false;
  EXPECT_FALSE(tokenize_preference(row, letters(), nullptr, {})->desirable);
}

TEST(PreferenceTokens, NamesTheRowThatCannotBeTokenised) {
  const auto refused = [](const text::PreferenceRow& row, const text::Tokenizer& tokenizer,
                          const PreferenceTokenizeOptions& options, const char* part) {
    EXPECT_THAT(message_of<DataError>([&] { tokenize_preference(row, tokenizer, nullptr, options); }),
                testing::AllOf(testing::StartsWith("pairs.jsonl:7: "), testing::HasSubstr(part)));
  };
  refused(talk(), letters(), {}, "no chat template");
  refused(text_row("a", "b", "c"), sft::LetterTokenizer(std::nullopt), {}, "no end-of-sequence token");
  refused(text_row("", "b", "c"), letters(), {}, "the prompt has no token");
  refused(text_row("a", "b", ""), letters(), {.append_eos = false}, "no token of a completion counts");
}

}  // namespace
}  // namespace sluice::learner
