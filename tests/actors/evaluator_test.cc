#include "actors/evaluator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tests/actors/actor_cases.h"
#include "tests/actors/scorer_cases.h"
#include "tests/actors/tool_cases.h"

namespace sluice::actors {
namespace {

using rewards::RewardOutcome;

std::vector<text::Row> rows_of(const std::vector<std::string>& prompts) {
  std::vector<text::Row> rows;
  for (const auto& prompt : prompts) {
    rows.emplace_back();
    rows.back().prompt = prompt;
    rows.back().file = "held_out.jsonl";
    rows.back().line = std::ssize(rows);
  }
  return rows;
}

EvaluatedPrompt prompt_with(const std::vector<std::vector<RewardOutcome>>& outcomes) {
  EvaluatedPrompt prompt;
  for (const auto& one : outcomes) {
    prompt.completions.emplace_back();
    prompt.completions.back().outcomes = one;
  }
  return prompt;
}

TEST(Evaluation, IsTheMeanOverPromptsWithItsStandardError) {
  Evaluation evaluation;
  const auto none = RewardOutcome::unscored("no");
  evaluation.prompts = {prompt_with({{RewardOutcome::scored(1), none}, {RewardOutcome::scored(3), none}}),
                        prompt_with({{RewardOutcome::scored(4), RewardOutcome::scored(1)}, {none, none}}),
                        prompt_with({{none, none}, {none, none}})};

  // Weighted by 2 and 10: the first prompt has 2 and 6, the second 18, the third nothing.
  const auto estimate = evaluation.reward({2, 10});

  EXPECT_EQ(estimate.n, 2);
  EXPECT_NEAR(estimate.value, 11, 1e-12);   // of 4 and 18
  EXPECT_NEAR(estimate.stderr_, 7, 1e-12);  // sqrt((7^2 + 7^2) / 1 / 2)
  EXPECT_EQ(Evaluation().reward({1}).n, 0);
}

TEST(Evaluate, StopsWhenItsProgressSaysSo) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  const auto rows = rows_of({"abc", "q", "defdef"});

  const auto evaluation = evaluate(*network, *tokenizer, character_count(), rows, {kEos},
                                   {.sampling = {.max_new_tokens = 12}, .engine = {.max_rows = 1}},
                                   [](int64_t) { return false; });

  EXPECT_FALSE(evaluation.complete);
  EXPECT_TRUE(evaluation.prompts.back().completions.empty());
}

TEST(Evaluate, DecodesWhileAScorerThinks) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  const auto rows = rows_of({"abc", "q", "defdef"});
  Gate gate;
  rewards::RewardMix mix;
  mix.add(std::make_unique<Gated>(gate), 1.0);
  int64_t looks = 0;  // more than there are steps to decode

  const auto evaluation =
      evaluate(*network, *tokenizer, mix, rows, {kEos},
               {.sampling = {.max_new_tokens = 12}, .engine = {.max_rows = 1}}, [&](int64_t done) {
                 EXPECT_TRUE(done == 0 || looks >= 40);
                 if (++looks == 40) gate.open();
                 return true;
               });

  EXPECT_TRUE(evaluation.complete);
  EXPECT_EQ(evaluation.unscored, 0);
  EXPECT_FALSE(gate.interrupted());  // so that the mix may be asked again
}

TEST(Evaluate, IsNotHeldUpByAScorerThatHangsWhenItIsStopped) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  const auto rows = rows_of({"abc"});
  Gate gate;
  rewards::RewardMix mix;
  mix.add(std::make_unique<Gated>(gate), 1.0);
  int64_t looks = 0;

  const auto evaluation =
      evaluate(*network, *tokenizer, mix, rows, {kEos}, {.sampling = {.max_new_tokens = 12}},
               [&](int64_t) { return ++looks < 40; });

  EXPECT_FALSE(evaluation.complete);
  EXPECT_TRUE(gate.interrupted());
}

TEST(Evaluate, LetsCompletionsUseTools) {
  const auto network = decided_network();
  const CallTokenizer tokenizer;
  const auto tools = echo_box();
  const auto rows = rows_of({"abc", "def"});
  EvaluationOptions options{
      .sampling = {.max_new_tokens = 40}, .samples = 4, .seed = 3, .engine = {.max_rows = 3}};
  const auto observed = [&] {
    int64_t count = 0;
    for (const auto& prompt :
         evaluate(*network, tokenizer, character_count(), rows, {kEos}, options).prompts) {
      for (const auto& completion : prompt.completions) {
        EXPECT_FALSE(completion.tokens.empty());
        EXPECT_EQ(completion.outcomes.size(), 1u);
        count += std::ranges::count(completion.mask, 0);
      }
    }
    return count;
  };
  EXPECT_EQ(observed(), 0);
  options.tools = &tools;
  options.tool_use.form = kBetweenNs;
  EXPECT_GT(observed(), 0);
}

TEST(Evaluate, ScoresEveryPromptInTheOrderOfTheRows) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  const auto mix = character_count();
  const auto rows = rows_of({"abc", "q", "defdef", "pp", "kkkk"});
  std::vector<int64_t> progress;

  const auto evaluation =
      evaluate(*network, *tokenizer, mix, rows, {kEos},
               {.sampling = {.max_new_tokens = 12}, .samples = 4, .seed = 3}, [&](int64_t done) {
                 progress.push_back(done);
                 return true;
               });

  ASSERT_EQ(evaluation.prompts.size(), 5);
  int64_t unscored = 0;
  for (size_t i = 0; i < 5; ++i) {
    const auto& prompt = evaluation.prompts[i];
    EXPECT_EQ(prompt.row, &rows[i]);
    EXPECT_EQ(prompt.prompt, tokenizer->encode(rows[i].prompt));
    ASSERT_EQ(prompt.completions.size(), 4);
    for (const auto& completion : prompt.completions) {
      ASSERT_EQ(completion.outcomes.size(), 1);
      unscored += completion.outcomes[0].score ? 0 : 1;
    }
  }
  EXPECT_EQ(evaluation.unscored, unscored);
  EXPECT_TRUE(std::ranges::is_sorted(progress));
  EXPECT_EQ(progress.back(), 5);
}

TEST(Evaluate, GivesTheSameForTheSameSeed) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  const auto mix = character_count();
  const auto rows = rows_of({"abc", "q", "defdef"});
  const auto run = [&](uint64_t seed) {
    return evaluate(*network, *tokenizer, mix, rows, {kEos},
                    {.sampling = {.max_new_tokens = 12},
                     .samples = 3,
                     .seed = seed,
                     .engine = {.max_rows = 5, .reproducible = false}});
  };

  const auto a = run(1), b = run(1), c = run(2);

  bool differs = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t s = 0; s < 3; ++s) {
      EXPECT_EQ(a.prompts[i].completions[s].tokens, b.prompts[i].completions[s].tokens);
      EXPECT_EQ(a.prompts[i].completions[s].logprobs, b.prompts[i].completions[s].logprobs);
      differs |= a.prompts[i].completions[s].tokens != c.prompts[i].completions[s].tokens;
    }
  }
  EXPECT_TRUE(differs);
}

TEST(Evaluate, NamesTheRowThatDoesNotFitTheModel) {
  const auto network = decided_network();
  try {
    evaluate(*network, *letters(), character_count(), rows_of({"a", std::string(60, 'b')}), {kEos},
             {.sampling = {.max_new_tokens = 12}});
    FAIL() << "a prompt of 60 tokens was taken";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("evaluation of held_out.jsonl:2: "), 0) << error.what();
  }
}

}  // namespace
}  // namespace sluice::actors
