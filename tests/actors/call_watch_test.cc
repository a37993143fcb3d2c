#include "actors/call_watch.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/files.h"
#include "text/tool_calls.h"

namespace sluice::actors {
namespace {

const std::string kAlphabet = "<tool_call>{\"nam:, 1+2}/[]x";

// The calls of a text, in order.
std::vector<std::string> calls_of(const text::Tokenizer& tokenizer, const std::string& said) {
  CallWatch watch(tokenizer);
  std::vector<std::string> calls;
  for (const int32_t token : tokenizer.encode(said)) {
    if (auto call = watch.push(token)) calls.push_back(*std::move(call));
  }
  return calls;
}

TEST(CallWatch, FindsEachCallWithItsLastCharacter) {
  const auto tokenizer = text::train_character_tokenizer(kAlphabet);
  using Calls = std::vector<std::string>;
  EXPECT_EQ(calls_of(*tokenizer, "a<tool_call>1+2</tool_call>x<tool_call></tool_call>"), (Calls{"1+2", ""}));
  EXPECT_EQ(calls_of(*tokenizer, "<tool_call>1<tool_call>2</tool_call>"), (Calls{"2"}));  // begun anew
  EXPECT_EQ(calls_of(*tokenizer, "<tool_call>1</tool_cal>"), Calls{});
  EXPECT_EQ(calls_of(*tokenizer, "1</tool_call>"), Calls{});  // ends what did not begin
  EXPECT_EQ(calls_of(*tokenizer, "<tool_call<tool_call>1<</tool_call>"), (Calls{"1<"}));
}

TEST(CallWatch, WhatThePolicyDidNotChooseIsNoPartOfACall) {
  const auto tokenizer = text::train_character_tokenizer(kAlphabet);
  CallWatch watch(*tokenizer);
  for (const int32_t token : tokenizer->encode("<tool_call>1")) EXPECT_FALSE(watch.push(token));
  for (const int32_t token : tokenizer->encode("<tool_call>2</tool_call>")) watch.skip(token);
  for (const int32_t token : tokenizer->encode("3</tool_call>")) EXPECT_FALSE(watch.push(token));
}

TEST(CallWatch, MarksMayBeSpecialTokens) {
  const auto corpus = read_file(SLUICE_SOURCE_DIR "/data/text/botchan.txt", 1u << 20);
  const auto tokenizer =
      text::train_tokenizer(corpus, {.vocab_size = 512, .special_tokens = {"<tool_call>", "</tool_call>"}});
  ASSERT_EQ(tokenizer->encode("<tool_call>").size(), 1u);
  EXPECT_EQ(calls_of(*tokenizer, "so <tool_call>ab</tool_call>"), std::vector<std::string>{"ab"});
}

}  // namespace
}  // namespace sluice::actors
