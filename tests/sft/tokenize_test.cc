#include "sft/tokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"
#include "tests/sft/letter_tokenizer.h"

namespace sluice::sft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

using Tokens = std::vector<int32_t>;
using Weights = std::vector<float>;

text::Row row_of(const std::string& prompt, const std::string& completion) {
  text::Row row;
  row.prompt = prompt;
  row.completion = completion;
  return row;
}

Example letters(const std::string& prompt, const std::string& completion, const TokenizeOptions& options) {
  return tokenize(row_of(prompt, completion), LetterTokenizer(), nullptr, options);
}

TEST(TokenizeText, PutsTheLossOnCompletionAndEndOfSequence) {
  const auto example = letters("ab", "cd", {});
  EXPECT_EQ(example.tokens, (Tokens{3, 4, 5, 6, 2}));
  EXPECT_EQ(example.weights, (Weights{0, 0, 1, 1, 1}));
}

TEST(TokenizeText, WithoutAPromptPutsTheLossOnAllButTheFirstToken) {
  const auto example = letters("", "abc", {.append_eos = false});
  EXPECT_EQ(example.tokens, (Tokens{3, 4, 5}));
  EXPECT_EQ(example.weights, (Weights{0, 1, 1}));
}

TEST(TokenizeText, KeepsTheStartOfWhatIsTooLong) {
  const TokenizeOptions options{.append_eos = false, .max_length = 4};
  EXPECT_EQ(letters("ab", "cde", options).tokens, (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(num_targets(letters("abcd", "e", options)), 0);
  EXPECT_EQ(num_targets(letters("", "a", options)), 0);
}

TEST(TokenizeText, RefusesToAppendAnEndOfSequenceThatDoesNotExist) {
  EXPECT_THROW(tokenize(row_of("a", "b"), LetterTokenizer(std::nullopt), nullptr, {}), DataError);
}

TEST(TokenizeText, WeighsWhatStandsBetweenTagsAndTheTags) {
  const auto example = letters("<a>y</a>", "x<a>y</a>z<a>", {.append_eos = false, .tag_weights = {{"a", 2}}});
  EXPECT_EQ(example.weights, (Weights{0, 0, 0, 0, 0, 0, 0, 0,     // the prompt has no weight
                                      1, 2, 2, 2, 2, 2, 2, 2, 2,  // <a>y</a>
                                      1, 1, 1, 1}));              // what is not closed counts once
}

TEST(TokenizeText, MultipliesTheWeightsOfTagsInsideEachOther) {
  const auto example =
      letters("", "t<a><b>y</b></a>", {.append_eos = true, .tag_weights = {{"a", 3}, {"b", 0}}});
  EXPECT_EQ(example.weights, (Weights{0, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 1}));
}

// Words that a test can count; the added tokens follow them from 13 on. `flags` are theirs.
std::unique_ptr<text::Tokenizer> chat_tokenizer(const Json& flags = Json::object()) {
  Json document = {{"version", "1.0"}, {"model", {{"type", "Unigram"}, {"unk_id", 0}}}};
  document["model"]["vocab"] = Json::array();
  for (const char* piece : {"<unk>", "user", "assistant", "model", "Hi", "Yes", "Bye", "No", "\n", "\n\n",
                            " ", "[INST]", "[/INST]"}) {
    document["model"]["vocab"].push_back({piece, -1.0});
  }
  int id = 13;
  for (const char* token :
       {"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"}) {
    Json added = {{"id", id++},      {"content", token},    {"single_word", false}, {"lstrip", false},
                  {"rstrip", false}, {"normalized", false}, {"special", true}};
    added.update(flags);
    document["added_tokens"].push_back(added);
  }
  const TempFolder folder;
  write_plain(folder / "tokenizer.json", document.dump());
  return text::load_tokenizer(folder.path());
}

text::ChatTemplate chat_template(const std::string& name) {
  const auto file = std::filesystem::path(SLUICE_SOURCE_DIR) / "data/chat_templates" / (name + ".jinja");
  return text::ChatTemplate(read_file(file), {{"bos_token", "<s>"}, {"eos_token", "</s>"}}, name);
}

text::Row two_turns() {
  text::Row row;
  row.file = "talk.jsonl";
  row.line = 7;
  row.messages = Json::array({{{"role", "user"}, {"content", "Hi"}},
                              {{"role", "assistant"}, {"content", "Yes"}},
                              {{"role", "user"}, {"content", "Bye"}},
                              {{"role", "assistant"}, {"content", "No"}}});
  return row;
}

struct Layout {
  const char* name;
  Tokens ids;
  Weights learned;
  Json flags = Json::object();  // of the added tokens
};

class ChatLayout : public testing::TestWithParam<Layout> {};

TEST_P(ChatLayout, LearnsTheAnswersAndTheirEndsAlone) {
  const auto tokenizer = chat_tokenizer(GetParam().flags);
  const auto chat = chat_template(GetParam().name);
  const auto example = tokenize(two_turns(), *tokenizer, &chat, {});
  EXPECT_EQ(example.tokens, GetParam().ids);
  EXPECT_EQ(example.weights, GetParam().learned);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Layouts, ChatLayout, testing::Values(
    Layout{"chatml",
           {15, 1, 8, 4, 16, 8,  15, 2, 8, 5, 16, 8,  15, 1, 8, 6, 16, 8,  15, 2, 8, 7, 16, 8},
           { 0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0,   0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0}},
    Layout{"chatml_masked",
           {15, 1, 8, 4, 16, 8,  15, 2, 8, 5, 16, 8,  15, 1, 8, 6, 16, 8,  15, 2, 8, 7, 16, 8},
           { 0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0,   0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0}},
    Layout{"llama3",
           {13, 17, 1, 18, 9, 4, 19,  17, 2, 18, 9, 5, 19,  17, 1, 18, 9, 6, 19,  17, 2, 18, 9, 7, 19},
           { 0,  0, 0,  0, 0, 0,  0,   0, 0,  0, 0, 1,  1,   0, 0,  0, 0, 0,  0,   0, 0,  0, 0, 1,  1}},
    Layout{"gemma2",
           {13, 20, 1, 8, 4, 21, 8,  20, 3, 8, 5, 21, 8,  20, 1, 8, 6, 21, 8,  20, 3, 8, 7, 21, 8},
           { 0,  0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0,   0, 0, 0, 0,  0, 0,   0, 0, 0, 1,  1, 0}},
    Layout{"mistral",
           {13, 11, 10, 4, 10, 12,  5, 14,  11, 10, 6, 10, 12,  7, 14},
           { 0,  0,  0, 0,  0,  0,  1,  1,   0,  0, 0,  0,  0,  1,  1}},
    // Its last token closes the conversation, not the turn.
    Layout{"phi3",
           {22, 8, 4, 24, 8,  23, 8, 5, 24, 8,  22, 8, 6, 24, 8,  23, 8, 7, 24, 8, 14},
           { 0, 0, 0,  0, 0,   0, 0, 1,  1, 0,   0, 0, 0,  0, 0,   0, 0, 1,  1, 0,  0}},
    // The same with tokens that take the line end behind them, as Phi-3's own do.
    Layout{"phi3",
           {22, 4, 24,  23, 5, 24,  22, 6, 24,  23, 7, 24, 14},
           { 0, 0,  0,   0, 1,  1,   0, 0,  0,   0, 1,  1,  0},
           {{"rstrip", true}}},
    Layout{"zephyr",
           {22, 8, 4, 14, 8,  23, 8, 5, 14, 8,  22, 8, 6, 14, 8,  23, 8, 7, 14, 8},
           { 0, 0, 0,  0, 0,   0, 0, 1,  1, 0,   0, 0, 0,  0, 0,   0, 0, 1,  1, 0}}));
// clang-format on

TEST(TokenizeConversation, LearnsOnlyFromTheMessagesOfACompletion) {
  const auto chat = chat_template("mistral");
  auto row = two_turns();
  row.num_prompt_messages = 3;
  const auto example = tokenize(row, *chat_tokenizer(), &chat, {});
  EXPECT_EQ(example.weights, (Weights{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}));
}

TEST(TokenizeConversation, KeepsTheStartOfWhatIsTooLong) {
  const auto chat = chat_template("mistral");
  const auto example = tokenize(two_turns(), *chat_tokenizer(), &chat, {.max_length = 7});
  EXPECT_EQ(example.tokens, (Tokens{13, 11, 10, 4, 10, 12, 5}));
  EXPECT_EQ(example.weights, (Weights{0, 0, 0, 0, 0, 0, 1}));
}

TEST(TokenizeConversation, GivesTheTemplateToolsAndVariablesOfTheRow) {
  const text::ChatTemplate chat(
      "{{ tools[0] if tools else '' }}{{ mood }}{% for m in messages %}{{ m.content }}{% endfor %}",
      Json::object(), "chat");
  auto row = two_turns();
  row.columns = {{"tools", {"Hi"}}, {"chat_template_kwargs", {{"mood", "No"}}}};
  EXPECT_EQ(tokenize(row, *chat_tokenizer(), &chat, {}).tokens, (Tokens{4, 7, 4, 5, 6, 7}));
}

TEST(TokenizeConversation, NamesTheRowThatTheTemplateCannotMark) {
  const auto tokenizer = chat_tokenizer();
  const auto chat = chat_template("deepseek_r1");
  EXPECT_THAT(message_of<DataError>([&] { tokenize(two_turns(), *tokenizer, &chat, {}); }),
              AllOf(StartsWith("talk.jsonl:7: "), HasSubstr("is no prefix of the whole")));
  EXPECT_THAT(message_of<DataError>([&] { tokenize(two_turns(), *tokenizer, nullptr, {}); }),
              AllOf(StartsWith("talk.jsonl:7: "), HasSubstr("no chat template")));
}

}  // namespace
}  // namespace sluice::sft
