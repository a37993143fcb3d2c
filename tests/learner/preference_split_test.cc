// The gradient of a preference step is the same whatever packs and ranks it is cut into, and in whatever
// order its pairs come, and that of each completion by itself.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "learner/kto_learner.h"
#include "learner/preference_learner.h"
#include "tests/learner/preference_examples.h"
#include "tests/plain_logprobs.h"
#include "tests/spawn_ranks.h"
#include "tests/split_step.h"

namespace sluice::learner {
namespace {

using Examples = std::vector<PreferenceExample>;

// Some of a step's examples, first .. first + count.
struct Share {
  size_t first = 0, count = 0;
};

PreferenceLossInputs inputs_of(const at::Tensor& policy, const at::Tensor& reference,
                               std::span<const PreferenceExample> pairs) {
  PreferenceLossInputs in{.policy_chosen = policy.select(1, 0),
                          .policy_rejected = policy.select(1, 1),
                          .ref_chosen = reference.select(1, 0),
                          .ref_rejected = reference.select(1, 1)};
  for (const auto& pair : pairs) {
    in.chosen_lengths.push_back(num_targets(pair.completions[0]));
    in.rejected_lengths.push_back(num_targets(pair.completions[1]));
  }
  return in;
}

class PreferenceStep {
 public:
  // Log-probs are those of plain_logprobs() where it says so.
  explicit PreferenceStep(at::ScalarType type, bool plain = false)
      : policy_(tiny_network_of(type, 7)), reference_(tiny_network_of(type, 8)), plain_(plain) {
    reference_->freeze();
  }

  // Of the share of one rank. Terms that sort want the log-probs of all: a sum of what each rank has.
  at::Tensor pairs(const std::vector<PreferenceTerm>& terms, const Examples& pairs, int64_t rows,
                   const Share& own, transport::Collective& group) {
    PreferenceDenominators step{.pairs = std::ssize(pairs)};
    for (const auto& pair : pairs) step.sft_tokens += num_targets(pair.completions[0]);
    const std::span all(pairs);
    const auto mine = all.subspan(own.first, own.count);
    const auto& reference = reference_logps(pairs, rows);
    at::Tensor sent;  // the gradient of the log-probs of all pairs
    if (needs_whole_step(terms)) {
      auto gathered = at::zeros({std::ssize(pairs), 2}, at::kDouble);
      narrow(gathered, own).copy_(logps(*policy_, mine, rows));
      group.all_reduce_sum(gathered);
      gathered.requires_grad_();
      preference_loss(inputs_of(gathered, reference, all), terms, step).loss.backward();
      sent = gathered.grad();
    }
    return gradient(mine, rows, [&](const PreferencePack& pack, const at::Tensor& policy) {
      std::vector<int64_t> places;
      Examples packed;
      for (const int64_t i : pack.examples) {
        places.push_back(static_cast<int64_t>(own.first) + i);
        packed.push_back(pairs[static_cast<size_t>(places.back())]);
      }
      const auto index = at::tensor(places, at::kLong);
      if (sent.defined()) return (policy * sent.index_select(0, index)).sum();
      return preference_loss(inputs_of(policy, reference.index_select(0, index), packed), terms, step).loss;
    });
  }

  // z0 is of the whole step, and each rank computes it.
  at::Tensor judged(const Examples& examples, int64_t rows, const Share& own) {
    const auto others = mismatched(examples, /*max_length=*/64);
    const double z0 =
        kto_z0(logps(*policy_, others, rows).select(1, 0), logps(*reference_, others, rows).select(1, 0));
    const auto mine = std::span(examples).subspan(own.first, own.count);
    const auto reference = logps(*reference_, mine, rows).select(1, 0);
    return gradient(mine, rows, [&](const PreferencePack& pack, const at::Tensor& policy) {
      std::vector<int64_t> desirable;
      for (const int64_t i : pack.examples) desirable.push_back(mine[static_cast<size_t>(i)].desirable);
      const KtoLossInputs in{.policy_logps = policy.select(1, 0),
                             .ref_logps = reference.index_select(0, at::tensor(pack.examples, at::kLong)),
                             .desirable = at::tensor(desirable, at::kLong).to(at::kBool)};
      return kto_loss(in, z0, std::ssize(examples), {.undesirable_weight = 1.2}).loss;
    });
  }

 private:
  using LossOf = std::function<at::Tensor(const PreferencePack&, const at::Tensor& policy)>;

