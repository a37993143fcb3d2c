// The gradient of a policy step is the same whatever micro-batches, packs and ranks it is cut into and in
// whatever order its groups come, and that of each completion by itself, for every loss, aggregation and
// place of the KL.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "learner/policy_learner.h"
#include "tests/learner/rollouts.h"
#include "tests/plain_logprobs.h"
#include "tests/spawn_ranks.h"
#include "tests/split_step.h"
#include "tests/step_gradient.h"

namespace sluice::learner {
namespace {

enum class KlIn { Nothing, Loss, Reward };

struct SplitCase {
  std::string name;
  PolicyLossOptions loss;
  Aggregation aggregation = Aggregation::TokenMean;
  KlIn kl = KlIn::Nothing;
};

std::vector<SplitCase> split_cases() {
  const std::vector<std::pair<std::string, PolicyLossOptions>> losses = {
      {"Clip", {}},
      {"DualClip", {.dual_clip = 1.1}},
      {"Sequence", {.ratio = RatioLevel::Sequence, .clip_low = 0.05, .clip_high = 0.05}},
      {"SequenceToken", {.ratio = RatioLevel::SequenceToken, .clip_low = 0.05, .clip_high = 0.05}},
      {"SequenceSum", {.ratio = RatioLevel::SequenceSum}},
      {"WeightClip", {.surrogate = Surrogate::WeightClip, .weight_high = 1.1}},
      {"SoftGate", {.surrogate = Surrogate::SoftGate}},
      {"Reinforce", {.surrogate = Surrogate::Reinforce}},
      {"GeometricMean", {.surrogate = Surrogate::GeometricMean, .log_clip = 0.1}},
      {"GammaWeight", {.surrogate = Surrogate::GammaWeight}},
      {"TrustRegion", {.surrogate = Surrogate::TrustRegion, .clip_low = 0.005, .clip_high = 0.005}}};
  const std::vector<std::pair<std::string, Aggregation>> aggregations = {
      {"TokenMean", Aggregation::TokenMean},
      {"SeqMeanTokenMean", Aggregation::SeqMeanTokenMean},
      {"SeqMeanTokenSum", Aggregation::SeqMeanTokenSum},
      {"SeqMeanTokenSumNorm", Aggregation::SeqMeanTokenSumNorm}};
  const std::vector<std::pair<std::string, KlIn>> places = {
      {"NoKl", KlIn::Nothing}, {"KlInLoss", KlIn::Loss}, {"KlInReward", KlIn::Reward}};
  std::vector<SplitCase> cases;
  for (const auto& [loss_name, loss] : losses) {
    for (const auto& [aggregation_name, aggregation] : aggregations) {
      for (const auto& [place_name, place] : places) {
        cases.push_back({loss_name + aggregation_name + place_name, loss, aggregation, place});
        if (place != KlIn::Nothing) cases.back().loss.beta = 0.1;
      }
    }
  }
  for (const auto& [name, kl] :
       std::vector<std::pair<std::string, KlEstimator>>{{"K1", KlEstimator::K1},
                                                        {"K2", KlEstimator::K2},
                                                        {"K3", KlEstimator::K3},
                                                        {"Abs", KlEstimator::Abs},
                                                        {"K1Plus", KlEstimator::K1Plus},
                                                        {"K3Plus", KlEstimator::K3Plus},
                                                        {"K3Is", KlEstimator::K3Is}}) {
    cases.push_back({"Estimator" + name, {.beta = 0.1, .kl = kl}, Aggregation::TokenMean, KlIn::Loss});
  }
  return cases;
}

// Recorded log-probs within 0.3 of what an untrained network says, log(1/23): ratios on both sides of clips.
TrainingBatch make_batch(int count, bool reversed = false) {
  auto groups = random_groups(count, /*seed=*/5);
  for (auto& group : groups) {
    for (auto& completion : group.completions) {
      for (auto& logprob : completion.logprobs) logprob = -3.135f + 0.15f * (logprob + 2.0f);
    }
  }
  if (reversed) std::ranges::reverse(groups);
  return make_training_batch(0, std::move(groups), {1.0}, {}, /*max_new_tokens=*/16);
}

// What a step is made of, computed in one type: the parts that PolicyLearner puts together.
class SplitStep {
 public:
  explicit SplitStep(at::ScalarType type)
      : policy_(tiny_network_of(type, 7)), reference_(tiny_network_of(type, 8)) {
    reference_->freeze();
  }

  // From here on log-probs are those of plain_logprobs().
  void compute_plainly() { plain_ = true; }

