#include "model/experts.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/internal/raw_operators.h"

namespace sluice::model {
namespace {

using at::Tensor;

constexpr double kTiny = 1e-20;  // added to a sum of weights: sigmoid scores may all be zero

// The columns of the `count` highest numbers of each row, best first: at::topk leaves the order of equals
// open.
Tensor highest(const Tensor& x, int64_t count) {
  return std::get<1>(at::sort(x, /*stable=*/true, /*dim=*/1, /*descending=*/true)).narrow(1, 0, count);
}

Tensor scores_of(const Tensor& logits, RouterScore score) {
  return score == RouterScore::Softmax ? logits.softmax(1) : logits.sigmoid();
}

// selection [rows, experts] with minus infinity outside the best groups.
Tensor limited_to_groups(const Tensor& selection, const RouterOptions& options) {
  const int64_t rows = selection.size(0), of_group = selection.size(1) / options.num_groups;
  const auto groups = selection.view({rows, options.num_groups, of_group});
  const auto scores = std::get<0>(at::sort(groups, /*stable=*/true, /*dim=*/2, /*descending=*/true))
                          .narrow(2, 0, options.group_score)
                          .sum(2);
  const auto left_out = at::ones(scores.sizes(), scores.options().dtype(at::kBool))
                            .scatter_(1, highest(scores, options.top_groups), false);
  return groups.masked_fill(left_out.unsqueeze(2), -std::numeric_limits<double>::infinity())
      .view({rows, selection.size(1)});
}

void check(const Tensor& logits, const Tensor& selection_bias, const RouterOptions& options) {
  require(logits.dim() == 2, "route: logits ", logits.sizes());
  const int64_t experts = logits.size(1), groups = options.num_groups;
  require(groups > 0 && experts % groups == 0 && options.top_groups > 0 && options.top_groups <= groups,
          "route: ", experts, " experts in ", groups, " groups of which ", options.top_groups, " take part");
  require(options.top_k > 0 && options.top_k <= experts / groups * options.top_groups,
          "route: ", options.top_k, " of ", experts / groups * options.top_groups, " experts");
  require(groups == 1 || (options.group_score > 0 && options.group_score <= experts / groups),
          "route: a group's score is the sum of ", options.group_score, " of its ", experts / groups,
          " experts");
  require(!selection_bias.defined() || selection_bias.numel() == experts, "route: a bias of ",
          selection_bias.defined() ? selection_bias.numel() : 0, " numbers for ", experts, " experts");
}

// What the choice goes by, without gradient. Scores saturate, so it is the logits where that is the same.
Tensor selection_of(const Tensor& logits, const Tensor& scores, const Tensor& bias,
                    const RouterOptions& options) {
  if (!bias.defined() && options.num_groups == 1) return logits.detach();
  auto selection = bias.defined() ? scores.detach() + bias.detach() : scores.detach();
  return options.num_groups == 1 ? selection : limited_to_groups(selection, options);
}

// Where the rows of each expert stand when (row, choice) pairs are sorted by expert.
struct Dispatch {
  Tensor rows;                  // [rows * top_k] int64: the row of each place
  Tensor places;                // [rows * top_k] int64: the place of each pair, the inverse
  std::vector<int64_t> counts;  // [experts] places of each
};

Dispatch dispatch(const Tensor& chosen, int64_t num_experts) {
  const auto flat = chosen.flatten();
  const auto order = at::argsort(flat, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const auto counts = at::bincount(flat, {}, num_experts).cpu();
  require(counts.numel() == num_experts, "mix_experts: expert ", counts.numel() - 1, " of ", num_experts);
  const auto* first = counts.const_data_ptr<int64_t>();
  return {order.floor_divide(chosen.size(1)),
          at::empty_like(order).scatter_(0, order, at::arange(order.numel(), order.options())),
          {first, first + num_experts}};
}

// How often each expert was chosen, [experts] of the type of `like`.
Tensor counts_of(const Tensor& chosen, int64_t num_experts, const Tensor& like) {
  return at::bincount(chosen.flatten(), {}, num_experts).to(like.scalar_type());
}

}  // namespace

Routing route(const Tensor& logits, const Tensor& selection_bias, const RouterOptions& options) {
  check(logits, selection_bias, options);
  const auto wide = raw::at_least_float(logits);
  const auto scores = scores_of(wide, options.score);
  const auto experts = highest(selection_of(wide, scores, selection_bias, options), options.top_k);
  auto weights = scores.gather(1, experts);
  if (options.normalise) weights = weights / (weights.sum(1, /*keepdim=*/true) + kTiny);
  return {experts, options.scale == 1.0 ? weights : weights * options.scale};
}

Tensor mix_experts(const Tensor& x, const Routing& routing, const std::vector<Expert>& experts,
                   Activation activation) {
  const int64_t rows = x.size(0), top_k = routing.experts.size(1);
  require(routing.experts.size(0) == rows && routing.weights.sizes() == routing.experts.sizes(),
          "mix_experts: ", routing.experts.sizes(), " experts and ", routing.weights.sizes(), " weights for ",
          rows, " rows");
  if (rows == 0) return at::zeros_like(x);
  const auto places = dispatch(routing.experts, static_cast<int64_t>(experts.size()));
  const auto parts = model::embedding(x, places.rows).split_with_sizes(places.counts);
  std::vector<Tensor> results;
  for (size_t e = 0; e < experts.size(); ++e) {
    if (places.counts[e] == 0) continue;
    const auto inner = gated(model::linear(parts[e], experts[e].gate_up), activation);
    results.push_back(model::linear(inner, experts[e].down));
  }
  const auto of_pairs = model::embedding(at::cat(results), places.places).view({rows, top_k, -1}).unbind(1);
  const auto weights = raw::in_type_of(of_pairs[0], routing.weights).unsqueeze(2).unbind(1);
  // One choice after another, so that a row's sum does not depend on the other rows.
  auto sum = of_pairs[0] * weights[0];
  for (size_t j = 1; j < of_pairs.size(); ++j) sum = sum + of_pairs[j] * weights[j];
  return sum;
}

Tensor balance_loss(const Tensor& logits, const Tensor& experts, const Tensor& row_mask) {
  if (row_mask.defined()) {
    const auto rows = row_mask.nonzero().squeeze(1);
    return balance_loss(logits.index_select(0, rows), experts.index_select(0, rows));
  }
  require(logits.size(0) > 0 && experts.size(0) == logits.size(0), "balance_loss: logits ", logits.sizes(),
          " and experts ", experts.sizes());
  const auto mean_prob = raw::at_least_float(logits).softmax(1).mean(0);  // [experts]
  const auto counts = counts_of(experts, logits.size(1), mean_prob);
  return (counts * mean_prob).sum() *
         (static_cast<double>(logits.size(1)) / static_cast<double>(experts.numel()));
}

Tensor router_z_loss(const Tensor& logits) {
  return raw::at_least_float(logits).logsumexp(1).square().mean();
}

Tensor sequence_balance_loss(const Tensor& logits, int64_t top_k, double alpha) {
  require(logits.size(0) > 0 && top_k > 0 && top_k <= logits.size(1), "sequence_balance_loss: ", top_k,
          " experts by logits ", logits.sizes());
  const auto wide = raw::at_least_float(logits);
  const auto scores = wide.sigmoid();
  const auto mean_score = (scores / scores.sum(1, /*keepdim=*/true)).mean(0);  // [experts]
  const auto chosen = highest(wide.detach(), top_k);
  const auto counts = counts_of(chosen, logits.size(1), mean_score);
  return (counts * mean_score).sum() *
         (alpha * static_cast<double>(logits.size(1)) / static_cast<double>(chosen.numel()));
}

at::Tensor balanced_bias(const at::Tensor& bias, const at::Tensor& counts, double rate) {
  require(bias.dim() == 1 && bias.sizes() == counts.sizes(), "balanced_bias: biases are ", bias.sizes(),
          ", counts ", counts.sizes());
  const auto wide = counts.to(at::kDouble);
  return bias + rate * (wide.mean() - wide).sign().to(bias.scalar_type());
}

NoisyGates noisy_top_k(const at::Tensor& clean, const at::Tensor& raw_std, const at::Tensor& noise,
                       int64_t top_k) {
  require(clean.dim() == 2 && raw_std.sizes() == clean.sizes() && noise.sizes() == clean.sizes(),
          "noisy_top_k: logits are ", clean.sizes(), ", deviations ", raw_std.sizes(), ", noise ",
          noise.sizes());
  const int64_t experts = clean.size(1);
  require(top_k >= 1 && top_k < experts, "noisy_top_k: ", top_k, " of ", experts, " experts");
  const auto std = at::softplus(raw_std);
  const auto logits = clean + noise * std;
  const auto highest = std::get<0>(logits.topk(top_k + 1, 1));
  const auto chosen = logits.gt(highest.narrow(1, top_k, 1));
  const auto gates = logits.masked_fill(chosen.logical_not(), -INFINITY).softmax(1);
  // The k-th highest of the others: the next one for a chosen expert.
  const auto threshold = at::where(chosen, highest.narrow(1, top_k, 1), highest.narrow(1, top_k - 1, 1));
  const auto chance = 0.5 * (1.0 + ((clean - threshold.detach()) / (std * std::sqrt(2.0))).erf());
  return {.logits = logits, .gates = gates, .importance = gates.sum(0), .load = chance.sum(0)};
}

at::Tensor squared_variation(const at::Tensor& values) {
  const auto mean = values.mean();
  return (values - mean).square().mean() / (mean.square() + 1e-10);
}

}  // namespace sluice::model
