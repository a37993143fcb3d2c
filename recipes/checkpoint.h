// A checkpoint: a servable model directory, and beside it what a stage needs to go on; critic/ is the model
// directory of a stage's critic.
//
// Of a network with adapters, hf/ has them merged in and adapter/ is their PEFT directory. The weights they
// stand beside are those of the checkpoint that the stage began with, which is never removed.
//
// Of a stage that trains a reward model, reward_model/ is that, and hf/ the policy that stood before it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "recipes/recipe.h"
#include "text/tokenizer.h"

namespace sluice::recipes {

// Where in the run a checkpoint stands: state/state.json.
struct CheckpointState {
  int64_t step = 0;        // optimizer steps of the whole run
  std::string stage;       // "" for the initial one
  int64_t stage_step = 0;  // optimizer steps of that stage
  bool stage_done = false;
  std::string started_from;          // name of the checkpoint the stage began with: its reference
  double stage_seconds = 0;          // spent in the stage, earlier processes counted in
  double num_tokens = 0;             // trained on in the stage, likewise
  std::optional<double> score = {};  // of CheckpointSpec::best_by, since the checkpoint before
};

struct Checkpoint {
  std::filesystem::path directory;  // checkpoints/step_000100
  CheckpointState state;

  std::string name() const { return directory.filename().string(); }
  std::filesystem::path model() const { return directory / "hf"; }
  std::filesystem::path adapter() const { return directory / "adapter"; }
  std::filesystem::path critic() const { return directory / "critic"; }
  std::filesystem::path reward_model() const { return directory / "reward_model"; }
};

// What goes into one. Tensors of `versions` are earlier policies that leases may still name; `reference` is
// one that has moved since the stage began.
struct CheckpointContents {
  const model::Network& network;
  const text::Tokenizer& tokenizer;
  const optim::Optimizer* optimizer = nullptr;              // null for the initial one
  const std::map<int64_t, at::Tensor>* versions = nullptr;  // version -> flat weights
  const model::Network* critic = nullptr;                   // with its optimizer, or both null
  const optim::Optimizer* critic_optimizer = nullptr;
  std::filesystem::path policy = {};  // beside a reward model: the model directory that hf/ is a copy of
  at::Tensor reference = {};          // flat weights, or undefined
  Json memory = {};                   // what the stage carries from step to step besides; null: nothing
};

// Writes checkpoints/step_NNNNNN whole or not at all, moves `latest` and `best`, and removes those of the
// stage that are not to be kept. A step that is there and whole is left as it is; a damaged one is made
// again. Weights that are not finite are not written: a HealthError.
Checkpoint write_checkpoint(const std::filesystem::path& checkpoints, const CheckpointState& state,
                            const CheckpointContents& contents, const CheckpointSpec& keep);

// All of them, newest first, whole or not.
std::vector<std::filesystem::path> checkpoints_in(const std::filesystem::path& checkpoints);
// The one with the highest step whose manifest holds; those that do not are named in `damaged`.
std::optional<Checkpoint> latest_checkpoint(const std::filesystem::path& checkpoints,
                                            std::vector<std::string>* damaged = nullptr);
// The newest whole one that is not of `stage`: what the stage began with, and what it never removes. Safe
// while another process writes checkpoints of the stage.
std::optional<Checkpoint> latest_checkpoint_before(const std::filesystem::path& checkpoints,
                                                   const std::string& stage);
// Lets a link beside a checkpoint name it; a crash can come between a checkpoint and its links.
void point_at(const std::filesystem::path& link, const std::filesystem::path& checkpoint);
Checkpoint open_checkpoint(const std::filesystem::path& directory);

// Reads what write_checkpoint() wrote beside the model.
void load_optimizer(const Checkpoint& checkpoint, optim::Optimizer& optimizer);
void load_critic_optimizer(const Checkpoint& checkpoint, optim::Optimizer& optimizer);
std::map<int64_t, at::Tensor> load_versions(const Checkpoint& checkpoint);
at::Tensor load_reference(const Checkpoint& checkpoint);        // undefined when it holds none
std::optional<Json> load_memory(const Checkpoint& checkpoint);  // empty where there is none
std::filesystem::path memory_file(const Checkpoint& checkpoint);

}  // namespace sluice::recipes
