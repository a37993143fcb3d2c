#include "actors/stop_text.h"

#include <gtest/gtest.h>

#include "tests/actors/actor_cases.h"

namespace sluice::actors {
namespace {

// How many characters are pushed until one of the texts is complete; -1 where none is.
int pushed_until_stop(const std::string& text, const std::vector<std::string>& stops) {
  const auto tokenizer = letters();
  StopText stop_text(*tokenizer, stops);
  int pushed = 0;
  for (const int32_t token : tokenizer->encode(text)) {
    ++pushed;
    if (stop_text.push(token)) return pushed;
  }
  return -1;
}

TEST(StopText, IsCompleteWithTheLastCharacterOfATextAcrossTokens) {
  EXPECT_EQ(pushed_until_stop("abcdefgh", {"cde"}), 5);
  EXPECT_EQ(pushed_until_stop("abababc", {"abc"}), 7);         // begun twice before
  EXPECT_EQ(pushed_until_stop("abcdefgh", {"fgh", "bc"}), 3);  // the first that comes
  EXPECT_EQ(pushed_until_stop("abcdefgh", {"hg"}), -1);
}

TEST(StopText, WhatThePolicyDidNotChooseEndsNothing) {
  const auto tokenizer = letters();
  const std::vector<std::string> stops = {"bc"};
  StopText stop_text(*tokenizer, stops);
  const auto ids = tokenizer->encode("bc");
  ASSERT_EQ(ids.size(), 2);
  EXPECT_FALSE(stop_text.push(ids[0]));
  stop_text.skip(ids[1]);
  EXPECT_FALSE(stop_text.push(ids[1]));  // the b is not behind anything that was chosen
}

TEST(StopText, APaddingIdHasNoText) {
  const auto tokenizer = letters();
  const std::vector<std::string> stops = {"a"};
  StopText stop_text(*tokenizer, stops);
  EXPECT_FALSE(stop_text.push(static_cast<int32_t>(tokenizer->vocab_size()) + 3));
}

TEST(StopText, CutsBeforeTheFirstOfThem) {
  EXPECT_EQ(before_stop("one two three", {"three", "two"}), "one ");
  EXPECT_EQ(before_stop("one", {"two"}), "one");
}

}  // namespace
}  // namespace sluice::actors