  // Of a rank's share of the step.
  at::Tensor gradient(const SplitCase& of, TrainingBatch batch, int64_t rows, int64_t rank = 0,
                      int64_t ranks = 1) {
    if (of.kl == KlIn::Reward) put_kl_in_rewards(of, batch, rows);
    for (const auto& parameter : policy_->parameters()) parameter.tensor.mutable_grad().reset();
    for (const auto& micro :
         cut_into_micro_batches(batch, rows, at::kCPU, IdleGroups::Keep, kAllGroups, ranks)) {
      if (micro.rank != rank) continue;
      auto options = of.loss;
      if (of.kl != KlIn::Loss) options.beta = 0.0;
      policy_loss({.logprobs = logprobs(*policy_, micro),
                   .old_logprobs = micro.behaviour_logprobs,
                   .ref_logprobs = reference_logprobs(micro),
                   .advantages = micro.advantages,
                   .weights = aggregation_weights(of.aggregation, micro.lengths, batch.denominators),
                   .lengths = micro.lengths},
                  options)
          .loss.backward();
    }
    return sluice::gradient_of(*policy_);
  }

 private:
  at::Tensor reference_logprobs(const MicroBatch& micro) const {
    const c10::NoGradGuard no_grad;
    return logprobs(*reference_, micro);
  }
  at::Tensor logprobs(const model::Network& network, const MicroBatch& micro) const {
    return plain_ ? plain_logprobs(network, micro.batch, micro.targets)
                  : network.logprobs(micro.batch, micro.targets, 1.0).logprobs;
  }

  void put_kl_in_rewards(const SplitCase& of, TrainingBatch& batch, int64_t rows) const {
    for (const auto& micro : cut_into_micro_batches(batch, rows, at::kCPU)) {
      const auto kl = micro.behaviour_logprobs - reference_logprobs(micro);
      int64_t first = 0;
      for (size_t i = 0; i < micro.lengths.size(); ++i) {
        const auto& [group, completion] = micro.completions[i];
        *batch.rewards[group][completion] -=
            of.loss.beta * kl.narrow(0, first, micro.lengths[i]).sum(at::kDouble).item<double>();
        first += micro.lengths[i];
      }
    }
    batch.advantages = group_advantages(batch.rewards);
  }

