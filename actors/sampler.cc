#include "actors/sampler.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/philox.h"

namespace sluice::actors {
namespace {

constexpr double kGreedyBelow = 1e-5;

// Logits after temperature of one row, and their log-sum-exp.
struct Row {
  std::span<const float> logits;
  float lse = 0;

  // In float32, as the learner subtracts them.
  float logprob(size_t token) const { return logits[token] - lse; }
  double prob(size_t token) const { return static_cast<double>(std::exp(logprob(token))); }
};

SampledToken greedy(const Row& row) {
  const auto best = std::max_element(row.logits.begin(), row.logits.end()) - row.logits.begin();
  return {.token = static_cast<int32_t>(best), .logprob = row.logprob(static_cast<size_t>(best))};
}

// Inverse CDF over the vocabulary in the order of its ids. A token of probability 0 is never drawn: it does
// not move the sum, and where rounding lets the sum end below the number, the last token that moved it is
// taken.
SampledToken draw(const Row& row, double uniform) {
  double sum = 0;
  size_t last = 0;
  for (size_t token = 0; token < row.logits.size(); ++token) {
    const double prob = row.prob(token);
    if (prob > 0) last = token;
    sum += prob;
    if (sum > uniform) break;
  }
  return {.token = static_cast<int32_t>(last), .logprob = row.logprob(last)};
}

// The tokens whose logit is not below the k-th largest, ties at the threshold included.
std::vector<size_t> top_k_tokens(const Row& row, int64_t top_k) {
  std::vector<size_t> tokens;
  const auto k = static_cast<size_t>(std::max<int64_t>(top_k, 0));
  float threshold = -std::numeric_limits<float>::infinity();
  if (k > 0 && k < row.logits.size()) {
    std::vector<float> sorted(row.logits.begin(), row.logits.end());
    const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
    threshold = *kth;
  }
  for (size_t token = 0; token < row.logits.size(); ++token) {
    if (row.logits[token] >= threshold) tokens.push_back(token);
  }
  return tokens;
}

// Keeps the most likely tokens, lower ids first among equals, up to the one whose mass reaches top_p of all
// of them. They come back in that order.
void keep_top_p(const Row& row, double top_p, std::vector<size_t>& tokens) {
  double total = 0;
  for (const size_t token : tokens) total += row.prob(token);
  const auto comes_later = [&](size_t a, size_t b) {
    return row.logits[a] != row.logits[b] ? row.logits[a] < row.logits[b] : a > b;
  };
  // A heap, since a few tokens usually reach the mass and the rest need no order.
  std::make_heap(tokens.begin(), tokens.end(), comes_later);
  auto heap_end = tokens.end();
  double kept = 0;
  do {
    std::pop_heap(tokens.begin(), heap_end, comes_later);
    --heap_end;
    kept += row.prob(*heap_end);
  } while (heap_end != tokens.begin() && kept < top_p * total);
  tokens.erase(tokens.begin(), heap_end);
  std::reverse(tokens.begin(), tokens.end());
}

SampledToken draw_filtered(const Row& row, double uniform, const buffers::SamplingParams& params) {
  auto tokens = top_k_tokens(row, params.top_k);
  if (params.top_p < 1.0) keep_top_p(row, params.top_p, tokens);
  double kept = 0;
  for (const size_t token : tokens) kept += row.prob(token);

  double sum = 0;
  size_t last = tokens.front();
  for (const size_t token : tokens) {
    const double prob = row.prob(token);
    if (prob > 0) last = token;
    sum += prob;
    if (sum > uniform * kept) break;
  }
  // Rounding can put the sum of all a little above 1.
  return {.token = static_cast<int32_t>(last),
          .logprob = row.logprob(last),
          .kept_mass = static_cast<float>(std::min(kept, 1.0))};
}

bool filters(const buffers::SamplingParams& params, int64_t vocab) {
  return (params.top_k > 0 && params.top_k < vocab) || params.top_p < 1.0;
}

double uniform_of(const DrawKey& key) {
  return random_uniform(key.seed, RandomUse::Sampling, key.group, static_cast<uint64_t>(key.sample),
                        static_cast<uint64_t>(key.position));
}

}  // namespace

std::vector<SampledToken> sample_tokens(const at::Tensor& hidden, const model::Weight& head,
                                        std::span<const DrawKey> keys, const buffers::SamplingParams& params,
                                        std::optional<double> logit_soft_cap) {
  require(hidden.dim() == 2 && hidden.size(0) == std::ssize(keys), "sample_tokens: hidden states ",
          hidden.sizes(), " for ", keys.size(), " draws");
  require(
      params.temperature >= 0 && std::isfinite(params.temperature) && params.top_p > 0 && params.top_p <= 1,
      "sample_tokens: temperature ", params.temperature, ", top_p ", params.top_p);
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below;
  const bool is_greedy = params.temperature < kGreedyBelow;
  const auto scaled = model::scaled_logits(
      hidden, head, {.temperature = is_greedy ? 1.0 : params.temperature, .soft_cap = logit_soft_cap});
  const auto logits = scaled.cpu().contiguous();
  const auto lse = model::log_sum_exp(scaled).cpu().contiguous();

  const auto vocab = static_cast<size_t>(logits.size(1));
  const bool is_filtered = filters(params, logits.size(1));
  const float* values = logits.const_data_ptr<float>();
  const float* sums = lse.const_data_ptr<float>();
  std::vector<SampledToken> sampled;
  sampled.reserve(keys.size());
  for (size_t r = 0; r < keys.size(); ++r) {
    const Row row{{values + r * vocab, vocab}, sums[r]};
    // A NaN or an infinite logit reaches the sum.
    require(std::isfinite(row.lse), "sample_tokens: the logits of row ", r, " (group ", keys[r].group,
            ", sample ", keys[r].sample, ", token ", keys[r].position, ") are not finite");
    if (is_greedy) {
      sampled.push_back(greedy(row));
    } else {
      const double uniform = uniform_of(keys[r]);
      sampled.push_back(is_filtered ? draw_filtered(row, uniform, params) : draw(row, uniform));
    }
  }
  return sampled;
}

}  // namespace sluice::actors
