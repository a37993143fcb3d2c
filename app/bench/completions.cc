#include "app/bench/completions.h"

#include <string>
#include <utility>
#include <vector>

#include "app/bench/generation.h"
#include "app/bench/models.h"
#include "base/error.h"

namespace sluice::app {
namespace {

// In an order in which long and short ones take turns.
std::vector<int64_t> spread_between(const CompletionsShape& shape) {
  std::vector<int64_t> lengths;
  const int64_t step = 7;  // has no factor in common with a power of two
  for (int64_t i = 0; i < shape.batch; ++i) {
    const int64_t place = i * step % shape.batch;
    lengths.push_back(shape.longest - (shape.longest - shape.shortest) * place / shape.batch);
  }
  return lengths;
}

buffers::Completion completion_of(std::vector<int32_t> tokens, double reward) {
  const size_t length = tokens.size();
  return {.tokens = std::move(tokens),
          .mask = std::vector<uint8_t>(length, 1),
          .logprobs = std::vector<float>(length, -8.0f),
          .kept_mass = std::vector<float>(length, 1.0f),
          .versions = std::vector<int64_t>(length, 0),
          .finish = buffers::FinishReason::Length,
          .text = "",
          .outcomes = {rewards::RewardOutcome::scored(reward)}};
}

}  // namespace

Completions make_completions(const model::Network& network, const CompletionsShape& shape) {
  require<UsageError>(shape.batch % shape.group == 0, "bench: a batch of ", shape.batch,
                      " does not consist of groups of ", shape.group);
  const int64_t vocab = network.config().vocab_size;
  const auto lengths = spread_between(shape);
  const Work work(network, "float32");
  Completions made;
  std::vector<buffers::RolloutGroup> groups;
  for (int64_t first = 0; first < shape.batch; first += shape.group) {
    const auto index = static_cast<uint64_t>(first);
    buffers::RolloutGroup group{.group = index, .prompt = random_tokens(vocab, shape.prompt, index)};
    std::vector<int64_t> own;
    for (int64_t i = 0; i < shape.group; ++i) {
      own.push_back(lengths[index + static_cast<size_t>(i)]);
      const auto stream = static_cast<uint64_t>(shape.batch + first + i);
      group.completions.push_back(
          completion_of(random_tokens(vocab, own.back(), stream), static_cast<double>(1 + i)));
      made.tokens += static_cast<double>(shape.prompt + own.back());
    }
    made.flop += work.scored_flop(shape.prompt, own);
    groups.push_back(std::move(group));
  }
  made.batch = learner::make_training_batch(/*step=*/0, std::move(groups), /*reward_weights=*/{1.0},
                                            {.baseline = learner::Baseline::None}, shape.longest);
  return made;
}

}  // namespace sluice::app
