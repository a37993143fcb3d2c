#include "recipes/internal/algorithm.h"

#include <sstream>

#include "base/error.h"

namespace sluice::recipes::internal {
namespace {

constexpr double kCriticLrFactor = 10.0;

template <class Enum>
Enum choice(const Json& value, std::initializer_list<std::pair<const char*, Enum>> table) {
  for (const auto& [name, result] : table) {
    if (value == name) return result;
  }
  fail<DataError>("recipe: unknown choice ", value.dump());
}

learner::PolicyLossOptions read_loss(const Json& json) {
  using learner::KlEstimator;
  using learner::RatioLevel;
  using learner::Surrogate;
  return {.surrogate = choice<Surrogate>(json.at("loss"), {{"clip", Surrogate::Clip},
                                                           {"cispo", Surrogate::WeightClip},
                                                           {"sapo", Surrogate::SoftGate},
                                                           {"reinforce", Surrogate::Reinforce},
                                                           {"gmpo", Surrogate::GeometricMean},
                                                           {"vespo", Surrogate::GammaWeight},
                                                           {"dppo", Surrogate::TrustRegion}}),
          .ratio = choice<RatioLevel>(json.at("ratio"), {{"token", RatioLevel::Token},
                                                         {"sequence", RatioLevel::Sequence},
                                                         {"sequence-token", RatioLevel::SequenceToken},
                                                         {"sequence-sum", RatioLevel::SequenceSum}}),
          .clip_low = json.at("clip_low"),
          .clip_high = json.at("clip_high"),
          .dual_clip = json.at("dual_clip"),
          .weight_low = json.at("weight_low"),
          .weight_high = json.at("weight_high"),
          .tau_positive = json.at("tau_positive"),
          .tau_negative = json.at("tau_negative"),
          .log_clip = json.at("log_clip"),
          .trust_kl = json.at("trust_kl"),
          .beta = json.at("beta"),
          .kl = choice<KlEstimator>(json.at("kl"), {{"k1", KlEstimator::K1},
                                                    {"k2", KlEstimator::K2},
                                                    {"k3", KlEstimator::K3},
                                                    {"low_var_kl", KlEstimator::LowVar},
                                                    {"abs", KlEstimator::Abs},
                                                    {"k1+", KlEstimator::K1Plus},
                                                    {"k3+", KlEstimator::K3Plus},
                                                    {"k3_is", KlEstimator::K3Is}})};
}

learner::AdvantageOptions read_advantage(const Json& json) {
  using learner::AdvantageScale;
  using learner::Baseline;
  using learner::Whitening;
  return {.baseline = choice<Baseline>(json.at("baseline"), {{"group", Baseline::GroupMean},
                                                             {"leave-one-out", Baseline::LeaveOneOut},
                                                             {"length", Baseline::LengthWeighted},
                                                             {"greedy", Baseline::Greedy},
                                                             {"critic", Baseline::Critic},
                                                             {"history", Baseline::History},
                                                             {"none", Baseline::None}}),
          .scale = choice<AdvantageScale>(json.at("advantage_scale"), {{"group", AdvantageScale::Group},
                                                                       {"batch", AdvantageScale::Batch},
                                                                       {"none", AdvantageScale::None}}),
          .population_std = json.at("population_std"),
          .eps = json.at("advantage_eps"),
          .whitening = choice<Whitening>(json.at("whitening"), {{"none", Whitening::None},
                                                                {"completions", Whitening::Completions},
                                                                {"tokens", Whitening::Tokens}}),
          .each_reward = json.at("each_reward"),
          .clip = json.at("advantage_clip"),
          .mask_truncated = json.at("mask_truncated"),
          .bootstrap_truncated = json.at("bootstrap_truncated")};
}

learner::CorrectionOptions read_correction(const Json& json) {
  using learner::Correction;
  learner::CorrectionOptions correction{
      .kind = choice<Correction>(json.at("correction"), {{"none", Correction::None},
                                                         {"tis", Correction::TruncateToken},
                                                         {"tis-sequence", Correction::TruncateSequence},
                                                         {"icepop", Correction::MaskToken},
                                                         {"sequence-mask", Correction::MaskSequence}}),
      .low = json.at("correction_low"),
      .high = json.at("correction_high"),
      .mean_low = json.at("mean_ratio_low")};
  if (const double high = json.at("mean_ratio_high"); high > 0.0) correction.mean_high = high;
  return correction;
}

// Advantages of the tokens of a completion.
bool tokens_differ(const learner::PolicyLearnerOptions& options) {
  const auto baseline = options.advantage.baseline;
  return baseline == learner::Baseline::Critic ||
         (!learner::is_of_group(baseline) && (options.kl_in_reward || options.gamma != 1.0));
}

std::string advantages_in_words(const learner::PolicyLearnerOptions& options) {
  const auto& advantage = options.advantage;
  std::ostringstream out;
  switch (advantage.baseline) {
    case learner::Baseline::GroupMean:
      out << (advantage.each_reward ? "each reward less its group's mean"
                                    : "rewards less their group's mean");
      if (advantage.scale == learner::AdvantageScale::Group) out << ", over its deviation";
      if (advantage.scale == learner::AdvantageScale::Batch) out << ", over the step's deviation";
      break;
    case learner::Baseline::LeaveOneOut:
      out << "rewards less the mean of the others of the group";
      break;
    case learner::Baseline::LengthWeighted:
      out << "rewards less their group's mean by length";
      break;
    case learner::Baseline::Greedy:
      out << "rewards less that of a greedy completion";
      break;
    case learner::Baseline::Critic:
      out << "what a critic did not expect, lambda " << options.lambda;
      if (advantage.bootstrap_truncated) out << ", truncated completions going on as it expects";
      break;
    case learner::Baseline::History:
      out << "rewards less what their prompt earned before";
      break;
    case learner::Baseline::None:
      out << "returns without a baseline";
      break;
  }
  if (advantage.whitening == learner::Whitening::Completions) out << ", whitened over completions";
  if (advantage.whitening == learner::Whitening::Tokens) out << ", whitened over tokens";
  if (advantage.mask_truncated) out << ", truncated completions left out";
  return out.str();
}

std::string loss_in_words(const learner::PolicyLossOptions& loss) {
  std::ostringstream out;
  switch (loss.surrogate) {
    case learner::Surrogate::Clip:
      out << (loss.ratio == learner::RatioLevel::Token         ? "ratios of tokens"
              : loss.ratio == learner::RatioLevel::SequenceSum ? "ratios of completions"
              : loss.ratio == learner::RatioLevel::SequenceToken
                  ? "mean ratios of completions, token by token,"
                  : "mean ratios of completions")
          << " clipped to 1 - " << loss.clip_low << " .. 1 + " << loss.clip_high;
      if (loss.dual_clip > 0.0) out << " and " << loss.dual_clip;
      break;
    case learner::Surrogate::WeightClip:
      out << "log-probs weighted by ratios in " << loss.weight_low << " .. " << loss.weight_high;
      break;
    case learner::Surrogate::SoftGate:
      out << "ratios through a soft gate of " << loss.tau_positive << " and " << loss.tau_negative;
      break;
    case learner::Surrogate::Reinforce:
      out << "log-probs";
      break;
    case learner::Surrogate::GeometricMean:
      out << "geometric means of ratios within e^" << loss.log_clip;
      break;
    case learner::Surrogate::GammaWeight:
      out << "log-probs under a soft weight of the completion's ratio";
      break;
    case learner::Surrogate::TrustRegion:
      out << "ratios while probabilities move by -" << loss.clip_low << " .. " << loss.clip_high;
      break;
  }
  return out.str();
}

std::string aggregation_in_words(learner::Aggregation aggregation) {
  switch (aggregation) {
    case learner::Aggregation::TokenMean:
      return "mean over tokens";
    case learner::Aggregation::SeqMeanTokenMean:
      return "mean over completions of their mean";
    case learner::Aggregation::SeqMeanTokenSum:
      return "mean over completions of their sum";
    case learner::Aggregation::SeqMeanTokenSumNorm:
      return "sum over the longest possible";
  }
  return "";
}

}  // namespace

learner::PolicyLearnerOptions read_algorithm(const Json& json) {
  using learner::Aggregation;
  using learner::OldPolicy;
  using learner::SequenceDenominator;
  return {.loss = read_loss(json),
          .aggregation = choice<Aggregation>(json.at("aggregation"),
                                             {{"token-mean", Aggregation::TokenMean},
                                              {"seq-mean-token-mean", Aggregation::SeqMeanTokenMean},
                                              {"seq-mean-token-sum", Aggregation::SeqMeanTokenSum},
                                              {"seq-mean-token-sum-norm", Aggregation::SeqMeanTokenSumNorm}}),
          .seq_denominator = choice<SequenceDenominator>(
              json.at("seq_denominator"),
              {{"all", SequenceDenominator::All}, {"nonempty", SequenceDenominator::NonEmpty}}),
          .advantage = read_advantage(json),
          .kl_in_reward = json.at("kl_in") == "reward",
          .gamma = json.at("gamma"),
          .lambda = json.at("lambda"),
          .critic_warmup = json.at("baseline") == "critic" ? json.at("critic_warmup").get<int64_t>() : 0,
          .old_policy = choice<OldPolicy>(json.at("old_policy"), {{"behaviour", OldPolicy::Behaviour},
                                                                  {"proximal", OldPolicy::Proximal},
                                                                  {"between", OldPolicy::Between}}),
          .correction = read_correction(json),
          .max_sequence_kl = json.at("max_sequence_kl"),
          .moment_threshold = json.at("moment_threshold"),
          .entropy_share = json.at("entropy_share"),
          .entropy_bonus = json.at("entropy_bonus"),
          .kl_target = json.at("kl_target"),
          .kl_horizon = json.at("kl_horizon"),
          .entropy_target = json.at("entropy_target"),
          .entropy_delta = json.at("entropy_delta"),
          .value_memory = json.at("value_memory"),
          .epochs = json.at("epochs"),
          .minibatches = json.at("minibatches")};
}

CriticSpec read_critic(const Json& json, const optim::OptimizerOptions& policy) {
  CriticSpec critic{.value_clip = json.at("value_clip"), .optim = policy};
  const Json& lr = json.at("critic_lr");
  critic.optim.lr = lr.is_null() ? kCriticLrFactor * policy.lr : lr.get<double>();
  return critic;
}

// What contradicts itself.
void check_algorithm(const StageSpec& stage) {
  const auto& options = stage.learner;
  const auto& loss = options.loss;
  const auto refuse_unless = [&](bool holds, const auto&... why) {
    require<UsageError>(holds, "stage ", stage.name, ": ", why...);
  };
  refuse_unless(loss.dual_clip == 0.0 || loss.dual_clip > 1.0, "algorithm.dual_clip ", loss.dual_clip,
                " is neither 0 nor more than 1");
  refuse_unless(!options.kl_in_reward || loss.beta != 0.0,
                "algorithm.kl_in = \"reward\" and algorithm.beta = 0: there is no KL to put there");
  refuse_unless(stage.reference_mix.every == 0 || options.needs_reference(), "algorithm.mix_every is ",
                stage.reference_mix.every, ", and with algorithm.beta = 0 there is no reference to mix into");
  refuse_unless(
      !loss.by_sequence() || loss.surrogate == learner::Surrogate::GammaWeight ||
          options.aggregation != learner::Aggregation::TokenMean,
      "a ratio of whole completions with algorithm.aggregation = \"token-mean\" would weigh them by "
      "their length; take seq-mean-token-mean");
  refuse_unless(stage.rollout.group_size > 1 || !learner::is_of_group(options.advantage.baseline),
                "in groups of one (rollout.group_size) every advantage is 0 with a baseline of the group; "
                "take algorithm.baseline = \"none\", \"greedy\", \"critic\" or \"history\"");
  refuse_unless(
      options.advantage.baseline != learner::Baseline::History || !options.kl_in_reward,
      "algorithm.baseline = \"history\" knows rewards without a KL; take algorithm.kl_in = \"loss\"");
  refuse_unless(!tokens_differ(options) || options.advantage.whitening != learner::Whitening::Completions,
                "algorithm.whitening = \"completions\" is for advantages that are a completion's, and here "
                "each token has its own; take \"tokens\"");
  refuse_unless(
      !tokens_differ(options) || !loss.by_sequence() || loss.ratio == learner::RatioLevel::SequenceToken,
      "a ratio of whole completions wants one advantage for each, and here each token has its own; "
      "take algorithm.ratio = \"token\" or \"sequence-token\"");
  refuse_unless(options.kl_target == 0.0 || loss.beta != 0.0, "algorithm.kl_target ", options.kl_target,
                " moves algorithm.beta, which is 0: there is no KL to weigh");
  refuse_unless(stage.guard.max_kl == 0.0 || loss.beta != 0.0, "guard.max_kl ", stage.guard.max_kl,
                " and algorithm.beta = 0: no reference is there to measure a KL to");
  refuse_unless(options.target_kl == 0.0 || options.updates_per_step() > 1, "guard.target_kl ",
                options.target_kl, " and one update a step: there is no other to leave");
  refuse_unless(options.critic_warmup < stage.steps, "algorithm.critic_warmup ", options.critic_warmup,
                " leaves the policy none of the stage's ", stage.steps, " steps");
  refuse_unless(!options.advantage.bootstrap_truncated || !options.advantage.mask_truncated,
                "algorithm.bootstrap_truncated says what truncated completions would have earned, and with "
                "algorithm.mask_truncated nothing is learned from them; take one of the two");
  refuse_unless(!options.advantage.each_reward || stage.rewards.size() > 1,
                "algorithm.each_reward is for several rewards, there is one");
  refuse_unless(!options.advantage.each_reward || !options.kl_in_reward,
                "algorithm.each_reward and algorithm.kl_in = \"reward\" do not go together");
  refuse_unless(options.minibatches <= stage.rollout.prompts_per_step, "algorithm.minibatches ",
                options.minibatches, " are more than rollout.prompts_per_step ",
                stage.rollout.prompts_per_step);
  refuse_unless(loss.weight_low <= loss.weight_high, "algorithm.weight_low ", loss.weight_low,
                " is above algorithm.weight_high ", loss.weight_high);
}

std::string describe(const learner::PolicyLearnerOptions& options) {
  std::ostringstream out;
  out << advantages_in_words(options) << "; " << loss_in_words(options.loss) << "; "
      << aggregation_in_words(options.aggregation);
  if (options.loss.beta > 0.0) {
    out << "; KL to the reference in the " << (options.kl_in_reward ? "reward" : "loss") << ", beta "
        << options.loss.beta;
    if (options.kl_target > 0.0) out << " towards a KL of " << options.kl_target;
  }
  if (options.coefficients().uses_entropy()) out << "; entropy bonus " << options.entropy_bonus;
  if (options.entropy_target > 0.0) out << " towards an entropy of " << options.entropy_target;
  if (options.old_policy == learner::OldPolicy::Proximal) out << "; against the policy before the step";
  if (options.old_policy == learner::OldPolicy::Between)
    out << "; against a guess of the policy before the step";
  if (options.updates_per_step() > 1) out << "; " << options.updates_per_step() << " updates a step";
  if (options.target_kl > 0.0) out << " until a KL of " << options.target_kl;
  return out.str();
}

}  // namespace sluice::recipes::internal