  static at::Tensor narrow(const at::Tensor& values, const Share& own) {
    return values.narrow(0, static_cast<int64_t>(own.first), static_cast<int64_t>(own.count));
  }
  at::Tensor pack_logps(const model::Network& network, const PreferencePack& pack) const {
    return example_logps(pack, plain_ ? plain_logprobs(network, pack.batch, pack.targets)
                                      : network.logprobs(pack.batch, pack.targets, 1.0).logprobs);
  }
  at::Tensor logps(const model::Network& network, std::span<const PreferenceExample> examples,
                   int64_t rows) const {
    return of_all_packs(pack_preferences(examples, rows, at::kCPU),
                        [&](const PreferencePack& pack) { return pack_logps(network, pack); });
  }
  // Once for all losses: the first row tells the order.
  const at::Tensor& reference_logps(const Examples& pairs, int64_t rows) {
    auto& known = reference_logps_[{pairs.front().row, rows}];
    if (!known.defined()) known = logps(*reference_, pairs, rows);
    return known;
  }
  at::Tensor gradient(std::span<const PreferenceExample> examples, int64_t rows, const LossOf& loss_of) {
    for (const auto& parameter : policy_->parameters()) parameter.tensor.mutable_grad().reset();
    for (const auto& pack : pack_preferences(examples, rows, at::kCPU)) {
      loss_of(pack, pack_logps(*policy_, pack)).backward();
    }
    return sluice::gradient_of(*policy_).clone();
  }

  std::unique_ptr<model::Network> policy_, reference_;
  const bool plain_;
  std::map<std::pair<int64_t, int64_t>, at::Tensor> reference_logps_;
};

constexpr size_t kPairs = 8;
constexpr Share kAll{0, kPairs};
Share share_of(const transport::Collective& group) {
  static const std::vector<Share> of_two = {{0, 5}, {5, 3}}, of_four = {{0, 3}, {3, 2}, {5, 2}, {7, 1}};
  return (group.size() == 2 ? of_two : of_four)[static_cast<size_t>(group.rank())];
}

std::vector<std::string> losses_of_pairs() {
  auto names = preference_names();
  std::erase(names, "sft");  // compares nothing by itself
  return names;
}

TEST(PreferenceSplit, OfPairsHasTheSameGradientHoweverItIsCutAndOrdered) {
  const auto pairs = random_examples(kPairs, 2, /*seed=*/5);
  auto reversed = pairs;
  std::ranges::reverse(reversed);
  transport::SoloCollective alone;
  for (const auto type : {at::kDouble, at::kFloat}) {
    PreferenceStep step(type);
    for (const auto& name : losses_of_pairs()) {
      SCOPED_TRACE(name);
      const auto& terms = preference_terms(name);
      const auto whole = step.pairs(terms, pairs, kSplits[0], kAll, alone);
      for (const int64_t rows : kSplits) {
        expect_same_gradient(step.pairs(terms, pairs, rows, kAll, alone), whole);
        expect_same_gradient(step.pairs(terms, reversed, rows, kAll, alone), whole);
      }
    }
  }
}

TEST(PreferenceSplit, HasTheGradientOfWholeLogitsOfEachCompletionByItself) {
  const auto pairs = random_examples(kPairs, 2, /*seed=*/5), judged = random_examples(kPairs, 1, /*seed=*/5);
  transport::SoloCollective alone;
  for (const auto type : {at::kDouble, at::kFloat}) {
    PreferenceStep packed(type), plain(type, /*plain=*/true);
    for (const auto& name : losses_of_pairs()) {
      SCOPED_TRACE(name);
      const auto& terms = preference_terms(name);
      expect_same_gradient(packed.pairs(terms, pairs, kSplits[0], kAll, alone),
                           plain.pairs(terms, pairs, kSplits[0], kAll, alone));
    }
    expect_same_gradient(packed.judged(judged, kSplits[0], kAll), plain.judged(judged, kSplits[0], kAll));
  }
}

TEST(PreferenceSplit, OfPairsHasTheSameGradientOverRanks) {
  const auto pairs = random_examples(kPairs, 2, /*seed=*/5);
  transport::SoloCollective alone;
  for (const auto type : {at::kDouble, at::kFloat}) {
    PreferenceStep one(type);
    std::vector<at::Tensor> whole;
    for (const auto& name : losses_of_pairs()) {
      whole.push_back(one.pairs(preference_terms(name), pairs, kSplits[0], kAll, alone));
    }
    for (const int64_t ranks : {2, 4}) {
      spawn_ranks(ranks, [&](transport::Collective& group) {
        PreferenceStep step(type);
        auto expected = whole.begin();
        for (const auto& name : losses_of_pairs()) {
          SCOPED_TRACE(name);
          auto gradient = step.pairs(preference_terms(name), pairs, /*rows=*/60, share_of(group), group);
          group.all_reduce_sum(gradient);
          expect_same_gradient(gradient, *expected++);
        }
      });
    }
  }
}

// The order decides what is mismatched with what, so it is not turned round.
TEST(PreferenceSplit, OfJudgedCompletionsHasTheSameGradientHoweverItIsCut) {
  const auto examples = random_examples(kPairs, 1, /*seed=*/5);
  for (const auto type : {at::kDouble, at::kFloat}) {
    PreferenceStep one(type);
    const auto whole = one.judged(examples, kSplits[0], kAll);
    for (const int64_t rows : kSplits) expect_same_gradient(one.judged(examples, rows, kAll), whole);
    for (const int64_t ranks : {2, 4}) {
      spawn_ranks(ranks, [&](transport::Collective& group) {
        auto gradient = PreferenceStep(type).judged(examples, /*rows=*/60, share_of(group));
        group.all_reduce_sum(gradient);
        expect_same_gradient(gradient, whole);
      });
    }
  }
}

}  // namespace
}  // namespace sluice::learner
