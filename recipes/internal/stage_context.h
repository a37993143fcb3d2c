// What every stage starts from: the recipe, the newest checkpoint, its model and tokenizer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/tool_use.h"
#include "buffers/ledger.h"
#include "model/network.h"
#include "recipes/checkpoint.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"
#include "recipes/stages.h"
#include "rewards/reward_mix.h"
#include "text/dataset.h"
#include "text/tokenizer.h"
#include "transport/collective.h"
#include "transport/handshake.h"

namespace sluice::recipes {

// Of a deterministic recipe it computes the same bits each time.
at::Device device_of(const Recipe& recipe);
// From here on ATen takes algorithms on a GPU that give the same bits each time, and throws what
// names the operation where it has none.
void compute_the_same_each_time();

// Of this process: in ATen one, since the order of its sums goes by their number; `threads` in what is ours,
// where they change no bit.
void use_threads(int threads);

// Keys everything random in a stage, so that two stages of one recipe share no numbers.
uint64_t stage_seed(const Recipe& recipe, const std::string& stage);

// The initial checkpoint of a run, step 0, made from the recipe's model and tokenizer.
Checkpoint make_initial_checkpoint(const RunDirectory& run, const Recipe& recipe);

// A model directory as the recipe computes with it.
std::unique_ptr<model::Network> load_network(const std::filesystem::path& directory, const Recipe& recipe);

// A network of this shape with other weights, flat, as the recipe computes with it.
std::unique_ptr<model::Network> network_with(const model::Network& shape, const at::Tensor& flat,
                                             const Recipe& recipe);

// Of the ledger of a policy stage.
buffers::LedgerOptions ledger_options(const Recipe& recipe, const StageSpec& stage);

// The prompts a stage asks, for training or held out; conversations as the chat template of the model writes
// them, with the stage's tools where a row names none.
std::unique_ptr<text::Rows> open_prompts(const StageSpec& stage, const std::filesystem::path& model);

// How its completions use tools; `model` has the chat template, if any, in whose form they are told.
actors::ToolUseOptions tool_use_options(const StageSpec& stage, const std::filesystem::path& model);

// What learner and actors of a stage must have in common; `model` is the directory that the tokenizer and the
// network are of. Who it is, a role fills in.
transport::Identity stage_identity(const RunDirectory& run, const std::string& stage,
                                   const std::filesystem::path& model, const text::Tokenizer& tokenizer,
                                   const model::ModelConfig& config);

int run_preference_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                         const StopRequest& stop, transport::Collective& ranks);
int run_sft_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                  const StopRequest& stop, transport::Collective& ranks);
int run_reward_model_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                           const StopRequest& stop, transport::Collective& ranks);
int run_policy_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                     const StopRequest& stop, transport::Collective& ranks);
int run_rejection_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                        const StopRequest& stop, transport::Collective& ranks);
int run_evaluation_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                         const StopRequest& stop, transport::Collective& ranks);

// The checkpoint a stage begins or goes on with, and what of the stage is behind it.
struct StageStart {
  Checkpoint checkpoint;
  bool resumed = false;             // the checkpoint is one of this stage
  int64_t stage_step = 0;           // optimizer steps of the stage already done
  double seconds = 0;               // spent in it before
  double num_tokens = 0;            // trained on in it before
  std::string started_from;         // name of the checkpoint the stage began with
  std::optional<Json> memory = {};  // what it remembers of itself besides, where it is resumed

  int64_t first_step() const { return checkpoint.state.step - stage_step; }  // of the run, before the stage
  // Of a checkpoint behind `done` steps of the stage.
  CheckpointState state_after(const StageSpec& stage, int64_t done, double seconds, double num_tokens,
                              std::optional<double> score) const;
  // Loads into `part` what the stage remembers under the name, if it is resumed.
  template <class Part>
  void recall(const std::string& name, Part& part) const {
    if (!memory) return;
    const auto where = memory_file(checkpoint).string();
    part.load(json_member<Json>(*memory, name, where), where);
  }
};
// From the newest whole checkpoint; damaged ones are named on stderr, and `latest` is put right. Makes the
// initial one in a new run. Throws DataError when the end of the stage before is not there.
StageStart find_start(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage);
// From this one.
StageStart start_from(const Checkpoint& checkpoint, const StageSpec& stage);

// What the stage began with: its reference, and the weights its adapters stand beside. Throws DataError when
// it is damaged.
Checkpoint find_origin(const RunDirectory& run, const StageSpec& stage, const StageStart& start);
// The network that the stage trains, with the recipe's adapters: fresh ones, or as the checkpoint has them.
std::unique_ptr<model::Network> load_trained(const RunDirectory& run, const Recipe& recipe,
                                             const StageSpec& stage, const StageStart& start);

}  // namespace sluice::recipes
