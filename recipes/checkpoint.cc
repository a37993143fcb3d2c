#include "recipes/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <functional>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/json.h"
#include "base/pulse.h"
#include "model/model_directory.h"
#include "model/safetensors.h"
#include "recipes/internal/retention.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
constexpr int kStateSchema = 2;
constexpr const char* kVersionPrefix = "policy.";
constexpr const char *kOptimizer = "optimizer.safetensors",
                     *kCriticOptimizer = "critic_optimizer.safetensors";
constexpr const char* kReferenceFile = "reference.safetensors";
constexpr const char* kMemory = "state/learner.json";
constexpr Millis kWriteLimitMs = 600'000;  // a large one to a slow disk
constexpr size_t kMostMemory = size_t{1} << 30;

std::string step_name(int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step_%06lld", static_cast<long long>(step));
  return name.data();
}

bool is_finite(const model::Network& network) {
  // A piece at a time: ATen makes two more copies of what it is asked about.
  constexpr int64_t kPiece = int64_t{1} << 20;
  return std::ranges::all_of(network.trained().flat().detach().split(kPiece),
                             [](const at::Tensor& piece) { return piece.isfinite().all().item<bool>(); });
}

Json to_json(const CheckpointState& state) {
  Json json = {{"schema", kStateSchema},
               {"step", state.step},
               {"stage", state.stage},
               {"stage_step", state.stage_step},
               {"stage_done", state.stage_done},
               {"started_from", state.started_from},
               {"stage_seconds", state.stage_seconds},
               {"num_tokens", state.num_tokens}};
  if (state.score) json["score"] = *state.score;
  return json;
}

CheckpointState read_state(const fs::path& file) {
  const Json json = read_json(file);
  const std::string where = file.string();
  const auto schema = json_member<int64_t>(json, "schema", where);
  require<DataError>(schema == kStateSchema, where, ": schema ", schema, ", this version reads ",
                     kStateSchema);
  std::optional<double> score;
  if (json.contains("score")) score = json_member<double>(json, "score", where);
  return {.step = json_member<int64_t>(json, "step", where),
          .stage = json_member<std::string>(json, "stage", where),
          .stage_step = json_member<int64_t>(json, "stage_step", where),
          .stage_done = json_member<bool>(json, "stage_done", where),
          .started_from = json_member<std::string>(json, "started_from", where),
          .stage_seconds = json_member<double>(json, "stage_seconds", where),
          .num_tokens = json_member<double>(json, "num_tokens", where),
          .score = score};
}

// The number in step_000100, or -1.
int64_t step_of(const fs::path& directory) {
  const std::string name = directory.filename().string(), prefix = "step_";
  int64_t step = -1;
  if (name.starts_with(prefix)) {
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + prefix.size(), end, step).ptr != end) return -1;
  }
  return step;
}

}  // namespace

std::vector<fs::path> checkpoints_in(const fs::path& checkpoints) {
  std::vector<fs::path> found;
  if (!fs::exists(checkpoints)) return found;
  for (const auto& entry : fs::directory_iterator(checkpoints)) {
    if (!entry.is_symlink() && step_of(entry.path()) >= 0) found.push_back(entry.path());
  }
  std::ranges::sort(found, std::greater(), step_of);
  return found;
}

