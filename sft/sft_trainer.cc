#include "sft/sft_trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/philox.h"

namespace sluice::sft {
namespace {

Example tokenize(const text::Row& row, const text::Tokenizer& tokenizer, const TokenizeOptions& options) {
  Example example;
  example.tokens = tokenizer.encode(row.prompt);
  example.loss_mask.assign(example.tokens.size(), 0);
  const auto completion = tokenizer.encode(row.completion);
  example.tokens.insert(example.tokens.end(), completion.begin(), completion.end());
  if (options.append_eos) example.tokens.push_back(*tokenizer.eos_id());
  example.tokens.resize(std::min(example.tokens.size(), static_cast<size_t>(options.max_length)));
  example.loss_mask.resize(example.tokens.size(), 1);
  if (!example.loss_mask.empty()) example.loss_mask[0] = 0;
  return example;
}

}  // namespace

TokenizedExamples tokenize_examples(const std::vector<text::Row>& rows, const text::Tokenizer& tokenizer,
                                    const TokenizeOptions& options) {
  require(options.max_length > 1, "tokenize_examples: a max_length of ", options.max_length,
          " leaves nothing to predict");
  require<DataError>(!options.append_eos || tokenizer.eos_id().has_value(),
                     "tokenize_examples: the tokenizer has no end-of-sequence token to append");
  TokenizedExamples result;
  for (const auto& row : rows) {
    auto example = tokenize(row, tokenizer, options);
    if (num_targets(example) > 0) {
      result.examples.push_back(std::move(example));
    } else {
      ++result.dropped;
    }
  }
  return result;
}

SftTrainer::SftTrainer(model::Network& network, optim::Optimizer& optimizer, std::vector<Example> examples,
                       const SftOptions& options)
    : network_(network), optimizer_(optimizer), examples_(std::move(examples)), options_(options) {
  require<DataError>(!examples_.empty(), "SftTrainer: there is no example to learn from");
  require(options.examples_per_step > 0 && options.micro_batch_tokens > 0, "SftTrainer: steps of ",
          options.examples_per_step, " examples, micro-batches of ", options.micro_batch_tokens, " tokens");
}

const Example& SftTrainer::example_at(int64_t ordinal) {
  const auto count = static_cast<int64_t>(examples_.size());
  if (const int64_t epoch = ordinal / count; epoch != epoch_) {
    order_ = shuffled_indices(count, options_.seed, static_cast<uint64_t>(epoch));
    epoch_ = epoch;
  }
  return examples_[static_cast<size_t>(order_[static_cast<size_t>(ordinal % count)])];
}

StepMetrics SftTrainer::step(int64_t step) {
  require(step >= 0, "SftTrainer: step ", step);
  std::vector<const Example*> examples;
  int64_t step_targets = 0;
  size_t step_tokens = 0;
  for (int64_t i = 0; i < options_.examples_per_step; ++i) {
    examples.push_back(&example_at(step * options_.examples_per_step + i));
    step_targets += num_targets(*examples.back());
    step_tokens += examples.back()->tokens.size();
  }

  const auto packs = pack_examples(examples, options_.micro_batch_tokens, network_.device());
  int64_t step_rows = 0;
  for (const auto& pack : packs) step_rows += pack.batch.num_rows();

  const auto divisor = static_cast<double>(step_targets);
  double loss_sum = 0.0, entropy_sum = 0.0;
  std::optional<double> aux_loss;
  optimizer_.zero_grad();
  for (const auto& [batch, targets] : packs) {
    const auto out = network_.logprobs(batch, targets, /*temperature=*/1.0);
    auto loss = out.logprobs.sum() / -divisor;
    if (out.balance_loss.defined()) {
      const double share = static_cast<double>(batch.num_rows()) / static_cast<double>(step_rows);
      aux_loss = aux_loss.value_or(0.0) + share * out.balance_loss.item<double>();
      if (options_.router_aux_loss != 0.0)
        loss = loss + out.balance_loss * (options_.router_aux_loss * share);
    }
    loss.backward();
    loss_sum += loss.item<double>();
    entropy_sum += out.entropy.sum(at::kDouble).item<double>();
  }
  if (!std::isfinite(loss_sum)) optimizer_.reject();
  const auto update = optimizer_.step();

  StepMetrics metrics = {{"loss", loss_sum},
                         {"entropy", entropy_sum / divisor},
                         {"num_tokens", static_cast<double>(step_tokens)},
                         {"grad_norm", update.grad_norm},
                         {"learning_rate", update.lr},
                         {"nonfinite_skips", static_cast<double>(optimizer_.num_skipped())}};
  if (aux_loss) metrics["aux_loss"] = *aux_loss;
  return metrics;
}

}  // namespace sluice::sft
