// A recipe: what to train, on what, how, and in which stages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "buffers/rollout_group.h"
#include "learner/advantages.h"
#include "learner/policy_learner.h"
#include "learner/refills.h"
#include "model/lora.h"
#include "model/model_config.h"
#include "optim/optimizer.h"
#include "recipes/preference_spec.h"
#include "recipes/schema.h"
#include "rewards/reward.h"
#include "rewards/tools.h"
#include "sft/distill_loss.h"
#include "sft/reward_loss.h"
#include "sft/supervised_loss.h"
#include "sft/tokenize.h"
#include "text/dataset.h"

namespace sluice::recipes {

// A directory to start from, or the shape of a network to start from scratch; and what of it is trained.
struct ModelSpec {
  std::filesystem::path path;
  std::string source;       // where `path` is downloaded from, for messages
  model::LlamaShape shape;  // used when path is empty; the vocabulary is the tokenizer's
  model::Rounding rounding = model::Rounding::None;  // in products, in every role
  double router_aux_loss = 0.0;                      // weight of the experts' balance in the loss
  std::optional<model::LoraConfig> lora;             // adapters are trained instead of the weights
};

struct TokenizerSpec {
  std::filesystem::path path;  // empty: the model directory's, unless `train` is set
  std::string train;           // "characters", "bpe", "unigram" or empty
  int64_t vocab_size = 8000;   // bpe, unigram
  std::vector<std::string> special_tokens;
};

struct RolloutSpec {
  int64_t actors = 2;
  int64_t prompts_per_step = 0;
  int64_t group_size = 0;
  int64_t staleness = 1;
  Millis lease_ms = 10'000;
  int64_t journal_mb = 1024;  // of journal since the last checkpoint, upon which one is written early
  int64_t min_scored = 2;
  int64_t refills = 0;
  learner::RefillFallback refill_fallback = learner::RefillFallback::Keep;
  std::string address;  // empty: an ipc socket in the run directory
  bool int8_weights = false;
  std::string draft = "off";  // or "prompt" or "model"
  std::filesystem::path draft_model;
  bool mix_versions = false;
  double replay = 0.0;  // share of a step's prompts that may be hard ones asked again
  double replay_below = 0.5;
  buffers::SamplingParams sampling;
  int64_t tool_calls = 8;     // of a completion that are answered
  int64_t tool_tokens = 256;  // of what a tool says
};

struct BatchSpec {
  int64_t examples_per_step = 32;
  int64_t micro_batch_tokens = 16384;
  bool gradient_checkpointing = false;  // model::Network::checkpoint_blocks()
  int64_t max_length = 1024;
  bool append_eos = true;
  sft::LossKind loss = sft::LossKind::Nll;
  double neftune_alpha = 0.0;
  std::map<std::string, double> tag_weights;

  sft::TokenizeOptions tokenize_options() const {
    return {.append_eos = append_eos, .max_length = max_length, .tag_weights = tag_weights};
  }
};

// Of algorithm.baseline = "critic".
struct CriticSpec {
  double value_clip = 0.2;
  optim::OptimizerOptions optim;
};

struct GuardSpec {
  double max_kl = 0.0;  // HealthGuard's
  std::filesystem::path canaries;
  int64_t canaries_every = 50;
};

// Names of monitor::health_rules().
struct HealthSpec {
  std::vector<std::string> off;
  std::vector<std::string> stop_on;  // rules whose alarm ends the run
};

struct EvaluationSpec {
  int64_t prompts = 0;  // 0: all held-out ones
  int64_t samples = 1;
  bool greedy = false;
  int64_t show = 4;
  int64_t every = 0;  // of stages that train: steps between measurements; 0: there is none
};

// What rejection sampling asks and keeps.
struct SamplesSpec {
  int64_t prompts = 0;      // training prompts; 0: all
  double min_reward = 1.0;  // of a right completion
  int64_t per_prompt = 4;   // rows kept
  bool pairs = false;       // of a right and a wrong completion
};

// The processes that train a stage together.
struct RankSpec {
  int64_t count = 1;
  int64_t threads = 0;         // that each computes with on the CPU; 0: the cores, shared out among the ranks
  Millis timeout_ms = 50'000;  // of a rank that the others wait for within a step
};

struct DistillSpec {
  std::filesystem::path teacher;
  sft::DistillOptions options;
};

struct CheckpointSpec {
  int64_t every = 10;
  int64_t keep_last = 2;     // of those between the start and the end of a stage
  int64_t keep_every = 0;    // also those whose stage step it divides; 0: none
  std::string best_by = {};  // also the best by this metric, which the link `best` names; "": none
  bool lowest = false;       // whose lowest value is the best
};

// One stage with every default filled in.
struct StageSpec {
  std::string use;  // one of stage_kinds()
  StageRole role = StageRole::Policy;
  std::string name;  // unique in the recipe
  int64_t steps = 0;
  text::DataOptions data;
  std::string data_from;  // a stage whose samples take the place of data.path, which a run fills in; or empty
  RolloutSpec rollout;
  BatchSpec batch;
  optim::OptimizerOptions optim;
  RankSpec ranks;
  learner::PolicyLearnerOptions learner;
  CriticSpec critic;
  MixSpec reference_mix;            // of a policy stage
  bool offloads_reference = false;  // model::OffloadedNetwork
  GuardSpec guard;
  HealthSpec health;
  PreferenceSpec preference;
  std::optional<DistillSpec> distill;
  SamplesSpec samples;
  sft::RewardLossOptions reward_loss;
  EvaluationSpec evaluation;
  std::vector<rewards::RewardSpec> rewards;
  std::vector<rewards::ToolSpec> tools;
  CheckpointSpec checkpoint;

  bool trains() const { return recipes::trains(role); }
  // The part of its data that it reads.
  text::Split split() const { return role == StageRole::Evaluation ? text::Split::Test : text::Split::Train; }
  // Updates of the policy in all.
  int64_t num_updates() const { return (steps - learner.critic_warmup) * learner.updates_per_step(); }
  bool needs_reference() const {
    return role == StageRole::Policy ? learner.needs_reference()
                                     : role == StageRole::Preference && preference.needs_reference();
  }
  bool moves_reference() const { return reference_mix.every > 0 || preference.mix.every > 0; }
  bool has_critic() const { return learner.advantage.baseline == learner::Baseline::Critic; }
  bool has_actors() const { return role == StageRole::Policy; }
};

// Where the run can be watched.
struct MonitorSpec {
  std::string redis;     // "private", "off" or a URL
  bool control = false;  // the run takes commands from there
  bool tensorboard = true;
  bool web = true;
  std::string bind = "127.0.0.1";  // the address of the page
  int64_t port = 0;                // 0: any
};

struct Recipe {
  std::string name;
  uint64_t seed = 0;
  std::string device;  // cpu | cuda
  bool deterministic = true;
  MonitorSpec monitor;
  ModelSpec model;
  TokenizerSpec tokenizer;
  std::vector<StageSpec> stages;
  Json resolved;  // everything above as JSON, paths absolute: what the run directory keeps

  const StageSpec& stage(const std::string& name) const;
};

// Reads a .toml or .json recipe and applies overrides ("optim.lr=3e-6", "grpo.steps=40"; TOML assignments).
// Throws UsageError with file, line, column and the nearest name for an unknown key, a wrong type, a value
// out of range, two stages of one name, or a combination that cannot work.
Recipe load_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides);

// The recipe a run directory keeps.
Recipe recipe_from_resolved(const Json& resolved);

// What the run will do, in a few lines of words.
std::string describe(const Recipe& recipe);

}  // namespace sluice::recipes
