#include "actors/engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "actors/completion_text.h"
#include "base/error.h"
#include "base/philox.h"
#include "model/decoder.h"
#include "model/model_directory.h"
#include "tests/actors/actor_cases.h"

namespace sluice::actors {
namespace {

// A prompt of 1 to 12 tokens.
std::vector<int32_t> prompt_of(uint64_t i) {
  std::vector<int32_t> prompt(1 + random_bits(1, RandomUse::Data, i, 0) % 12);
  for (size_t t = 0; t < prompt.size(); ++t) {
    prompt[t] = static_cast<int32_t>(random_bits(2, RandomUse::Data, i, t) % 23);
  }
  return prompt;
}

GenerationRequest request_of(uint64_t i, int64_t num_samples, int64_t max_new_tokens) {
  return {.id = i,
          .prompt = prompt_of(i),
          .num_samples = num_samples,
          .seed = 11,
          .group = 100 + i,
          .sampling = {.max_new_tokens = max_new_tokens}};
}

using Results = std::map<uint64_t, std::vector<buffers::Completion>>;

Results run(Engine& engine, int64_t version = 0) {
  Results results;
  while (!engine.idle()) {
    for (auto& result : engine.step(version)) results.emplace(result.id, std::move(result.completions));
  }
  return results;
}

// Drawn from the logits of the last of these hidden states.
SampledToken next_token(const model::Network& network, const at::Tensor& hidden,
                        const GenerationRequest& request, int64_t sample, int64_t position) {
  auto logits =
      network.scaled_logits(hidden.narrow(0, hidden.size(0) - 1, 1), /*temperature=*/1.0).contiguous();
  SamplerScratch scratch;
  return sample_token({logits.mutable_data_ptr<float>(), static_cast<size_t>(logits.numel())},
                      {request.seed, request.group, sample, position}, request.sampling, {}, scratch);
}

// Without a cache and without other samples: the whole sequence is computed again for each token.
buffers::Completion without_cache(const model::Network& network, const GenerationRequest& request,
                                  int64_t sample) {
  const at::NoGradGuard no_grad;
  auto all = request.prompt;
  buffers::Completion completion;
  for (int64_t position = 0; position < request.sampling.max_new_tokens; ++position) {
    model::PackedBatchBuilder builder;
    builder.add(all);
    const auto hidden = network.forward(builder.build(at::kCPU));
    const auto next = next_token(network, hidden, request, sample, position);
    all.push_back(next.token);
    completion.tokens.push_back(next.token);
    completion.logprobs.push_back(next.logprob);
    if (next.token == kEos) break;
  }
  return completion;
}

void expect_same_bits(const buffers::Completion& a, const buffers::Completion& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.mask, b.mask);
  EXPECT_EQ(a.logprobs, b.logprobs);
  EXPECT_EQ(a.kept_mass, b.kept_mass);
  EXPECT_EQ(a.versions, b.versions);
  EXPECT_EQ(a.finish, b.finish);
}

void expect_close(const buffers::Completion& a, const buffers::Completion& b, const std::string& what) {
  ASSERT_EQ(a.tokens, b.tokens) << what;
  for (size_t t = 0; t < a.tokens.size(); ++t) EXPECT_NEAR(a.logprobs[t], b.logprobs[t], 1e-5) << what;
}

TEST(Engine, DecodesWithTheCacheAsWithoutIt) {
  const auto network = decided_network();
  Engine one_by_one(*network, {kEos}, {}),
      together(*network, {kEos}, {.max_rows = 16, .reproducible = false});
  for (auto* engine : {&one_by_one, &together}) {
    for (uint64_t i = 0; i < 200; ++i) engine->submit(request_of(i, 2, 10));
  }

  const auto a = run(one_by_one), b = run(together);

  ASSERT_EQ(a.size(), 200);
  ASSERT_EQ(b.size(), 200);
  for (uint64_t i = 0; i < 200; ++i) {
    const size_t sample = i % 2;
    const auto wanted = without_cache(*network, request_of(i, 2, 10), static_cast<int64_t>(sample));
    expect_close(a.at(i)[sample], wanted, "alone, prompt " + std::to_string(i));
    expect_close(b.at(i)[sample], wanted, "among others, prompt " + std::to_string(i));
  }
}

TEST(Engine, RecordsWhatTheLearnerComputesForTheSameTokens) {
  const auto network = decided_network();
  Engine engine(*network, {kEos}, {});
  auto request = request_of(1, 6, 12);
  request.sampling.temperature = 0.7;
  engine.submit(request);
  const auto completions = run(engine).at(1);

  // The prompt once, the completions behind it: as the learner packs a group.
  model::PackedBatchBuilder builder;
  const int64_t prompt = builder.add(request.prompt);
  std::vector<int64_t> rows, targets;
  std::vector<float> recorded;
  for (const auto& completion : completions) {
    const int64_t sequence = builder.add(completion.tokens, prompt);
    for (size_t t = 0; t < completion.tokens.size(); ++t) {
      rows.push_back(t == 0 ? builder.row_of(prompt, std::ssize(request.prompt) - 1)
                            : builder.row_of(sequence, static_cast<int64_t>(t) - 1));
      targets.push_back(completion.tokens[t]);
      recorded.push_back(completion.logprobs[t]);
    }
  }
  const auto learner = network->logprobs(builder.build(at::kCPU),
                                         {at::tensor(rows, at::kLong), at::tensor(targets, at::kLong)}, 0.7);

  EXPECT_LE((learner.logprobs.detach() - at::tensor(recorded)).abs().max().item<double>(), 1e-5);
}

TEST(Engine, AGroupsBitsDoNotDependOnTheOthersWhenItIsDecodedAlone) {
  const auto network = decided_network();
  Engine crowded(*network, {kEos}, {});
  for (uint64_t i = 0; i < 12; ++i) crowded.submit(request_of(i, 5, 20));
  const auto among_others = run(crowded);

  for (const uint64_t i : {0u, 7u, 11u}) {
    Engine alone(*network, {kEos}, {});
    alone.submit(request_of(i, 5, 20));
    const auto completions = run(alone).at(i);
    for (size_t s = 0; s < 5; ++s) expect_same_bits(completions[s], among_others.at(i)[s]);
  }
}

TEST(Engine, DecodesAGroupLargerThanItsRowsInWaves) {
  const auto network = decided_network();
  Engine small(*network, {kEos}, {.max_rows = 3}), large(*network, {kEos}, {});
  small.submit(request_of(4, 10, 8));
  large.submit(request_of(4, 10, 8));

  const auto in_waves = run(small).at(4), at_once = run(large).at(4);

  ASSERT_EQ(in_waves.size(), 10);
  for (size_t s = 0; s < 10; ++s) expect_close(in_waves[s], at_once[s], "sample " + std::to_string(s));
}

TEST(Engine, TakesOnAGroupAsSoonAsThereIsRoom) {
  const auto network = decided_network();
  Engine engine(*network, {}, {.max_rows = 4, .reproducible = false});
  engine.submit(request_of(0, 2, 3));
  engine.submit(request_of(1, 1, 9));
  engine.submit(request_of(2, 3, 2));  // one of its samples fits at once

  std::map<uint64_t, int> finished_at;
  for (int step = 1; !engine.idle(); ++step) {
    for (const auto& result : engine.step(0)) finished_at[result.id] = step;
  }

  // The first sample of 2 ends at step 2, where the next takes its row; the last one takes a row of 0 at
  // step 3.
  EXPECT_EQ(finished_at, (std::map<uint64_t, int>{{0, 3}, {1, 9}, {2, 4}}));
  EXPECT_EQ(engine.num_tokens(), 2 * 3 + 9 + 3 * 2);
}

TEST(Engine, StopsAtAStopTokenAndAtTheLengthLimit) {
  const auto network = decided_network();
  Engine engine(*network, {kEos, 5}, {});
  for (uint64_t i = 0; i < 20; ++i) engine.submit(request_of(i, 8, 15));

  int stopped = 0, cut = 0;
  for (const auto& [id, completions] : run(engine, /*version=*/4)) {
    for (const auto& completion : completions) {
      const auto& tokens = completion.tokens;
      const auto stop =
          std::find_if(tokens.begin(), tokens.end(), [](int32_t t) { return t == kEos || t == 5; });
      if (completion.finish == buffers::FinishReason::Stop) {
        ++stopped;
        ASSERT_NE(stop, tokens.end());
        EXPECT_EQ(stop + 1, tokens.end());  // included, and the last
      } else {
        ++cut;
        EXPECT_EQ(stop, tokens.end());
        EXPECT_EQ(tokens.size(), 15);
      }
      EXPECT_EQ(completion.mask, std::vector<uint8_t>(tokens.size(), 1));
      EXPECT_EQ(completion.versions, std::vector<int64_t>(tokens.size(), 4));
      EXPECT_EQ(completion.kept_mass, std::vector<float>(tokens.size(), 1.0f));
    }
  }
  EXPECT_GT(stopped, 0);
  EXPECT_GT(cut, 0);
}

// Whatever it would have said, "ab" ends it, wherever the tokens are cut; the text is what stands before.
TEST(Engine, StopsAtAStopString) {
  const auto network = decided_network();
  const auto tokenizer = letters();
  Engine plain(*network, {}, {}), stopping(*network, {}, {}, tokenizer.get());
  auto request = request_of(2, 16, 30);
  plain.submit(request);
  const auto whole = run(plain).at(2);
  // A pair of letters that some of them say.
  const auto first =
      tokenizer->decode(std::vector<int32_t>(whole[0].tokens.begin() + 3, whole[0].tokens.begin() + 5));
  ASSERT_EQ(first.size(), 2);
  request.sampling.stop_strings = {"nobody says this", first};
  stopping.submit(request);

  const auto completions = run(stopping).at(2);

  int stopped = 0;
  for (size_t s = 0; s < 16; ++s) {
    const auto& tokens = completions[s].tokens;
    const auto text = tokenizer->decode(tokens), all = tokenizer->decode(whole[s].tokens);
    EXPECT_TRUE(all.starts_with(text));
    if (completions[s].finish == buffers::FinishReason::StopString) {
      ++stopped;
      EXPECT_TRUE(text.ends_with(first));
      EXPECT_EQ(text.find(first), text.size() - 2);
      EXPECT_EQ(completion_text(completions[s], *tokenizer, request.sampling.stop_strings),
                text.substr(0, text.size() - 2));
    } else {
      EXPECT_EQ(all.find(first), std::string::npos);
      EXPECT_EQ(tokens.size(), 30);
    }
  }
  EXPECT_GT(stopped, 0);
  EXPECT_THROW(plain.submit(request), Error);  // it has no tokenizer
}

TEST(Engine, RecordsTheMassThatFiltersKept) {
  const auto network = decided_network();
  Engine engine(*network, {}, {});
  auto request = request_of(3, 4, 10);
  request.sampling.top_k = 4;
  engine.submit(request);

  const auto completions = run(engine).at(3);
  for (const auto& completion : completions) {
    for (size_t t = 0; t < 10; ++t) {
      EXPECT_LT(completion.kept_mass[t], 1.0f);
      EXPECT_GT(completion.kept_mass[t], 4.0f / 23.0f);  // the four likeliest of 23
      EXPECT_LE(std::exp(completion.logprobs[t]), completion.kept_mass[t] * 1.0001f);
    }
  }
}

TEST(Engine, GroupsWithDifferentSamplingShareABatch) {
  const auto network = decided_network();
  auto greedy = request_of(0, 2, 10);
  greedy.sampling.temperature = 0;
  const auto hot = request_of(1, 3, 10);
  Engine together(*network, {kEos}, {.reproducible = false}), alone(*network, {kEos}, {});
  for (auto* engine : {&together, &alone}) {
    engine->submit(greedy);
    engine->submit(hot);
  }

  const auto a = run(together), b = run(alone);

  for (const uint64_t id : {0u, 1u}) {
    for (size_t s = 0; s < a.at(id).size(); ++s) expect_close(a.at(id)[s], b.at(id)[s], "group");
  }
  EXPECT_EQ(a.at(0)[0].tokens, a.at(0)[1].tokens);
}

TEST(Engine, DecodesOneCompletionMoreGreedilyBesideTheSamples) {
  const auto network = decided_network();
  Engine engine(*network, {kEos}, {});
  auto request = request_of(1, 3, 10), plain = request_of(1, 3, 10), greedy = request_of(1, 1, 10);
  request.id = 0;
  request.greedy_too = true;
  greedy.id = 2;
  greedy.sampling.temperature = 0;
  engine.submit(request);
  EXPECT_EQ(engine.num_unfinished(), 4);
  for (const auto& other : {plain, greedy}) engine.submit(other);

  const auto results = run(engine);

  ASSERT_EQ(results.at(0).size(), 4u);
  for (size_t s = 0; s < 3; ++s) expect_same_bits(results.at(0)[s], results.at(1)[s]);
  expect_same_bits(results.at(0)[3], results.at(2)[0]);
}

TEST(Engine, FeedsWhatIsAppendedBeforeItGoesOn) {
  const auto network = decided_network();
  const auto request = request_of(6, 3, 12);
  const std::vector<int32_t> answer = {9, 8, 7};
  Engine engine(*network, {}, {});
  engine.submit(request);
  engine.step(1);
  engine.step(1);
  ASSERT_TRUE(engine.append(6, 1, answer));
  const auto completions = run(engine, /*version=*/2).at(6);
  const auto& with_answer = completions[1];

  EXPECT_EQ(with_answer.tokens.size(), 12);
  EXPECT_EQ(std::vector<int32_t>(with_answer.tokens.begin() + 2, with_answer.tokens.begin() + 5), answer);
  EXPECT_EQ(with_answer.mask, (std::vector<uint8_t>{1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(with_answer.versions, (std::vector<int64_t>{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2}));
  for (const size_t t : {2u, 3u, 4u}) {
    EXPECT_EQ(with_answer.logprobs[t], 0);
    EXPECT_EQ(with_answer.kept_mass[t], 1);
  }
  // What follows is what a sequence with these tokens in it goes on with.
  auto all = request.prompt;
  for (size_t t = 0; t < 12; ++t) {
    if (t >= 5) {
      const at::NoGradGuard no_grad;
      model::PackedBatchBuilder builder;
      builder.add(all);
      const auto hidden = network->forward(builder.build(at::kCPU));
      const auto next = next_token(*network, hidden, request, 1, static_cast<int64_t>(t));
      EXPECT_EQ(with_answer.tokens[t], next.token);
      EXPECT_NEAR(with_answer.logprobs[t], next.logprob, 1e-5);
    }
    all.push_back(with_answer.tokens[t]);
  }
  // The others did not notice.
  Engine undisturbed(*network, {}, {});
  undisturbed.submit(request);
  const auto plain = run(undisturbed).at(6);
  EXPECT_EQ(completions[0].tokens, plain[0].tokens);
  EXPECT_EQ(completions[2].tokens, plain[2].tokens);
}

TEST(Engine, AppendingEndsWithTheLengthLimitAndRefusesWhatIsNotRunning) {
  const auto network = decided_network();
  Engine engine(*network, {}, {});
  engine.submit(request_of(0, 2, 4));
  const std::vector<int32_t> long_answer(9, 3);
  EXPECT_FALSE(engine.append(0, 0, long_answer));  // has not begun
  engine.step(0);
  EXPECT_FALSE(engine.append(1, 0, long_answer));
  EXPECT_FALSE(engine.append(0, 2, long_answer));
  EXPECT_FALSE(engine.append(0, -1, long_answer));
  EXPECT_TRUE(engine.append(0, 0, long_answer));
  engine.step(0);
  EXPECT_FALSE(engine.append(0, 0, long_answer));  // has finished

  const auto completions = run(engine).at(0);
  EXPECT_EQ(completions[0].tokens.size(), 4);
  EXPECT_EQ(completions[0].mask, (std::vector<uint8_t>{1, 0, 0, 0}));
  EXPECT_EQ(completions[0].finish, buffers::FinishReason::Length);
  EXPECT_EQ(completions[1].mask, (std::vector<uint8_t>{1, 1, 1, 1}));
  EXPECT_EQ(engine.num_tokens(), 5);
}

TEST(Engine, UsesNewWeightsForTheNextGroup) {
  const auto network = decided_network(), other = tiny_network(8);
  Engine engine(*network, {kEos}, {});
  engine.submit(request_of(0, 4, 20));
  run(engine);
  network->map(model::kRowsLayout, other->flat().const_data_ptr(),
               static_cast<int64_t>(other->flat().nbytes()));
  engine.submit(request_of(1, 4, 20));
  Engine fresh(*other, {kEos}, {});
  fresh.submit(request_of(1, 4, 20));

  const auto a = run(engine, 1).at(1), b = run(fresh, 1).at(1);

  for (size_t s = 0; s < 4; ++s) expect_same_bits(a[s], b[s]);
}

TEST(Engine, RefusesWhatDoesNotFitTheModel) {
  const auto network = tiny_network();
  Engine engine(*network, {kEos}, {});
  GenerationRequest request{.prompt = std::vector<int32_t>(60, 1), .sampling = {.max_new_tokens = 4}};
  engine.submit(request);  // 64 positions: just fits
  request.prompt.push_back(1);
  EXPECT_THROW(engine.submit(request), Error);
  request.prompt.clear();
  EXPECT_THROW(engine.submit(request), Error);
  request.prompt = {1};
  request.num_samples = 0;
  EXPECT_THROW(engine.submit(request), Error);
  EXPECT_EQ(run(engine).size(), 1);
  EXPECT_TRUE(engine.step(0).empty());
}

TEST(Engine, ShowsWhatARunningCompletionHasSoFar) {
  const auto network = decided_network();
  Engine engine(*network, {}, {});
  engine.submit(request_of(0, /*num_samples=*/1, /*max_new_tokens=*/3));
  EXPECT_TRUE(engine.tokens_of(0, 0).empty());
  std::vector<int32_t> first_two;
  for (size_t tokens = 1; tokens <= 2; ++tokens) {
    EXPECT_TRUE(engine.step(0).empty());
    ASSERT_EQ(engine.tokens_of(0, 0).size(), tokens);
    first_two.push_back(engine.tokens_of(0, 0).back());
  }
  const auto results = engine.step(0);
  ASSERT_EQ(results.size(), 1);
  const auto& tokens = results[0].completions[0].tokens;
  EXPECT_EQ(first_two, std::vector<int32_t>(tokens.begin(), tokens.begin() + 2));
  EXPECT_TRUE(engine.tokens_of(0, 0).empty());  // it runs no longer
}

// What a network makes of a sequence: the log-prob of each token behind the prompt.
at::Tensor logprobs_of(const model::Network& network, const std::vector<int32_t>& prompt,
                       const std::vector<int32_t>& completion) {
  model::PackedBatchBuilder builder;
  auto tokens = prompt;
  tokens.insert(tokens.end(), completion.begin(), completion.end());
  builder.add(tokens);
  std::vector<int64_t> rows, targets;
  for (int64_t t = 0; t < std::ssize(completion); ++t) {
    rows.push_back(std::ssize(prompt) - 1 + t);
    targets.push_back(completion[static_cast<size_t>(t)]);
  }
  return network
      .logprobs(builder.build(at::kCPU), {at::tensor(rows, at::kLong), at::tensor(targets, at::kLong)},
                /*temperature=*/1.0)
      .logprobs.detach();
}

class NewWeights : public testing::TestWithParam<EngineOptions> {};

TEST_P(NewWeights, GoOnAsIfTheyHadComputedAllThatStandsBefore) {
  const auto network = model::load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  const auto first = model::load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  const auto second = model::load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  {
    const at::NoGradGuard no_grad;
    second->flat().mul_(1.25);
  }
  network->freeze();
  Engine engine(*network, {}, GetParam());
  std::map<uint64_t, GenerationRequest> requests;
  for (uint64_t i = 0; i < 3; ++i) {
    auto request = request_of(i, /*num_samples=*/3, /*max_new_tokens=*/20);
    while (request.prompt.size() < 20) request.prompt.push_back(static_cast<int32_t>(request.prompt.size()));
    engine.submit(request);
    requests.emplace(i, std::move(request));
  }
  Results results;
  const auto step = [&](int64_t version) {
    for (auto& result : engine.step(version)) results.emplace(result.id, std::move(result.completions));
  };
  for (int i = 0; i < 9; ++i) step(3);
  network->map(model::kRowsLayout, second->flat().const_data_ptr(),
               static_cast<int64_t>(second->flat().nbytes()));
  engine.recompute();
  while (!engine.idle()) step(4);

  int64_t mixed = 0;
  for (const auto& [id, completions] : results) {
    for (const auto& completion : completions) {
      const auto& prompt = requests.at(id).prompt;
      const auto before = logprobs_of(*first, prompt, completion.tokens),
                 after = logprobs_of(*second, prompt, completion.tokens);
      for (size_t t = 0; t < completion.tokens.size(); ++t) {
        const auto& policy = completion.versions[t] == 3 ? before : after;
        EXPECT_EQ(completion.logprobs[t], policy[static_cast<int64_t>(t)].item<float>());
      }
      mixed += completion.versions.front() == 3 && completion.versions.back() == 4 ? 1 : 0;
    }
  }
  EXPECT_GE(mixed, GetParam().cache_tokens == 0 ? 5 : 2);
}

// With room for all, and for little more than one completion.
INSTANTIATE_TEST_SUITE_P(Engine, NewWeights,
                         testing::Values(EngineOptions{.max_rows = 5},
                                         EngineOptions{.max_rows = 5,
                                                       .cache_tokens = 5 * model::kPageTokens}));

}  // namespace
}  // namespace sluice::actors
