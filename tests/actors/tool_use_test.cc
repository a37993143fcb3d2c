// Completions that call a tool: what it says stands behind the call, is not the policy's, and changes no bit
// of anything else, however long it takes.
#include "actors/tool_use.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>

#include "base/error.h"
#include "base/philox.h"
#include "tests/actors/tool_cases.h"

namespace sluice::actors {
namespace {

constexpr int64_t kMaxNew = 40;
constexpr double kTemperature = 0.9;

// One whose rows are independent of each other: heads of 16 numbers.
std::unique_ptr<model::Network> served_network(bool frozen = true) {
  at::set_num_threads(1);
  model::LlamaShape shape;
  shape.vocab_size = 23;
  shape.hidden_size = 32;
  shape.intermediate_size = 48;
  shape.num_layers = 2;
  shape.num_heads = 2;
  shape.num_kv_heads = 1;
  shape.head_dim = 16;
  shape.max_position = 64;
  shape.eos_ids = {kEos};
  auto network = std::make_unique<model::Network>(model::llama_config(shape), at::kCPU);
  network->init(7);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : network->parameters()) {
    if (tensor.dim() == 2) tensor.mul_(8.0);
  }
  if (frozen) network->freeze();
  return network;
}

GenerationRequest request_of(uint64_t i, int64_t num_samples = 6) {
  return {.id = i,
          .prompt = {8, 9, static_cast<int32_t>(10 + i)},
          .num_samples = num_samples,
          .seed = 11,
          .group = 100 + i,
          .sampling = {.temperature = kTemperature, .max_new_tokens = kMaxNew}};
}

struct Run {
  std::map<uint64_t, std::vector<buffers::Completion>> completions;
  std::map<uint64_t, buffers::ToolWatch> watches;
  uint64_t preempted = 0, drafted = 0;
};

Run run_with(const model::Network& network, const rewards::Toolbox& tools, EngineOptions engine_options = {},
             ToolUseOptions options = {.form = kBetweenNs}, std::unique_ptr<Drafter> drafter = nullptr) {
  const CallTokenizer tokenizer;
  Engine engine(network, {kEos}, engine_options, &tokenizer, std::move(drafter));
  ToolUse use(engine, tokenizer, tools, options);
  for (uint64_t i = 0; i < 5; ++i) engine.submit(request_of(i));
  Run run;
  while (!engine.idle()) {
    use.pass_on(/*wait_ms=*/1'000);
    for (auto& result : engine.step(/*version=*/3)) {
      run.watches[result.id] = use.take_watch(result.id);
      run.completions[result.id] = std::move(result.completions);
    }
  }
  run.preempted = engine.num_preempted();
  run.drafted = engine.num_drafted();
  return run;
}

void expect_same(const Run& a, const Run& b) {
  ASSERT_EQ(a.completions.size(), b.completions.size());
  for (const auto& [id, completions] : a.completions) {
    for (size_t s = 0; s < completions.size(); ++s) {
      const auto& other = b.completions.at(id)[s];
      EXPECT_EQ(completions[s].tokens, other.tokens);
      EXPECT_EQ(completions[s].mask, other.mask);
      EXPECT_EQ(completions[s].logprobs, other.logprobs);
      EXPECT_EQ(completions[s].versions, other.versions);
      EXPECT_EQ(completions[s].finish, other.finish);
    }
  }
}

int64_t count_calls(const buffers::Completion& completion) {
  int64_t calls = 0;
  for (size_t t = 1; t < completion.mask.size(); ++t)
    calls += completion.mask[t] == 0 && completion.mask[t - 1] == 1 ? 1 : 0;
  return calls;
}

TEST(ToolUse, PutsWhatAToolSaysBehindItsCall) {
  const auto network = served_network();
  const auto run = run_with(*network, echo_box());

  const CallTokenizer tokenizer;
  int64_t good = 0, bad = 0;
  for (const auto& [id, completions] : run.completions) {
    int64_t calls = 0;
    for (const auto& completion : completions) {
      const auto& tokens = completion.tokens;
      calls += count_calls(completion);
      int64_t call = -1;  // where one began
      for (size_t t = 0; t < tokens.size(); ++t) {
        if (completion.mask[t] == 0) continue;
        if (tokens[t] == kCall) call = static_cast<int64_t>(t);
        const bool ends = tokens[t] == kBadCall || (tokens[t] == kCallEnd && call >= 0);
        if (!ends) {
          // Nobody puts anything anywhere else.
          const bool last = t + 1 == tokens.size();
          EXPECT_TRUE(last || completion.mask[t + 1] == 1) << "behind token " << t;
          continue;
        }
        const auto begin = tokens.begin() + call + 1, end = tokens.begin() + static_cast<int64_t>(t);
        const auto said = tokens[t] == kBadCall ? "" : tokenizer.decode({begin, end}, false);
        const bool plain = said.find_first_not_of("abcdefghijklmno") == std::string::npos;
        call = -1;
        if (t + 1 == tokens.size()) break;  // no room for an answer
        EXPECT_EQ(completion.mask[t + 1], 0);
        EXPECT_EQ(tokens[t + 1], kN);
        if (tokens[t] == kBadCall || !plain || said.empty()) {
          ++bad;
          continue;
        }
        ++good;
        const auto answer = tokenizer.encode(std::string(said.rbegin(), said.rend()), {});
        for (size_t k = 0; k < answer.size() && t + 2 + k < tokens.size(); ++k) {
          EXPECT_EQ(tokens[t + 2 + k], answer[k]);
          EXPECT_EQ(completion.mask[t + 2 + k], 0);
          EXPECT_EQ(completion.logprobs[t + 2 + k], 0);
          EXPECT_EQ(completion.kept_mass[t + 2 + k], 1);
        }
      }
      EXPECT_LE(std::ssize(tokens), kMaxNew);
    }
    EXPECT_GE(run.watches.at(id).calls, calls);
  }
  EXPECT_GT(good, 3);
  EXPECT_GT(bad, 3);
}

TEST(ToolUse, NoBitDependsOnHowLongToolsTake) {
  const auto network = served_network();
  const auto quick = run_with(*network, echo_box());
  std::atomic<uint64_t> calls = 0;
  const auto slow = run_with(*network, echo_box([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(random_bits(1, RandomUse::Data, calls++, 0) % 7));
  }));
  expect_same(quick, slow);
  // Nor on the room there is, nor on drafts.
  const auto cramped = run_with(*network, echo_box(), {.max_rows = 4, .cache_tokens = 512});
  expect_same(quick, cramped);
  const auto drafted =
      run_with(*network, echo_box(), {.max_rows = 8}, {.form = kBetweenNs}, make_lookup_drafter());
  EXPECT_GT(drafted.drafted, 0u);
  expect_same(quick, drafted);
}

TEST(ToolUse, OthersAreDecodedMeanwhile) {
  const auto network = served_network();
  const CallTokenizer tokenizer;
  std::promise<void> gate;
  const auto opened = gate.get_future().share();
  const auto tools = echo_box([opened] { opened.wait(); });
  Engine engine(*network, {kEos}, {}, &tokenizer);
  ToolUse use(engine, tokenizer, tools, {.form = kBetweenNs});
  for (uint64_t i = 0; i < 5; ++i) engine.submit(request_of(i));

  // All that does not wait for a tool runs to its end.
  int64_t finished_or_waiting = 0;
  for (int step = 0; step < 200 && !engine.waits_for_calls(); ++step) {
    use.pass_on(0);
    engine.step(0);
    ++finished_or_waiting;
  }
  EXPECT_TRUE(engine.waits_for_calls());
  EXPECT_GE(finished_or_waiting, 10);
  const auto before = engine.num_tokens();
  engine.step(0);
  EXPECT_EQ(engine.num_tokens(), before);

  gate.set_value();
  while (!engine.idle()) {
    use.pass_on(1'000);
    engine.step(0);
  }
  EXPECT_GT(engine.num_tokens(), before);
}

TEST(ToolUse, EndsWhileAToolHangs) {
  const auto network = served_network();
  const CallTokenizer tokenizer;
  std::promise<void> gate;
  const auto opened = gate.get_future().share();
  const auto tools = echo_box([opened] { opened.wait(); }, [&gate] { gate.set_value(); });
  Engine engine(*network, {kEos}, {}, &tokenizer);
  auto use = std::make_unique<ToolUse>(engine, tokenizer, tools, ToolUseOptions{.form = kBetweenNs});
  for (uint64_t i = 0; i < 5; ++i) engine.submit(request_of(i));
  for (int step = 0; step < 200 && !engine.waits_for_calls(); ++step) {
    use->pass_on(0);
    engine.step(0);
  }
  EXPECT_TRUE(engine.waits_for_calls());

  use.reset();  // which would wait for ever

  EXPECT_EQ(opened.wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

// A toolbox outlives those who use it: only what is under way is interrupted.
TEST(ToolUse, InterruptsNothingWhenAllCallsAreAnswered) {
  bool interrupted = false;
  const auto tools = echo_box({}, [&interrupted] { interrupted = true; });

  run_with(*served_network(), tools);

  EXPECT_FALSE(interrupted);
}

// Observations in between, the learner computes what the actor recorded, to the last bit.
TEST(ToolUse, TheActorsLogprobsAreTheLearnersToTheLastBit) {
  const auto actor = served_network(), learner = served_network(/*frozen=*/false);
  const auto run = run_with(*actor, echo_box(), {.max_rows = 7});
  model::PackedBatchBuilder builder;
  std::vector<int64_t> rows, tokens;
  std::vector<float> recorded;
  int64_t given = 0;
  for (const auto& [id, completions] : run.completions) {
    const auto prompt = request_of(id).prompt;
    const int64_t first = builder.add(prompt);
    for (const auto& completion : completions) {
      const int64_t sequence = builder.add(completion.tokens, first);
      for (int64_t t = 0; t < std::ssize(completion.tokens); ++t) {
        if (completion.mask[static_cast<size_t>(t)] == 0) {
          ++given;
          continue;
        }
        rows.push_back(t == 0 ? builder.row_of(first, std::ssize(prompt) - 1)
                              : builder.row_of(sequence, t - 1));
        tokens.push_back(completion.tokens[static_cast<size_t>(t)]);
        recorded.push_back(completion.logprobs[static_cast<size_t>(t)]);
      }
    }
  }
  ASSERT_GT(given, 50);

  const auto computed =
      learner
          ->logprobs(builder.build(at::kCPU), {at::tensor(rows, at::kLong), at::tensor(tokens, at::kLong)},
                     kTemperature)
          .logprobs;

  ASSERT_TRUE(computed.requires_grad());
  EXPECT_TRUE(at::equal(computed.detach(), at::tensor(recorded)))
      << "off by " << (computed.detach() - at::tensor(recorded)).abs().max().item<double>();
  ASSERT_EQ(computed.numel(), std::ssize(recorded));
}

TEST(ToolUse, BoundsCallsAndWhatIsSaid) {
  const auto network = served_network();
  const auto run =
      run_with(*network, echo_box(), {}, {.form = kBetweenNs, .max_calls = 1, .max_observation_tokens = 2});

  int64_t second_calls = 0, failed = 0;
  for (const auto& [id, completions] : run.completions) {
    failed += run.watches.at(id).failed;
    for (const auto& completion : completions) {
      second_calls += std::max<int64_t>(0, count_calls(completion) - 1);
      int64_t observed = 0;
      for (const auto chosen : completion.mask) {
        observed = chosen == 0 ? observed + 1 : 0;
        EXPECT_LE(observed, 4);  // two of them, and the marks
      }
    }
  }
  EXPECT_GT(second_calls, 0);
  EXPECT_GE(failed, second_calls);
}

TEST(ToolUse, AnEngineWithoutTokenizerKnowsNoCalls) {
  const auto network = served_network();
  const CallTokenizer tokenizer;
  const auto tools = echo_box();
  Engine engine(*network, {kEos}, {});
  EXPECT_THROW(ToolUse(engine, tokenizer, tools, {}), Error);
}

// Where the rows of a step are not independent of each other, all of a group wait together.
TEST(ToolUse, WhereBitsDependOnTheBatchNobodyGoesOnAlone) {
  const auto network = decided_network();
  const CallTokenizer tokenizer;
  Engine engine(*network, {kEos}, {}, &tokenizer);
  ASSERT_FALSE(engine.mixes_groups());
  const auto tools = echo_box();
  ToolUse use(engine, tokenizer, tools, {.form = kBetweenNs});
  engine.submit(request_of(0));
  engine.submit(request_of(1));
  bool waited = false;
  while (!engine.idle()) {
    engine.step(0);
    if (engine.waits_for_calls()) {
      const auto before = engine.num_tokens();
      engine.step(0);
      EXPECT_EQ(engine.num_tokens(), before);
      waited = true;
    }
    use.pass_on(1'000);
  }
  EXPECT_TRUE(waited);
}

}  // namespace
}  // namespace sluice::actors