Checkpoint write_checkpoint(const fs::path& checkpoints, const CheckpointState& state,
                            const CheckpointContents& contents, const CheckpointSpec& keep) {
  const fs::path directory = checkpoints / step_name(state.step);
  if (fs::exists(directory)) {
    if (check_directory(directory).empty()) return open_checkpoint(directory);
    fs::remove_all(directory);
  }
  require<HealthError>(
      contents.optimizer == nullptr ||
          (is_finite(contents.network) && (contents.critic == nullptr || is_finite(*contents.critic))),
      "checkpoint of step ", state.step,
      ": a weight is not finite, nothing is written; those before it are as they were");
  now_doing("writes the checkpoint of step " + std::to_string(state.step), kWriteLimitMs);
  write_directory_atomically(directory, [&](const fs::path& temporary) {
    const Checkpoint parts{temporary, state};
    const fs::path trained = contents.policy.empty() ? parts.model() : parts.reward_model();
    if (!contents.policy.empty()) fs::copy(contents.policy, parts.model(), fs::copy_options::recursive);
    fs::create_directories(trained);
    fs::create_directories(temporary / "state");
    // float32, so that a resumed run goes on with the very same numbers.
    model::save_model(trained, contents.network, {.dtype = at::kFloat});
    contents.tokenizer.save(trained);
    if (contents.network.lora()) {
      const Checkpoint origin{fs::absolute(checkpoints) / state.started_from, {}};
      model::save_adapter(temporary / "adapter", contents.network, origin.model().string());
    }
    if (contents.optimizer != nullptr) {
      model::write_safetensors(temporary / "state" / kOptimizer, contents.optimizer->state());
    }
    if (contents.critic != nullptr) {
      fs::create_directories(temporary / "critic");
      model::save_model(temporary / "critic", *contents.critic, {.dtype = at::kFloat});
      model::write_safetensors(temporary / "state" / kCriticOptimizer, contents.critic_optimizer->state());
    }
    if (contents.versions != nullptr && !contents.versions->empty()) {
      std::vector<model::NamedTensor> tensors;
      for (const auto& [version, flat] : *contents.versions) {
        tensors.push_back({kVersionPrefix + std::to_string(version), flat});
      }
      model::write_safetensors(temporary / "state" / "versions.safetensors", tensors);
    }
    if (contents.reference.defined()) {
      model::write_safetensors(temporary / "state" / kReferenceFile, {{"reference", contents.reference}});
    }
    if (!contents.memory.is_null()) {
      write_file_atomically(temporary / kMemory, contents.memory.dump(2) + "\n");
    }
    write_file_atomically(temporary / "state" / "state.json", to_json(state).dump(2) + "\n");
  });
  reach(Failpoint::CheckpointNamed);
  point_at(checkpoints / "latest", directory);
  reach(Failpoint::CheckpointPointedAt);
  internal::retain(checkpoints, state, keep);
  return {directory, state};
}

void point_at(const fs::path& link, const fs::path& directory) {
  std::error_code error;
  if (fs::read_symlink(link, error) != directory.filename()) replace_symlink(link, directory.filename());
}

Checkpoint open_checkpoint(const fs::path& directory) {
  return {directory, read_state(directory / "state" / "state.json")};
}

std::optional<Checkpoint> latest_checkpoint(const fs::path& checkpoints, std::vector<std::string>* damaged) {
  for (const auto& directory : checkpoints_in(checkpoints)) {
    const std::string problem = check_directory(directory);
    if (problem.empty()) return open_checkpoint(directory);
    if (damaged != nullptr) damaged->push_back(directory.string() + ": " + problem);
  }
  return std::nullopt;
}

std::optional<Checkpoint> latest_checkpoint_before(const fs::path& checkpoints, const std::string& stage) {
  for (const auto& directory : checkpoints_in(checkpoints)) {
    try {
      if (!check_directory(directory).empty()) continue;
      Checkpoint checkpoint = open_checkpoint(directory);
      if (checkpoint.state.stage != stage) return checkpoint;
    } catch (const Error&) {
      // One of the stage, removed while it was read.
    }
  }
  return std::nullopt;
}

void load_optimizer(const Checkpoint& checkpoint, optim::Optimizer& optimizer) {
  optimizer.load(model::read_safetensors(checkpoint.directory / "state" / kOptimizer));
}

void load_critic_optimizer(const Checkpoint& checkpoint, optim::Optimizer& optimizer) {
  optimizer.load(model::read_safetensors(checkpoint.directory / "state" / kCriticOptimizer));
}

fs::path memory_file(const Checkpoint& checkpoint) { return checkpoint.directory / kMemory; }

std::optional<Json> load_memory(const Checkpoint& checkpoint) {
  const fs::path file = memory_file(checkpoint);
  if (!fs::exists(file)) return std::nullopt;
  return read_json(file, {.max_bytes = kMostMemory});
}

std::map<int64_t, at::Tensor> load_versions(const Checkpoint& checkpoint) {
  const fs::path file = checkpoint.directory / "state" / "versions.safetensors";
  std::map<int64_t, at::Tensor> versions;
  if (!fs::exists(file)) return versions;
  for (const auto& [name, tensor] : model::read_safetensors(file)) {
    require<DataError>(name.starts_with(kVersionPrefix), file.string(), ": unexpected tensor ", name);
    versions[std::stoll(name.substr(std::string(kVersionPrefix).size()))] = tensor;
  }
  return versions;
}

at::Tensor load_reference(const Checkpoint& checkpoint) {
  const fs::path file = checkpoint.directory / "state" / kReferenceFile;
  if (!fs::exists(file)) return {};
  const auto tensors = model::read_safetensors(file);
  require<DataError>(tensors.size() == 1, file.string(), ": ", tensors.size(),
                     " tensors, it should hold one");
  return tensors.front().tensor;
}

}  // namespace sluice::recipes
