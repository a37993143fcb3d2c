// The kernels' own forward gives each target the bits of the pass that training takes.
#include "model/frozen_logprobs.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "base/shared_work.h"
#include "model/model_directory.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

struct Asked {
  PackedBatch batch;
  TokenTargets targets;
};

// Prompts of the lengths and behind each, sharing it, completions of theirs: a prompt's last row is asked
// about the first token of each, a completion's rows about the next token.
struct Group {
  int64_t prompt;
  std::vector<int64_t> completions;
};

class Asking {
 public:
  explicit Asking(int64_t vocab) : vocab_(vocab) {}

  void add(const Group& group) {
    const auto prompt = builder_.add(tokens(group.prompt));
    if (group.completions.empty()) ask(prompt, 0, group.prompt);
    for (const int64_t length : group.completions) {
      const auto completion = builder_.add(tokens(length), prompt);
      ask(prompt, group.prompt - 1, group.prompt);
      ask(completion, 0, length);
    }
  }

  Asked build() const {
    return {builder_.build(at::kCPU), {.rows = at::tensor(rows_), .tokens = at::tensor(tokens_)}};
  }

 private:
  int64_t draw(uint64_t of) {
    return static_cast<int64_t>(random_bits(5, RandomUse::Data, of, drawn_++) %
                                static_cast<uint64_t>(vocab_));
  }
  std::vector<int32_t> tokens(int64_t count) {
    std::vector<int32_t> drawn;
    for (int64_t i = 0; i < count; ++i) drawn.push_back(static_cast<int32_t>(draw(0)));
    return drawn;
  }
  void ask(int64_t sequence, int64_t from, int64_t end) {
    for (int64_t offset = from; offset < end; ++offset) {
      rows_.push_back(builder_.row_of(sequence, offset));
      tokens_.push_back(draw(1));
    }
  }

  const int64_t vocab_;
  uint64_t drawn_ = 0;
  PackedBatchBuilder builder_;
  std::vector<int64_t> rows_, tokens_;
};

// Prompts that end a page, and that do not; alone, and with more completions than go through together.
Asked mixed(int64_t vocab) {
  Asking asking(vocab);
  asking.add({.prompt = 16, .completions = {5, 1, 17}});
  asking.add({.prompt = 21, .completions = {30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30}});
  asking.add({.prompt = 9, .completions = {}});
  asking.add({.prompt = 1, .completions = {40}});
  asking.add({.prompt = 33, .completions = {2, 15, 16}});
  return asking.build();
}

at::Tensor trained(const Network& network, const Asked& asked, double temperature) {
  return network.logprobs(asked.batch, asked.targets, temperature).logprobs.detach();
}

TEST(FrozenLogprobs, AreThoseOfTrainingToTheLastBit) {
  for (const std::string name : {"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3"}) {
    SCOPED_TRACE(name);
    const auto folder = std::string(SLUICE_SOURCE_DIR "/data/goldens/") + name;
    const auto network = load_model(folder, at::kCPU), frozen = load_model(folder, at::kCPU);
    frozen->freeze();
    ASSERT_NE(frozen->transformer(60), nullptr);
    const auto asked = mixed(network->config().vocab_size);
    for (const double temperature : {1.0, 0.7}) {
      const auto expected = trained(*network, asked, temperature);
      for (const int threads : {1, 2}) {
        set_work_threads(threads);
        EXPECT_TRUE(at::equal(frozen_logprobs(*frozen, asked.batch, asked.targets, temperature), expected))
            << temperature << " with " << threads << " threads";
      }
    }
  }
}

TEST(FrozenLogprobs, OfANetworkThatTheKernelsDoNotServeAreItsOwn) {
  const auto network = tiny_mixtral();
  const auto asked = mixed(network->config().vocab_size);
  const auto expected = trained(*network, asked, 1.0);
  network->freeze();
  EXPECT_TRUE(at::equal(frozen_logprobs(*network, asked.batch, asked.targets, 1.0), expected));
}

TEST(FrozenLogprobs, HaveNoGradientAlsoOfWeightsThatAreTrained) {
  const auto network = tiny_network();
  const auto asked = mixed(network->config().vocab_size);
  EXPECT_FALSE(frozen_logprobs(*network, asked.batch, asked.targets, 1.0).requires_grad());
}

TEST(FrozenLogprobs, OfNoTargetsAreNone) {
  const auto network = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  network->freeze();
  auto asked = mixed(network->config().vocab_size);
  asked.targets = {.rows = at::empty({0}, at::kLong), .tokens = at::empty({0}, at::kLong)};
  EXPECT_EQ(frozen_logprobs(*network, asked.batch, asked.targets, 1.0).numel(), 0);
}

TEST(FrozenLogprobs, RefuseWhatIsOutsideTheVocabularyAndTheBatch) {
  const auto network = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  network->freeze();
  const auto asked = mixed(network->config().vocab_size);
  auto token = asked.targets, row = asked.targets;
  token.tokens = token.tokens + network->config().vocab_size;
  row.rows = row.rows - 1'000;
  EXPECT_THROW(frozen_logprobs(*network, asked.batch, token, 1.0), Error);
  EXPECT_THROW(frozen_logprobs(*network, asked.batch, row, 1.0), Error);
  auto few = asked.targets;
  few.tokens = few.tokens.narrow(0, 0, 3);
  EXPECT_THROW(frozen_logprobs(*network, asked.batch, few, 1.0), Error);
  EXPECT_THROW(frozen_logprobs(*network, asked.batch, asked.targets, 0.0), Error);
}

}  // namespace
}  // namespace sluice::model
