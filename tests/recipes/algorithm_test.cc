#include "recipes/internal/algorithm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "recipes/schema.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using testing::HasSubstr;

std::string recipe_of(const std::string& use, const std::string& algorithm = "",
                      const std::string& rest = "") {
  const int steps = use == "ppo" ? 12 : 4;  // its critic learns alone in ten
  return "rewards = [{ use = \"exact_answer\" }" +
         std::string(use == "gdpo" ? ", { use = \"format_tags\" }" : "") +
         "]\n[model]\npath = \"model\"\n[data]\npath = \"train.jsonl\"\n" + rest + "[[stages]]\nuse = \"" +
         use + "\"\nsteps = " + std::to_string(steps) + "\nalgorithm = { " + algorithm + " }\n";
}

// Spec section 6.15.
TEST(Algorithm, PresetsAreThoseOfTheSpecification) {
  using namespace learner;
  const auto options = [](const std::string& use) {
    return RecipeFolder().load(recipe_of(use)).stages[0].learner;
  };
  const auto dapo = options("dapo");
  EXPECT_EQ(dapo.loss.clip_low, 0.2);
  EXPECT_EQ(dapo.loss.clip_high, 0.28);
  EXPECT_EQ(dapo.aggregation, Aggregation::TokenMean);
  const auto dr_grpo = options("dr_grpo");
  EXPECT_EQ(dr_grpo.advantage.scale, AdvantageScale::None);
  EXPECT_EQ(dr_grpo.aggregation, Aggregation::SeqMeanTokenSumNorm);
  const auto gspo = options("gspo");
  EXPECT_EQ(gspo.loss.ratio, RatioLevel::Sequence);
  EXPECT_EQ(gspo.loss.clip_low, 3e-4);
  EXPECT_EQ(gspo.loss.clip_high, 4e-4);
  EXPECT_EQ(options("gspo_token").loss.ratio, RatioLevel::SequenceToken);
  const auto cispo = options("cispo");
  EXPECT_EQ(cispo.loss.surrogate, Surrogate::WeightClip);
  EXPECT_EQ(cispo.loss.weight_low, 0.0);
  EXPECT_EQ(cispo.loss.weight_high, 5.0);
  const auto sapo = options("sapo");
  EXPECT_EQ(sapo.loss.surrogate, Surrogate::SoftGate);
  EXPECT_EQ(sapo.loss.tau_negative, 1.05);
  const auto rloo = options("rloo");
  EXPECT_EQ(rloo.advantage.baseline, Baseline::LeaveOneOut);
  EXPECT_EQ(rloo.loss.ratio, RatioLevel::SequenceSum);
  EXPECT_EQ(rloo.loss.beta, 0.05);
  EXPECT_TRUE(rloo.kl_in_reward);
  const auto reinforce_pp = options("reinforce_pp");
  EXPECT_EQ(reinforce_pp.advantage.baseline, Baseline::None);
  EXPECT_EQ(reinforce_pp.advantage.whitening, Whitening::Tokens);
  EXPECT_TRUE(reinforce_pp.kl_in_reward);
  EXPECT_EQ(options("reinforce_pp_baseline").loss.kl, KlEstimator::K2);
  const auto ppo = options("ppo");
  EXPECT_EQ(ppo.advantage.baseline, Baseline::Critic);
  EXPECT_EQ(ppo.advantage.whitening, Whitening::Tokens);
  EXPECT_EQ(ppo.lambda, 0.95);
  EXPECT_EQ(ppo.critic_warmup, 10);
  EXPECT_EQ(ppo.loss.clip_low, 0.2);
  EXPECT_EQ(ppo.aggregation, Aggregation::TokenMean);
  EXPECT_EQ(ppo.loss.beta, 0.05);
  EXPECT_TRUE(ppo.kl_in_reward);
  EXPECT_EQ(options("remax").advantage.baseline, Baseline::Greedy);
  const auto spo = options("spo");
  EXPECT_EQ(spo.advantage.baseline, Baseline::History);
  EXPECT_EQ(spo.advantage.whitening, Whitening::Completions);
  EXPECT_EQ(spo.value_memory, 0.875);
  EXPECT_EQ(RecipeFolder().load(recipe_of("spo")).stages[0].rollout.group_size, 1);
  const auto decoupled = options("decoupled_ppo");
  EXPECT_EQ(decoupled.old_policy, OldPolicy::Proximal);
  EXPECT_EQ(decoupled.correction.kind, Correction::MaskToken);
  EXPECT_EQ(decoupled.correction.high, 5.0);
}

