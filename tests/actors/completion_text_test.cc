#include "actors/completion_text.h"

#include <gtest/gtest.h>

#include "tests/actors/actor_cases.h"

namespace sluice::actors {
namespace {

using buffers::Completion;
using buffers::FinishReason;

Completion completion_of(std::vector<int32_t> tokens, FinishReason finish) {
  Completion completion;
  completion.tokens = std::move(tokens);
  completion.finish = finish;
  return completion;
}

std::string text_of(std::vector<int32_t> tokens, FinishReason finish) {
  return completion_text(completion_of(std::move(tokens), finish), *letters(), /*stop_strings=*/{});
}

TEST(CompletionText, IsWhatWasSaid) {  // a is 5, b is 6, the line end 4
  EXPECT_EQ(text_of({5, 6, 4, kEos}, FinishReason::Stop), "ab\n");
  EXPECT_EQ(text_of({6, 6}, FinishReason::Length), "bb");
  EXPECT_EQ(text_of({kEos}, FinishReason::Stop), "");
}

TEST(CompletionText, HasNoTokenThatStoppedIt) {
  EXPECT_EQ(text_of({5, 4}, FinishReason::Stop), "a");  // the line end was a stop token here
  EXPECT_EQ(text_of({5, 4}, FinishReason::Length), "a\n");
}

TEST(CompletionText, SpecialTokensAndIdsBeyondTheTokenizerHaveNone) {
  EXPECT_EQ(text_of({1, 5, 3, 0, 23, 6, 1000}, FinishReason::Length), "ab");
}

}  // namespace
}  // namespace sluice::actors