  std::unique_ptr<model::Network> policy_, reference_;
  bool plain_ = false;
};

// By the learner itself, in float32.
at::Tensor learned_gradient(const SplitCase& of, const TrainingBatch& batch, int64_t rows) {
  const auto network = tiny_network(7);
  transport::SoloCollective alone;
  optim::Optimizer optimizer(*network, alone, {.max_grad_norm = 0}, /*total_steps=*/100);
  const reference::ReferencePolicy reference(tiny_network(8));
  PolicyLearner(*network, &reference, optimizer,
                {.loss = of.loss,
                 .aggregation = of.aggregation,
                 .kl_in_reward = of.kl == KlIn::Reward,
                 .micro_batch_tokens = rows})
      .step(batch, /*version=*/0);
  return step_gradient(optimizer);
}

class PolicySplit : public testing::TestWithParam<SplitCase> {};

TEST_P(PolicySplit, HasTheSameGradientHoweverItIsCutAndOrdered) {
  const auto batch = make_batch(3), reversed = make_batch(3, /*reversed=*/true);
  SplitStep exact(at::kDouble);
  const auto whole = exact.gradient(GetParam(), batch, kSplits[0]);
  const auto learned = learned_gradient(GetParam(), batch, kSplits[0]);
  expect_same_gradient(SplitStep(at::kFloat).gradient(GetParam(), batch, kSplits[0]), learned);
  for (const auto& [of, rows] : {std::pair(&reversed, kSplits[0]),
                                 {&batch, kSplits[1]},
                                 {&reversed, kSplits[1]},
                                 {&batch, kSplits[2]}}) {
    SCOPED_TRACE(rows);
    expect_same_gradient(exact.gradient(GetParam(), *of, rows), whole);
    expect_same_gradient(learned_gradient(GetParam(), *of, rows), learned);
  }
}

// Nothing fused, nothing packed, no prompt shared.
TEST_P(PolicySplit, HasTheGradientOfWholeLogitsOfEachCompletionByItself) {
  const auto batch = make_batch(3);
  for (const auto type : {at::kDouble, at::kFloat}) {
    SplitStep packed(type), plain(type);
    plain.compute_plainly();
    expect_same_gradient(packed.gradient(GetParam(), batch, kSplits[0]),
                         plain.gradient(GetParam(), batch, kSplits[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Every, PolicySplit, testing::ValuesIn(split_cases()),
                         [](const auto& named) { return named.param.name; });

// What the learner makes of the loss of a token beside it, from numbers that carry no gradient.
struct FactorCase {
  std::string name;
  PolicyLearnerOptions options;
  std::function<at::Tensor(const MicroBatch& micro, const at::Tensor& logprobs, const at::Tensor& entropy)>
      factors;  // [tokens]
};

// `of` each sequence, at each of its tokens.
at::Tensor of_sequences(const std::vector<int64_t>& lengths, const at::Tensor& values,
                        const std::function<at::Tensor(const at::Tensor& sequence)>& of) {
  std::vector<at::Tensor> all;
  for (const auto& sequence : values.split_with_sizes(lengths)) {
    if (sequence.numel() > 0) all.push_back(of(sequence).expand_as(sequence));
  }
  return at::cat(all);
}

std::vector<FactorCase> factor_cases() {
  const auto log_rho = [](const MicroBatch& micro, const at::Tensor& logprobs) {
    return logprobs - micro.behaviour_logprobs;
  };
  const auto inside = [](const at::Tensor& all, double low, double high) {
    return all.ge(low).logical_and(all.le(high));
  };
  const auto corrected = [](Correction kind) {
    return PolicyLearnerOptions{.old_policy = OldPolicy::Proximal,
                                .correction = {.kind = kind, .low = 0.9, .high = 1.1}};
  };
  return {
      {"TruncateToken", corrected(Correction::TruncateToken),
       [=](const auto& micro, const auto& logprobs, const auto&) {
         return log_rho(micro, logprobs).exp().clamp(0.9, 1.1);
       }},
      {"MaskToken", corrected(Correction::MaskToken),
       [=](const auto& micro, const auto& logprobs, const auto&) {
         const auto rho = log_rho(micro, logprobs).exp();
         return rho * inside(rho, 0.9, 1.1);
       }},
      {"TruncateSequence", corrected(Correction::TruncateSequence),
       [=](const auto& micro, const auto& logprobs, const auto&) {
         return of_sequences(micro.lengths, log_rho(micro, logprobs),
                             [](const at::Tensor& all) { return all.sum().exp().clamp(0.9, 1.1); });
       }},
      {"MaskSequence", corrected(Correction::MaskSequence),
       [=](const auto& micro, const auto& logprobs, const auto&) {
         const auto rho = of_sequences(micro.lengths, log_rho(micro, logprobs),
                                       [](const at::Tensor& all) { return all.sum().exp(); });
         return rho * inside(rho, 0.9, 1.1);
       }},
      {"MaxSequenceKl",
       {.max_sequence_kl = 0.01},
       [=](const auto& micro, const auto& logprobs, const auto&) {
         const auto kl = of_sequences(micro.lengths, -log_rho(micro, logprobs),
                                      [](const at::Tensor& all) { return all.mean(); });
         return kl.gt(0.01).logical_and(micro.advantages.lt(0)).logical_not();
       }},
      {"Moments",
       {.moment_threshold = 0.01},
       [=](const auto& micro, const auto& logprobs, const auto&) {
         // Without the largest, one after the other, until the mean of those that are left is small enough.
         const auto squares = log_rho(micro, logprobs).square();
         auto keep = at::ones_like(squares);
         while ((squares * keep).sum().template item<double>() >= 0.01 * keep.sum().template item<double>()) {
           keep[(squares * keep).argmax()] = 0;
         }
         return keep;
       }},
      {"EntropyShare", {.entropy_share = 0.3}, [](const auto&, const auto&, const auto& entropy) {
         return entropy.ge(at::quantile(entropy, 0.7));
       }}};
}

class PolicyFactors : public testing::TestWithParam<FactorCase> {};

// The learner itself, in either type: its optimizer moves another network.
at::Tensor learned_gradient(at::ScalarType type, PolicyLearnerOptions options, const TrainingBatch& batch) {
  options.loss.surrogate = Surrogate::Reinforce;
  options.aggregation = Aggregation::TokenMean;
  const auto network = tiny_network_of(type, 7);
  OptimizerOfAnother other;
  PolicyLearner(*network, nullptr, other.optimizer, options).step(batch, /*version=*/0);
  return gradient_of(*network);
}

// Likewise: Reinforce with these factors, and a bonus for entropy.
at::Tensor plain_gradient(at::ScalarType type, const FactorCase& of, const TrainingBatch& batch) {
  const auto micro = cut_into_micro_batches(batch, kSplits[0], at::kCPU).front();
  const auto network = tiny_network_of(type, 7);
  const auto all = plain_logits(*network, micro.batch, micro.targets.rows).log_softmax(1);
  const auto logprobs = all.gather(1, micro.targets.tokens.unsqueeze(1)).squeeze(1);
  const auto entropy = -(all.exp() * all).sum(1);
  auto gain = micro.advantages * logprobs;
  if (of.factors) gain = gain * of.factors(micro, logprobs.detach(), entropy.detach());
  gain = gain + of.options.entropy_bonus * entropy;
  (-gain.sum() / static_cast<double>(batch.denominators.tokens)).backward();
  return gradient_of(*network);
}

TEST_P(PolicyFactors, HaveTheGradientOfWholeLogitsOfEachCompletionByItself) {
  const auto batch = make_batch(2);
  for (const auto type : {at::kDouble, at::kFloat}) {
    expect_same_gradient(learned_gradient(type, GetParam().options, batch),
                         plain_gradient(type, GetParam(), batch));
  }
  const auto with = plain_gradient(at::kDouble, GetParam(), batch),
             without = plain_gradient(at::kDouble, {}, batch);
  EXPECT_GT((with - without).norm().item<double>(), 0.01 * without.norm().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Every, PolicyFactors, testing::ValuesIn(factor_cases()),
                         [](const auto& named) { return named.param.name; });

// Alone, as all completions of a group have the same reward, and beside a policy loss.
TEST(PolicyEntropy, HasTheGradientOfWholeLogitsOfEachCompletionByItself) {
  const auto batch = make_batch(2);
  auto equal = batch;
  for (auto& of_group : equal.advantages) std::ranges::fill(of_group, 0.0);
  for (const auto& [of, bonus] : {std::pair(equal, 1.0), {batch, 10.0}}) {
    for (const auto type : {at::kDouble, at::kFloat}) {
      const FactorCase only{.name = {}, .options = {.entropy_bonus = bonus}, .factors = {}};
      expect_same_gradient(learned_gradient(type, only.options, of), plain_gradient(type, only, of));
    }
  }
}

// Each rank's share, the flat gradient summed. Four ranks, and float32, see every loss and aggregation with
// one place of the KL.
TEST(PolicySplitOverRanks, HasTheSameGradientAsOnOne) {
  const auto batch = make_batch(5);
  const auto all = split_cases();
  const auto is_seen = [](size_t i, at::ScalarType type, int64_t ranks) {
    return (type == at::kDouble && ranks == 2) || i % 3 == i / 3 % 3;
  };
  for (const auto type : {at::kDouble, at::kFloat}) {
    SplitStep alone(type);
    std::vector<at::Tensor> whole(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      if (is_seen(i, type, 2)) whole[i] = alone.gradient(all[i], batch, kSplits[0]).clone();
    }
    for (const int64_t ranks : {2, 4}) {
      spawn_ranks(ranks, [&](transport::Collective& group) {
        SplitStep step(type);
        for (size_t i = 0; i < all.size(); ++i) {
          if (!is_seen(i, type, ranks)) continue;
          SCOPED_TRACE(all[i].name);
          auto gradient = step.gradient(all[i], batch, /*rows=*/60, group.rank(), ranks);
          group.all_reduce_sum(gradient);
          expect_same_gradient(gradient, whole[i]);
        }
      });
    }
  }
}

// The update itself: ranks that each learned from their part hold the same weights, those of one rank.
TEST(PolicySplitOverRanks, TakesTheSameStepOnEveryRank) {
  const auto batch = make_batch(5);
  const auto take_step = [&](transport::Collective& group, const GroupRange& own) {
    auto network = tiny_network(7);
    optim::Optimizer optimizer(*network, group, {.lr = 1e-3}, /*total_steps=*/10);
    optimizer.zero_grad();
    for (const auto& micro : cut_into_micro_batches(batch, 60, at::kCPU, IdleGroups::Keep, own)) {
      policy_loss({.logprobs = network->logprobs(micro.batch, micro.targets, 1.0).logprobs,
                   .old_logprobs = micro.behaviour_logprobs,
                   .ref_logprobs = {},
                   .advantages = micro.advantages,
                   .weights = aggregation_weights(Aggregation::TokenMean, micro.lengths, batch.denominators)})
          .loss.backward();
    }
    EXPECT_TRUE(optimizer.step().applied);
    return network->weights_hash();
  };
  std::vector<std::string> hashes(2);
  spawn_ranks(2, [&](transport::Collective& group) {
    hashes[static_cast<size_t>(group.rank())] =
        take_step(group, group.rank() == 0 ? GroupRange{0, 3} : GroupRange{3, 2});
  });
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_NE(hashes[0], tiny_network(7)->weights_hash());
}

}  // namespace
}  // namespace sluice::learner