TEST(Algorithm, EveryKindLoadsAndIsSaidInWordsOfItsOwn) {
  std::set<std::string> seen;
  for (const auto& kind : stage_kinds()) {
    if (kind.role != StageRole::Policy) continue;
    SCOPED_TRACE(kind.use);
    const auto recipe = RecipeFolder().load(recipe_of(kind.use));
    const auto words = internal::describe(recipe.stages[0].learner);
    EXPECT_TRUE(seen.insert(words).second) << words;
    EXPECT_THAT(describe(recipe), HasSubstr(words));
  }
  EXPECT_GE(seen.size(), 17u);
}

struct Refusal {
  const char *use, *algorithm, *rest, *message;
};
class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithTheReason) {
  const auto& [use, algorithm, rest, message] = GetParam();
  EXPECT_THAT(RecipeFolder().refusal(recipe_of(use, algorithm, rest)), HasSubstr(message));
}

INSTANTIATE_TEST_SUITE_P(
    Algorithm, Refused,
    testing::Values(
        Refusal{"grpo", "tau_positive = 2.0", "",
                "algorithm.tau_positive is for algorithm.loss = \"sapo\", which is \"clip\" here"},
        Refusal{"rloo", "advantage_scale = \"batch\"", "", "is for algorithm.baseline = \"group\""},
        Refusal{"grpo", "correction = \"tis\"", "",
                "\"proximal\" or \"between\", which is \"behaviour\" here"},
        Refusal{"grpo", "kl_in = \"reward\"", "", "there is no KL to put there"},
        Refusal{"grpo", "mix_every = 8", "", "algorithm.mix_every is 8, and with algorithm.beta = 0"},
        Refusal{"gspo", "aggregation = \"token-mean\"", "", "would weigh them by their length"},
        Refusal{"grpo", "", "[rollout]\ngroup_size = 1\n", "every advantage is 0"},
        Refusal{"grpo", "lambda = 0.9", "",
                "is for algorithm.baseline = \"critic\", which is \"group\" here"},
        Refusal{"grpo", "critic_lr = 1e-3", "", "is for algorithm.baseline = \"critic\""},
        Refusal{"grpo", "bootstrap_truncated = true", "", "is for algorithm.baseline = \"critic\""},
        Refusal{"ppo", "bootstrap_truncated = true, mask_truncated = true", "", "take one of the two"},
        Refusal{"remax", "gamma = 0.9", "", "is for algorithm.baseline = \"none\" or \"critic\""},
        Refusal{"ppo", "ratio = \"sequence-sum\", aggregation = \"seq-mean-token-mean\"", "",
                "wants one advantage for each, and here each token has its own"},
        Refusal{"ppo", "critic_warmup = 12", "",
                "critic_warmup 12 leaves the policy none of the stage's 12 steps"},
        Refusal{"ppo", "whitening = \"completions\"", "", "take \"tokens\""},
        Refusal{"reinforce_pp", "whitening = \"completions\"", "", "take \"tokens\""},
        Refusal{"grpo", "each_reward = true", "", "is for several rewards, there is one"},
        Refusal{"grpo", "kl_target = 0.1", "", "moves algorithm.beta, which is 0"},
        Refusal{"grpo", "value_memory = 0.5", "", "is for algorithm.baseline = \"history\""},
        Refusal{"spo", "beta = 0.1, kl_in = \"reward\"", "", "knows rewards without a KL"},
        Refusal{"grpo", "", "[guard]\nmax_kl = 0.5\n", "no reference is there to measure a KL to"},
        Refusal{"grpo", "", "[guard]\ntarget_kl = 0.01\n", "there is no other to leave"},
        Refusal{"grpo", "", "[guard]\nmax_kls = 0.5\n", "did you mean \"max_kl\""},
        Refusal{"grpo", "minibatches = 17", "", "are more than rollout.prompts_per_step 16"},
        Refusal{"grpo", "dual_clip = 0.5", "", "is neither 0 nor more than 1"},
        Refusal{"grpo", "loss = \"clipped\"", "", "clip"},
        Refusal{"cispo", "weight_low = 6.0", "", "is above algorithm.weight_high 5"},
        Refusal{"grpo", "kl = \"k2\"", "",
                "algorithm.kl is for algorithm.beta above 0, which is 0.0 here; leave it out"},
        Refusal{"rloo", "kl = \"k2\"", "", "algorithm.kl is for algorithm.kl_in = \"loss\""},
        Refusal{"grpo", "kl_horizon = 100", "", "is for algorithm.kl_target above 0"},
        Refusal{"grpo", "beta = 0.1, mix_alpha = 0.5", "", "is for algorithm.mix_every above 0"},
        Refusal{"grpo", "entropy_delta = 0.1", "", "is for algorithm.entropy_target above 0"},
        Refusal{"dr_grpo", "population_std = true", "",
                "is for algorithm.advantage_scale = \"group\" or \"batch\", which is \"none\" here"},
        Refusal{"dapo", "seq_denominator = \"nonempty\"", "",
                "is not for algorithm.aggregation = \"token-mean\", which is \"token-mean\" here"},
        Refusal{"decoupled_ppo", "correction = \"none\", correction_high = 3.0", "",
                "is not for algorithm.correction = \"none\""},
        Refusal{"grpo", "", "[rollout]\nreplay_below = 0.1\n", "is for rollout.replay above 0"},
        Refusal{"grpo", "", "[optim]\nspike_window = 9\n", "is for optim.spike_ratio above 0"},
        Refusal{"grpo", "", "[batch]\nmax_length = 9\n",
                "batch.max_length means nothing to a stage of kind grpo; leave it out"}));

