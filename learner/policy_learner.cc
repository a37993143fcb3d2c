#include "learner/policy_learner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "learner/critic.h"
#include "learner/early_stop.h"
#include "learner/entropy_bonus.h"
#include "learner/internal/batch_metrics.h"
#include "learner/internal/injected.h"
#include "learner/internal/rank_values.h"
#include "learner/internal/segments.h"
#include "learner/internal/step_tally.h"
#include "learner/internal/token_returns.h"
#include "learner/step_plan.h"
#include "model/pack_bins.h"

namespace sluice::learner {
namespace {

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// What was really sampled from: the recorded policy divided by what top-k and top-p kept of it.
at::Tensor sampled_logprobs(const MicroBatch& micro) {
  return micro.behaviour_logprobs - micro.kept_mass.log();
}

}  // namespace

PolicyLearner::PolicyLearner(model::Network& network, const reference::ReferencePolicy* reference,
                             optim::Optimizer& optimizer, const PolicyLearnerOptions& options, Critic* critic)
    : network_(network),
      reference_(reference),
      optimizer_(optimizer),
      options_(options),
      critic_(critic),
      coefficients_(options.coefficients()) {
  require(options.temperature > 0.0, "PolicyLearner: a temperature of ", options.temperature,
          " samples nothing to learn from");
  require(options.micro_batch_tokens > 0, "PolicyLearner: micro-batches of ", options.micro_batch_tokens,
          " tokens");
  require(!options.needs_reference() || reference != nullptr, "PolicyLearner: beta is ", options.loss.beta,
          " and there is no reference policy");
  require(!options.kl_in_reward || options.needs_reference(),
          "PolicyLearner: the KL belongs in the reward, and its weight beta is 0");
  require(options.epochs > 0 && options.minibatches > 0, "PolicyLearner: ", options.epochs, " epochs of ",
          options.minibatches, " updates");
  require(options.gamma > 0.0 && options.gamma <= 1.0, "PolicyLearner: gamma is ", options.gamma);
  require(options.lambda >= 0.0 && options.lambda <= 1.0, "PolicyLearner: lambda is ", options.lambda);
  require((critic != nullptr) == (options.advantage.baseline == Baseline::Critic),
          "PolicyLearner: a critic and the baseline that is one go together");
}

// Whether all of their tokens were sampled from those weights.
bool PolicyLearner::are_of_version(const std::vector<StepUpdate>& updates, int64_t version) {
  return std::ranges::all_of(updates, [&](const StepUpdate& update) {
    return std::ranges::all_of(update.parts, [&](const StepPart& part) {
      return part.micro.versions.eq(version).all().item<bool>();
    });
  });
}

bool PolicyLearner::is_own(const StepPart& part) const {
  return part.micro.rank == optimizer_.collective().rank();
}

int64_t PolicyLearner::lacked(const StepUpdate& update) const {
  return model::lacked_by(update.parts, optimizer_.collective().rank(),
                          [](const StepPart& part) { return part.micro.rank; });
}

// A completion of advantage 0 has a gradient by these alone: terms of the loss that have none, advantages of
// tokens that are not their completion's, and masks that compare all tokens of a step.
bool PolicyLearner::all_groups_learn() const {
  return options_.loss.beta != 0.0 || options_.coefficients().uses_entropy() ||
         options_.loss.surrogate == Surrogate::TrustRegion || options_.router_aux_loss != 0.0 ||
         internal::has_token_returns(options_) || options_.compares_tokens();
}

StepPlan PolicyLearner::plan(TrainingBatch batch) const {
  StepPlan plan{.batch = std::move(batch), .updates = {}};
  for (const auto& groups : split_groups(plan.batch, options_.minibatches)) {
    StepUpdate update{.denominators = denominators_of(plan.batch, groups), .parts = {}};
    auto micro_batches = cut_into_micro_batches(plan.batch, options_.micro_batch_tokens, network_.device(),
                                                all_groups_learn() ? IdleGroups::Keep : IdleGroups::LeaveOut,
                                                groups, optimizer_.collective().size());
    int64_t rows = 0;
    for (const auto& micro : micro_batches) rows += micro.batch.num_rows();
    for (auto& micro : micro_batches) {
      const double share = static_cast<double>(micro.batch.num_rows()) / static_cast<double>(rows);
      update.parts.push_back({.micro = std::move(micro), .share = share});
    }
    plan.updates.push_back(std::move(update));
  }
  return plan;
}

void PolicyLearner::prepare(StepPlan& plan, int64_t version, StepMetrics& metrics) const {
  const c10::NoGradGuard no_grad;
  look_ahead(plan.updates, version);
  if (internal::has_token_returns(options_)) {
    internal::put_token_returns(plan.batch, options_, coefficients_.kl(), plan.updates, metrics);
  }
  mask_tokens(plan.updates);
}

void PolicyLearner::look_ahead(std::vector<StepUpdate>& updates, int64_t version) const {
  // In the one update there is, the log-probs being trained are the proximal ones.
  const bool proximal = options_.moment_threshold > 0.0 ||
                        (options_.old_policy == OldPolicy::Proximal && options_.updates_per_step() > 1);
  const bool recorded = options_.exact_logprobs && are_of_version(updates, version);
  const bool forward = options_.entropy_share < 1.0 || (proximal && !recorded);
  const bool reference =
      options_.needs_reference() && (options_.kl_in_reward || options_.updates_per_step() > 1);
  for (auto& update : updates) {
    for (auto& part : update.parts) {
      const auto& micro = part.micro;
      if (proximal && !forward) part.proximal = micro.behaviour_logprobs;
      if (!is_own(part)) continue;
      if (forward) {
        const auto out = network_.logprobs(micro.batch, micro.targets, options_.temperature);
        part.proximal = out.logprobs;
        part.entropy = out.entropy;
      }
      if (reference) {
        part.reference = reference_->logprobs(micro.batch, micro.targets, options_.temperature);
      }
      if (critic_ != nullptr) {
        auto values = critic_->values(micro);
        part.values = std::move(values.tokens);
        part.end_values = std::move(values.ends);
      }
    }
    if (forward) optimizer_.idle_forwards(lacked(update));
  }
  auto& ranks = optimizer_.collective();
  if (forward) internal::share_values(ranks, updates, &StepPart::proximal);
  if (options_.entropy_share < 1.0) internal::share_values(ranks, updates, &StepPart::entropy);
  if (reference) internal::share_values(ranks, updates, &StepPart::reference);
  if (critic_ != nullptr) {
    internal::share_values(ranks, updates, &StepPart::values);
    internal::share_values(ranks, updates, &StepPart::end_values, /*ends=*/true);
  }
}

// These look at the whole step at once.
void PolicyLearner::mask_tokens(std::vector<StepUpdate>& updates) const {
  std::vector<StepPart*> parts;
  for (auto& update : updates) {
    for (auto& part : update.parts) parts.push_back(&part);
  }
  const auto together = [&](auto of_part) {
    std::vector<at::Tensor> all;
    for (const StepPart* part : parts) all.push_back(of_part(*part));
    return at::cat(all);
  };
  const auto keep_only = [&](const at::Tensor& keep) {
    int64_t first = 0;
    for (StepPart* part : parts) {
      const int64_t count = part->micro.targets.rows.numel();
      const auto own = keep.narrow(0, first, count);
      part->keep = part->keep.defined() ? part->keep.logical_and(own) : own;
      first += count;
    }
  };
  if (parts.empty()) return;
  if (options_.entropy_share < 1.0) {
    keep_only(keep_high_entropy(together([](const StepPart& part) { return part.entropy; }),
                                options_.entropy_share));
  }
  if (options_.moment_threshold > 0.0) {
    keep_only(keep_small_moments(together([](const StepPart& part) { return part.proximal; }),
                                 together([](const StepPart& part) { return sampled_logprobs(part.micro); }),
                                 options_.moment_threshold));
  }
}

at::Tensor PolicyLearner::old_logprobs(const StepPart& part, const at::Tensor& logprobs,
                                       int64_t version) const {
  switch (options_.old_policy) {
    case OldPolicy::Behaviour:
      return sampled_logprobs(part.micro);
    case OldPolicy::Proximal:
      return part.proximal.defined() ? part.proximal : logprobs.detach();
    case OldPolicy::Between:
      return proximal_between(logprobs, sampled_logprobs(part.micro), part.micro.versions, version);
  }
  fail("PolicyLearner: unknown old policy ", static_cast<int>(options_.old_policy));
}

// Of the policy term of each token; undefined where all are 1.
at::Tensor PolicyLearner::factors(const StepPart& part, const at::Tensor& logprobs, const at::Tensor& old,
                                  Tally& tally) const {
  at::Tensor factors;
  const auto times = [&factors](const at::Tensor& more) {
    factors = factors.defined() ? factors * more : more;
  };
  if (options_.old_policy != OldPolicy::Behaviour) {
    const auto correction =
        correction_weights(old, sampled_logprobs(part.micro), part.micro.lengths, options_.correction);
    tally.rho.add(correction.rho, std::max(options_.correction.high, 1.0 + 1e-6));
    if (options_.correction.kind != Correction::None) times(correction.weights);
  }
  if (options_.max_sequence_kl > 0.0) {
    times(keep_near_sequences(logprobs, sampled_logprobs(part.micro), part.micro.advantages,
                              part.micro.lengths, options_.max_sequence_kl)
              .to(logprobs.scalar_type()));
  }
  if (part.keep.defined()) times(part.keep.to(logprobs.scalar_type()));
  if (factors.defined()) tally.masked += sum_of(factors.eq(0));
  return factors;
}

void PolicyLearner::learn(const StepPart& part, const StepDenominators& denominators, int64_t version,
                          bool first, Tally& tally) {
  const auto& micro = part.micro;
  auto options = options_.loss;
  options.beta = options_.kl_in_reward ? 0.0 : coefficients_.kl();
  // Before there is anything that the backward wants: both together would take more memory.
  const auto reference = options.beta != 0.0 && !part.reference.defined()
                             ? reference_->logprobs(micro.batch, micro.targets, options_.temperature)
                             : part.reference;
  const auto out = network_.logprobs(micro.batch, micro.targets, options_.temperature);
  const auto old = old_logprobs(part, out.logprobs, version);
  const PolicyLossInputs inputs{.logprobs = out.logprobs,
                                .old_logprobs = old,
                                .ref_logprobs = reference,
                                .advantages = micro.advantages,
                                .weights = aggregation_weights(options_.aggregation, micro.lengths,
                                                               denominators, options_.seq_denominator)
                                               .to(network_.device()),
                                .lengths = micro.lengths,
                                .factors = factors(part, out.logprobs, old, tally)};
  const auto loss = policy_loss(inputs, options);
  auto objective = loss.loss;
  if (coefficients_.entropy() != 0.0) {
    objective = objective + entropy_bonus(out.entropy, denominators.tokens, coefficients_.entropy());
  }
  if (out.balance_loss.defined()) {
    tally.aux_loss += part.share * out.balance_loss.item<double>();
    ++tally.aux_losses;
    if (options_.router_aux_loss != 0.0) {
      objective = objective + out.balance_loss * (options_.router_aux_loss * part.share);
    }
  }
  objective = internal::with_injected(Failpoint::Loss, objective);
  tally.faults.look(micro, out.logprobs.detach(), loss);
  if (tally.faults.found()) {
    optimizer_.idle_backward();
  } else {
    optimizer_.backward(objective);
    if (critic_ != nullptr) critic_->learn(micro, part.values, part.returns, denominators);
  }

  const c10::NoGradGuard no_grad;
  tally.tokens += micro.targets.rows.numel();
  tally.loss += objective.item<double>();
  tally.entropy += sum_of(out.entropy);
  tally.add(loss.sums);
  tally.add_sequences(loss, micro.lengths);
  if (loss.kl.defined()) tally.sequence_kl.add(internal::Segments(micro.lengths, loss.kl).mean(loss.kl));
  if (first) tally.add_mismatch(micro, out.logprobs.detach(), version);
  keep_log_ratios(micro, out.logprobs.detach());
}

void PolicyLearner::keep_log_ratios(const MicroBatch& micro, const at::Tensor& logprobs) {
  const auto ratios = (logprobs - micro.behaviour_logprobs).to(at::kCPU, at::kFloat).contiguous();
  const float* next = ratios.const_data_ptr<float>();
  for (size_t i = 0; i < micro.completions.size(); ++i) {
    const auto [group, completion] = micro.completions[i];
    log_ratios_.try_emplace({group, completion}, next, next + micro.lengths[i]);
    next += micro.lengths[i];
  }
}

StepMetrics PolicyLearner::step(TrainingBatch batch, int64_t version) {
  auto planned = plan(std::move(batch));
  return step(planned, version);
}

StepMetrics PolicyLearner::step(StepPlan& plan, int64_t version) {
  const auto& batch = plan.batch;
  StepMetrics metrics = internal::batch_metrics(batch, version);
  prepare(plan, version, metrics);
  if (options_.needs_reference()) metrics["kl_coef"] = coefficients_.kl();
  if (options_.coefficients().uses_entropy()) metrics["entropy_coef"] = coefficients_.entropy();

  fault_ = {};
  log_ratios_.clear();
  Tally tally;
  const bool critic_alone = critic_ != nullptr && version < options_.critic_warmup;
  for (int64_t i = 0; i < options_.updates_per_step(); ++i) {
    const auto& update = plan.updates[static_cast<size_t>(i % options_.minibatches)];
    tally.step_tokens += update.denominators.tokens;
    tally.step_nonempty += update.denominators.nonempty;
    optimizer_.zero_grad();
    if (critic_ != nullptr) critic_->begin();
    const double loss_before = tally.loss, kl_before = tally.sums.approx_kl;
    const int64_t tokens_before = tally.tokens;
    const bool may_end = i > 0 && options_.target_kl > 0.0;
    // A critic's gradients, and what ends a step early, are summed before all of the policy's are.
    const auto* const last = critic_ == nullptr && !may_end && update.denominators.tokens > 0
                                 ? model::last_of(update.parts, optimizer_.collective().rank(),
                                                  [](const StepPart& part) { return part.micro.rank; })
                                 : nullptr;
    for (const auto& part : update.parts) {
      if (!is_own(part)) continue;
      if (&part == last) optimizer_.expect_last_backward();
      learn(part, update.denominators, version, i == 0, tally);
    }
    optimizer_.idle_passes(lacked(update));
    if (may_end && moved_too_far(tally.sums.approx_kl - kl_before, tally.tokens - tokens_before,
                                 options_.target_kl, optimizer_.collective())) {
      break;
    }
    if (update.denominators.tokens == 0) continue;

    ++tally.updates;
    // The clamps of the loss give a log-ratio that is not a number a gradient of 0: the loss has to be asked.
    const double loss = tally.loss - loss_before;
    const bool sound = !tally.faults.found() && std::isfinite(loss);
    if (!(critic_alone ? teach_critic(sound) : move_policy(sound, tally, metrics))) {
      fault_ = tally.faults.fault(loss, batch.groups.size(), optimizer_.collective());
      break;
    }
  }
  if (tally.norms > 0) metrics["grad_norm"] = tally.grad_norm / static_cast<double>(tally.norms);
  tally.take_together(optimizer_.collective());
  finish(batch, tally, !critic_alone, metrics);
  metrics.merge(optimizer_.metrics());
  if (critic_ != nullptr) metrics.merge(critic_->take_metrics());
  return metrics;
}

// Both say whether weights moved, or stayed for a spike or an overflow alone; what is not `sound` on any rank
// moves none.
bool PolicyLearner::teach_critic(bool sound) {
  if (!sound) critic_->reject();
  return critic_->update();
}

bool PolicyLearner::move_policy(bool sound, Tally& tally, StepMetrics& metrics) {
  if (!sound) optimizer_.reject();
  const auto report = optimizer_.step();
  if (!report.overflow) {
    tally.grad_norm += report.grad_norm;
    ++tally.norms;
  }
  metrics["learning_rate"] = report.lr;
  if (!report.is_sound()) return false;
  if (critic_ != nullptr) critic_->update();
  return true;
}

void PolicyLearner::finish(const TrainingBatch& batch, const Tally& tally, bool moved, StepMetrics& metrics) {
  tally.report(options_, metrics);
  if (options_.updates_per_step() > 1) metrics["updates"] = static_cast<double>(tally.updates);
  if (!moved || !fault_.cause.empty()) return;
  const auto measured = [&metrics](const char* name) {
    const auto found = metrics.find(name);
    return found == metrics.end() ? std::nullopt : std::optional(found->second);
  };
  coefficients_.after_step(measured("kl/sequence_mean"), batch.denominators.sequences, measured("entropy"));
}

}  // namespace sluice::learner
