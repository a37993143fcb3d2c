#include "learner/preference_batch.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/files.h"
#include "learner/completion_logps.h"
#include "learner/internal/completion_rows.h"
#include "learner/internal/segments.h"
#include "model/pack_bins.h"

namespace sluice::learner {
namespace {

void check_example(const PreferenceExample& example, size_t index, size_t num_completions) {
  require<DataError>(!example.prompt.empty(), "pack_preferences: example ", index, " has an empty prompt");
  require<DataError>(example.completions.size() == num_completions, "pack_preferences: example ", index,
                     " has ", example.completions.size(), " completions, the first one has ",
                     num_completions);
  for (size_t i = 0; i < num_completions; ++i) {
    const auto& [tokens, mask] = example.completions[i];
    require<DataError>(mask.size() == tokens.size(), "pack_preferences: completion ", i, " of example ",
                       index, " has ", tokens.size(), " tokens and a mask of ", mask.size());
    require<DataError>(num_targets(example.completions[i]) > 0, "pack_preferences: no token of completion ",
                       i, " of example ", index, " counts");
  }
}

int64_t num_rows(const PreferenceExample& example) {
  size_t rows = example.prompt.size();
  for (const auto& completion : example.completions) rows += internal::num_input_rows(completion.mask);
  return static_cast<int64_t>(rows);
}

void add_rows(const PreferenceExample& example, internal::CompletionRows& rows) {
  size_t longest = 0;
  for (const auto& completion : example.completions) longest = std::max(longest, completion.tokens.size());
  rows.add_prompt(example.prompt, static_cast<int64_t>(example.prompt.size() + longest));
  for (const auto& [tokens, mask] : example.completions) rows.add(tokens, mask);
}

// Makes targets of the prompts' tokens too. A prompt stands before its completions.
void add_prompts(std::span<const PreferenceExample> examples, PreferencePack& pack) {
  std::vector<int64_t> rows, tokens;
  size_t sequence = 0;
  for (const int64_t item : pack.examples) {
    const auto& [prompt, completions, desirable, row] = examples[static_cast<size_t>(item)];
    const int64_t first = pack.batch.starts[sequence];
    for (size_t i = 1; i < prompt.size(); ++i) {
      rows.push_back(first + static_cast<int64_t>(i) - 1);
      tokens.push_back(prompt[i]);
    }
    pack.prompt_lengths.push_back(std::ssize(prompt) - 1);
    // One that its prompt's last row predicts whole has no sequence of its own.
    sequence += 1 + static_cast<size_t>(std::ranges::count_if(completions, [](const auto& completion) {
                  return internal::num_input_rows(completion.mask) > 0;
                }));
  }
  const auto device = pack.targets.rows.device();
  pack.targets.rows = at::cat({pack.targets.rows, at::tensor(rows, at::kLong).to(device)});
  pack.targets.tokens = at::cat({pack.targets.tokens, at::tensor(tokens, at::kLong).to(device)});
}

int64_t sum_of(const std::vector<int64_t>& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

// Of the completions' targets, and of the prompts'.
std::vector<at::Tensor> parts_of(const PreferencePack& pack, const at::Tensor& logprobs) {
  const int64_t completions = pack.num_completion_targets(), prompts = sum_of(pack.prompt_lengths);
  require(logprobs.dim() == 1 && logprobs.numel() == completions + prompts, "preferences: logprobs are ",
          logprobs.sizes(), ", the pack has ", completions + prompts, " targets");
  return logprobs.split_with_sizes({completions, prompts});
}

}  // namespace

int64_t PreferencePack::num_completion_targets() const { return sum_of(lengths); }

int64_t num_targets(const JudgedCompletion& completion) {
  return std::ranges::count_if(completion.mask, [](uint8_t counts) { return counts != 0; });
}

int64_t num_tokens(const PreferenceExample& example) {
  size_t tokens = 0;
  for (const auto& completion : example.completions)
    tokens += example.prompt.size() + completion.tokens.size();
  return static_cast<int64_t>(tokens);
}

std::string hash_of(std::span<const PreferenceExample> examples) {
  std::string hash;
  for (const auto& example : examples) {  // one after the other: their bytes are never there together
    ByteWriter bytes;
    bytes.bytes(hash);
    bytes.i32s(example.prompt);
    for (const auto& [tokens, mask] : example.completions) {
      bytes.i32s(tokens);
      bytes.u8s(mask);
    }
    bytes.u8(example.desirable ? 1 : 0);
    hash = sha256_hex(bytes.str());
  }
  return hash;
}

std::vector<PreferencePack> pack_preferences(std::span<const PreferenceExample> examples, int64_t max_tokens,
                                             const at::Device& device, bool with_prompts, int64_t ranks) {
  require(max_tokens > 0, "pack_preferences: packs of ", max_tokens, " rows");
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < examples.size(); ++i) {
    check_example(examples[i], i, examples.front().completions.size());
    lengths.push_back(num_rows(examples[i]));
  }
  std::vector<PreferencePack> packs;
  for (const auto& [rank, items] : model::pack_for_ranks(lengths, max_tokens, ranks)) {
    internal::CompletionRows rows;
    for (const int64_t item : items) add_rows(examples[static_cast<size_t>(item)], rows);
    packs.push_back({.batch = rows.batch(device),
                     .targets = rows.targets(device),
                     .lengths = rows.lengths(),
                     .examples = items,
                     .prompt_lengths = {},
                     .rank = rank});
    if (with_prompts) add_prompts(examples, packs.back());
  }
  return packs;
}

at::Tensor example_logps(const PreferencePack& pack, const at::Tensor& logprobs, double ld_alpha) {
  at::Tensor weights;
  if (ld_alpha != 1.0) {
    require(pack.lengths.size() == 2 * pack.examples.size(), "example_logps: ", pack.lengths.size(),
            " completions of ", pack.examples.size(), " examples are no pairs to weigh by their lengths");
    auto others = pack.lengths;
    for (size_t i = 0; i < others.size(); i += 2) std::swap(others[i], others[i + 1]);
    weights = ld_weights(pack.lengths, others, ld_alpha);
  }
  return completion_logps(parts_of(pack, logprobs)[0], pack.lengths, weights)
      .view({std::ssize(pack.examples), -1});
}

at::Tensor prompt_logps(const PreferencePack& pack, const at::Tensor& logprobs) {
  require(pack.prompt_lengths.size() == pack.examples.size(), "prompt_logps: the prompts of ",
          pack.examples.size(), " examples are no targets");
  const auto of_prompts = parts_of(pack, logprobs)[1].to(at::kDouble);
  return internal::Segments(pack.prompt_lengths, of_prompts).sum(of_prompts);
}

at::Tensor of_all_packs(const std::vector<PreferencePack>& packs,
                        const std::function<at::Tensor(const PreferencePack& pack)>& of_pack) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> values;
  std::vector<int64_t> examples;
  for (const auto& pack : packs) {
    values.push_back(of_pack(pack).to(at::kCPU, at::kDouble));
    examples.insert(examples.end(), pack.examples.begin(), pack.examples.end());
  }
  require(!packs.empty(), "of_all_packs: there are no packs");
  return at::cat(values).index_select(0, at::tensor(examples, at::kLong).argsort());
}

at::Tensor of_all_packs(const std::vector<PreferencePack>& packs, int64_t columns,
                        transport::Collective& ranks,
                        const std::function<at::Tensor(const PreferencePack& pack)>& of_pack,
                        const std::function<void(int64_t fewer)>& idle) {
  if (ranks.size() == 1) return of_all_packs(packs, of_pack);
  const c10::NoGradGuard no_grad;
  int64_t examples = 0;
  for (const auto& pack : packs) examples += std::ssize(pack.examples);
  auto all = at::zeros({examples, columns}, at::kDouble);
  for (const auto& pack : packs) {
    if (pack.rank != ranks.rank()) continue;
    all.index_copy_(0, at::tensor(pack.examples, at::kLong), of_pack(pack).to(at::kCPU, at::kDouble));
  }
  idle(model::lacked_by(packs, ranks.rank(), &PreferencePack::rank));
  ranks.all_reduce_sum(all);  // with zeros: exact
  return all;
}

}  // namespace sluice::learner