TEST(Algorithm, AGroupOfOneIsFineWithoutABaselineOfTheGroup) {
  for (const char* use : {"reinforce", "remax", "ppo", "spo"}) {
    const auto recipe = RecipeFolder().load(recipe_of(use, "", "[rollout]\ngroup_size = 1\n"));
    EXPECT_EQ(recipe.stages[0].rollout.group_size, 1);
  }
}

TEST(Algorithm, ACutCompletionEndsUnlessTheCriticIsAskedWhatComesBehindIt) {
  EXPECT_FALSE(RecipeFolder().load(recipe_of("ppo")).stages[0].learner.advantage.bootstrap_truncated);
  const auto asked = RecipeFolder().load(recipe_of("ppo", "bootstrap_truncated = true"));
  EXPECT_TRUE(asked.stages[0].learner.advantage.bootstrap_truncated);
  EXPECT_THAT(describe(asked), HasSubstr("truncated completions going on as it expects"));
}

TEST(Algorithm, ACriticIsMovedAsThePolicyTenTimesAsFast) {
  const std::string optim = "[optim]\nlr = 1e-4\nwarmup_steps = 3\n";
  const auto plain = RecipeFolder().load(recipe_of("ppo", "", optim)).stages[0];
  EXPECT_TRUE(plain.has_critic());
  EXPECT_DOUBLE_EQ(plain.critic.optim.lr, 1e-3);
  EXPECT_EQ(plain.critic.optim.schedule.warmup_steps, 3);
  EXPECT_EQ(plain.critic.value_clip, 0.2);
  const auto own =
      RecipeFolder().load(recipe_of("ppo", "critic_lr = 2e-5, value_clip = 0.5", optim)).stages[0];
  EXPECT_EQ(own.critic.optim.lr, 2e-5);
  EXPECT_EQ(own.critic.value_clip, 0.5);
  EXPECT_FALSE(RecipeFolder().load(recipe_of("grpo")).stages[0].has_critic());
  // Without a critic nothing waits for one.
  EXPECT_EQ(RecipeFolder().load(recipe_of("ppo", "baseline = \"none\"")).stages[0].learner.critic_warmup, 0);
}

TEST(Algorithm, TheReferenceStaysUnlessThePolicyIsMixedIn) {
  const auto still = RecipeFolder().load(recipe_of("grpo", "beta = 0.1"));
  EXPECT_EQ(still.stages[0].reference_mix.every, 0);
  const auto moves = RecipeFolder().load(recipe_of("grpo", "beta = 0.1, mix_every = 8"));
  EXPECT_EQ(moves.stages[0].reference_mix.alpha, 1.0);
  EXPECT_THAT(describe(moves), HasSubstr("1 of the policy mixed into the reference every 8 steps"));
}

TEST(Algorithm, GuardsAreOffUnlessAsked) {
  const auto stage = RecipeFolder().load(recipe_of("grpo")).stages[0];
  EXPECT_EQ(stage.guard.max_kl, 0.0);
  EXPECT_EQ(stage.learner.target_kl, 0.0);
  const auto guarded =
      RecipeFolder()
          .load(recipe_of("grpo", "beta = 0.05, epochs = 2, kl_target = 0.1, entropy_target = 0.2",
                          "[guard]\nmax_kl = 0.5\ntarget_kl = 0.01\n"))
          .stages[0];
  EXPECT_EQ(guarded.guard.max_kl, 0.5);
  EXPECT_EQ(guarded.learner.target_kl, 0.01);
  EXPECT_THAT(
      internal::describe(guarded.learner),
      HasSubstr("beta 0.05 towards a KL of 0.1; entropy bonus 0 towards an entropy of 0.2; 2 updates a "
                "step until a KL of 0.01"));
}

}  // namespace
}  // namespace sluice::recipes
