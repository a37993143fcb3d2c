#include "recipes/internal/schema_words.h"

#include <algorithm>
#include <iterator>

namespace sluice::recipes::internal {
namespace {

// Units and advice, by the name an override has.
struct Row {
  const char* key;
  const char* unit;
  const char* when;
};
constexpr Row kRows[] = {
    {"seed", "", "to see how much of a result is luck: the same recipe with three seeds"},
    {"deterministic", "",
     "false lets actors run ahead without waiting for exact versions; two runs then differ"},
    {"steps", "steps", "more while the reward still climbs, fewer once the held-out reward has stopped"},
    {"model.products", "",
     "bfloat16 when decoding waits for memory, bfloat16_both when the learner does not fit, "
     "float16_both where that learns less than float32"},
    {"model.lora.rank", "rows", "higher when the loss of training stays above that of full weights"},
    {"model.lora.alpha", "", "with the rank, so that alpha / rank stays what it was"},
    {"tokenizer.vocab_size", "ids", "smaller for little text, so that every piece is seen often"},
    {"rollout.actors", "processes",
     "more when the learner waits for groups (time/wait, queue/depth 0); it costs "
     "a core and a cache each"},
    {"rollout.prompts_per_step", "prompts",
     "more when the reward jumps about from step to step; a step then takes as much longer"},
    {"rollout.group_size", "completions", "more when most groups have equal rewards (frac_reward_zero_std)"},
    {"rollout.max_new_tokens", "tokens", "more when answers are cut (completions/clipped_ratio above 0.1)"},
    {"rollout.temperature", "",
     "higher when completions of a group are all alike; lower when they are noise"},
    {"rollout.top_p", "share of the probability",
     "below 1 when rare tokens spoil long answers; the importance ratio accounts for it"},
    {"rollout.top_k", "tokens", "above 0 when rare tokens spoil long answers"},
    {"rollout.min_p", "share of the likeliest", "above 0 when rare tokens spoil long answers"},
    {"rollout.staleness", "steps",
     "0 to learn from the newest policy alone; more where actors or rewards are slow and the learner waits"},
    {"rollout.refills", "groups", "above 0 when frac_reward_zero_std stays above a half"},
    {"rollout.replay", "share of prompts", "above 0 when hard prompts are rarely solved"},
    {"batch.micro_batch_tokens", "tokens",
     "smaller when the learner runs out of memory; the result is the same"},
    {"batch.gradient_checkpointing", "",
     "true when the learner runs out of memory; a step takes a third longer"},
    {"batch.examples_per_step", "examples", "more when the loss jumps about, fewer to take more steps"},
    {"batch.max_length", "tokens", "longer when many examples are cut, shorter to save memory"},
    {"learner.offload_reference", "",
     "true when the learner runs out of memory, or a GPU does; each forward of the reference reads its "
     "weights"},
    {"learner.ranks", "processes", "more when the update takes most of a step and cores or GPUs are idle"},
    {"optim.lr", "",
     "a third of it when kl, grad_norm or the loss climb; three times as much when the reward "
     "and kl stay flat"},
    {"optim.warmup_steps", "steps", "more when the first steps have the largest grad_norm"},
    {"optim.weight_decay", "", "0 for short runs that must stay near the model they began with"},
    {"optim.max_grad_norm", "L2 norm",
     "smaller when single steps with a large grad_norm set the reward back"},
    {"optim.spike_ratio", "times the usual norm", "5 to 10 when a rare step ruins a long run"},
    {"algorithm.beta", "", "0.001 to 0.05 when kl runs away or text degrades; 0 saves the reference"},
    {"algorithm.kl_target", "nats a token", "when no one beta holds the kl over the whole run"},
    {"algorithm.clip_low", "", "smaller when the policy leaves bad answers too fast"},
    {"algorithm.clip_high", "", "0.28 when entropy falls to nothing within a few steps (DAPO)"},
    {"algorithm.entropy_bonus", "", "0.001 to 0.01 when entropy falls and completions become alike"},
    {"algorithm.loss", "", "see docs/algorithms.md: what each learns on one task"},
    {"algorithm.baseline", "", "critic for long answers, leave-one-out or history for small groups"},
    {"algorithm.epochs", "times", "2 where completions are dear; watch approx_kl and clip_ratio"},
    {"algorithm.minibatches", "updates", "more for more updates from one batch; watch approx_kl"},
    {"algorithm.mask_truncated", "", "true when max_new_tokens cuts many answers that were not wrong"},
    {"guard.max_kl", "nats a token", "to end a run that has left its reference before it costs an hour"},
    {"guard.target_kl", "nats a token", "with several epochs or minibatches"},
    {"preference.beta", "", "smaller to move further from the reference, larger to stay near it"},
    {"preference.held_out", "pairs", "to see whether pairs that were not trained on are ranked right"},
    {"evaluation.prompts", "prompts", "more when the standard error of an evaluation hides the gain"},
    {"evaluation.samples", "completions", "more for a steadier figure of few prompts"},
    {"evaluation.every", "steps", "to see when held-out figures turn while training ones go on"},
    {"checkpoint.every", "steps", "rarer when writing takes long (time/save), oftener when steps are dear"},
    {"checkpoint.keep_last", "checkpoints", "more to go back further; each is the model and its moments"},
    {"checkpoint.best_by", "", "when the last checkpoint need not be the best one"},
    {"monitor.redis", "", "to watch runs of many machines in one place"},
};

}  // namespace

std::string type_name(KeyType type) {
  switch (type) {
    case KeyType::Boolean:
      return "true or false";
    case KeyType::Integer:
      return "integer";
    case KeyType::Number:
      return "number";
    case KeyType::Text:
      return "text";
    case KeyType::TextList:
      return "list of text";
    case KeyType::Path:
      return "path";
    case KeyType::NumberTable:
      return "table of numbers";
    case KeyType::Mixture:
      return "list of tables";
  }
  return "";
}

std::string name_of(StageRole role) {
  switch (role) {
    case StageRole::Supervised:
      return "supervised";
    case StageRole::Preference:
      return "preferences";
    case StageRole::RewardModel:
      return "reward models";
    case StageRole::Policy:
      return "rollouts";
    case StageRole::Sampling:
      return "sampling";
    case StageRole::Evaluation:
      return "evaluation";
  }
  return "";
}

std::string full_name(const SchemaKey& key) {
  return key.table.empty() || key.table == "stage" ? key.name : key.table + "." + key.name;
}

KeyAdvice advice_of(const SchemaKey& key) {
  const auto* row = std::ranges::find(kRows, full_name(key), [](const Row& r) { return std::string(r.key); });
  return row == std::end(kRows) ? KeyAdvice{} : KeyAdvice{row->unit, row->when};
}

}  // namespace sluice::recipes::internal
