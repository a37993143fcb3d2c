#include "app/memory_report.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <ostream>

#include "actors/engine.h"
#include "base/device_info.h"
#include "base/terminal.h"
#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "optim/optimizer.h"

namespace sluice::app {
namespace {

std::string bytes(int64_t count) { return format_bytes(static_cast<uint64_t>(count)); }

// Of the machine, or of the container that this runs in; 0 when it is not known.
int64_t host_bytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    int64_t limit = 0;
    if (std::ifstream(file) >> limit && limit > 0) return std::min(limit, machine);
  }
  return std::max<int64_t>(machine, 0);
}

int64_t device_bytes() {
  const auto devices = device_info().devices;
  return devices.empty() ? 0 : static_cast<int64_t>(devices.front().memory_bytes);
}

class Planner {
 public:
  Planner(const recipes::Recipe& recipe, const recipes::InputsFound& inputs)
      : recipe_(recipe), inputs_(inputs) {}

  StageMemory stage(size_t index) const {
    auto planned = roles_of(index);
    if (shares(recipe_.stages[index]))
      planned.roles.push_back(parts_of_others(recipe_.stages[index], planned.roles.front()));
    return planned;
  }

 private:
  static constexpr int64_t kMaxRows = actors::EngineOptions{}.max_rows;
  static constexpr int64_t kNumberBytes = 4;  // of weights and gradients
  static constexpr int64_t kMomentBytes = 8;  // of AdamW
  static constexpr const char* kPartsOfOthers = "parts of the others on rank 0";

  StageMemory roles_of(size_t index) const {
    const auto& stage = recipe_.stages[index];
    const int64_t longest = inputs_.stages[index].longest;
    if (stage.role == recipes::StageRole::Supervised) {
      std::vector<RoleMemory> roles = {learner(stage.batch.examples_per_step, stage, longest)};
      if (stage.distill) roles.push_back(teacher(stage, longest));
      return {stage.name, roles};
    }
    if (stage.role == recipes::StageRole::Preference) return {stage.name, preference_roles(stage, longest)};
    if (stage.role == recipes::StageRole::RewardModel) return {stage.name, {reward_learner(stage, longest)}};
    if (!stage.trains()) {
      const bool samples = stage.role == recipes::StageRole::Sampling;
      return {stage.name, {decoder(samples ? "sampling" : "evaluation", 1, kMaxRows, longest)}};
    }
    return {stage.name, policy_roles(stage, longest)};
  }

  std::vector<RoleMemory> policy_roles(const recipes::StageSpec& stage, int64_t longest) const {
    const auto& rollout = stage.rollout;
    std::vector<RoleMemory> roles = {learner(rollout.prompts_per_step * rollout.group_size, stage, longest)};
    if (stage.needs_reference()) {
      add_reference(roles, rollout.prompts_per_step * rollout.group_size, stage, longest);
    }
    if (stage.has_critic()) {
      roles.push_back(critic(rollout.prompts_per_step * rollout.group_size, stage, longest));
    }
    const auto rounding = rollout.int8_weights ? model::Rounding::Int8 : recipe_.model.rounding;
    roles.push_back({.role = "published weights",
                     .count = rollout.staleness + 1,
                     .on_host = true,
                     .plan = {.weights = model::Network::snapshot_bytes(inputs_.model, device(), rounding)}});
    add_versions(roles, stage, longest);
    for (const auto& reward : stage.rewards) {
      if (reward.use == "reward_model") roles.push_back(scorer(reward, stage, longest));
    }
    roles.push_back(decoder("actor", rollout.actors, kMaxRows, longest, rollout.int8_weights));
    if (recipe_.device == "cpu") {  // these are mapped, and packed where the kernels read them
      roles.back().plan.weights = 0;
      if (model::kernels_serve(inputs_.model)) roles.back().plan.packed = 0;
    }
    return roles;
  }

  // The learner keeps versions that leases may name, for a checkpoint, and computes with one of them: what an
  // actor recorded in the first step, and answers to held-out prompts.
  void add_versions(std::vector<RoleMemory>& roles, const recipes::StageSpec& stage, int64_t longest) const {
    const int64_t weights = kNumberBytes * model::plan_memory(inputs_.model, {}).parameters;
    roles.push_back({.role = "kept versions",
                     .count = stage.rollout.staleness + 1,
                     .on_host = true,
                     .plan = {.weights = weights}});
    roles.push_back(stage.evaluation.every > 0
                        ? decoder("held-out answers", 1, kMaxRows, longest)
                        : RoleMemory{.role = "check of the first step", .plan = {.weights = weights}});
  }

  std::vector<RoleMemory> preference_roles(const recipes::StageSpec& stage, int64_t longest) const {
    const int64_t sequences = stage.batch.examples_per_step * (stage.preference.judged() ? 1 : 2);
    std::vector<RoleMemory> roles = {learner(sequences, stage, longest)};
    if (stage.needs_reference()) add_reference(roles, sequences, stage, longest);
    return roles;
  }

  RoleMemory teacher(const recipes::StageSpec& stage, int64_t longest) const {
    const model::MemoryUse use{.device = device(),
                               .packed_type = packed_type(),
                               .rows = rows(stage, stage.batch.examples_per_step, longest)};
    return {.role = "teacher",
            .plan = model::plan_memory(model::read_model_config(stage.distill->teacher), use)};
  }

  RoleMemory reward_learner(const recipes::StageSpec& stage, int64_t longest) const {
    const int64_t sequences = 2 * stage.batch.examples_per_step;
    const model::MemoryUse use{.device = device(),
                               .trains = true,
                               .checkpoints = checkpoints(stage),
                               .rows = rows(stage, sequences, longest)};
    return on_ranks(stage, {.role = "learner",
                            .plan = model::plan_memory(model::scalar_head_config(inputs_.model), use)});
  }

  // Each actor has its own.
  RoleMemory scorer(const rewards::RewardSpec& reward, const recipes::StageSpec& stage,
                    int64_t longest) const {
    const auto config = reward.options.contains("path")
                            ? model::read_model_config(reward.options.at("path").get<std::string>())
                            : model::scalar_head_config(inputs_.model);
    const bool on_cpu = recipe_.device == "cpu";
    const model::MemoryUse use{.device = device(),
                               .packed_type = on_cpu ? std::optional(at::kFloat) : std::nullopt,
                               .rows = stage.rollout.group_size * longest};
    return {.role = "reward model", .count = stage.rollout.actors, .plan = model::plan_memory(config, use)};
  }

  void add_reference(std::vector<RoleMemory>& roles, int64_t sequences, const recipes::StageSpec& stage,
                     int64_t longest) const {
    const model::MemoryUse use{.device = device(),
                               .offloaded = stage.offloads_reference,
                               .packed_type = packed_type(),
                               .rows = rows(stage, sequences, longest)};
    auto plan = model::plan_memory(inputs_.model, use);
    if (recipe_.model.lora && !stage.moves_reference()) plan.weights = plan.packed = 0;  // the policy's
    roles.push_back(on_ranks(stage, {.role = "reference", .plan = plan}));
    if (!stage.offloads_reference || recipe_.device == "cpu") return;
    roles.push_back({.role = "the reference's weights",
                     .count = stage.ranks.count,
                     .on_host = true,
                     .plan = {.weights = kNumberBytes * plan.parameters}});
  }

  at::Device device() const { return recipe_.device == "cpu" ? at::kCPU : at::kCUDA; }

  std::optional<at::ScalarType> packed_type(bool int8_weights = false) const {
    if (recipe_.device != "cpu") return std::nullopt;
    if (int8_weights) return at::kChar;
    return model::weights_rounded_to(recipe_.model.rounding).value_or(at::kFloat);
  }

  static int64_t rows(const recipes::StageSpec& stage, int64_t sequences, int64_t longest) {
    return std::min(std::max(stage.batch.micro_batch_tokens, longest), sequences * longest);
  }

  static bool shares(const recipes::StageSpec& stage) {
    return stage.optim.shard != "none" && stage.ranks.count > 1;
  }
  static bool shares_weights(const recipes::StageSpec& stage) {
    return stage.optim.shard == "weights" && stage.ranks.count > 1;
  }

  // Each rank has all of it, but for what ranks have parts of.
  static RoleMemory on_ranks(const recipes::StageSpec& stage, RoleMemory role) {
    role.count = stage.ranks.count;
    if (stage.optim.shard == "none") return role;
    auto& plan = role.plan;
    const auto part_of = [&](int64_t numbers) {
      return optim::shard_of(numbers, /*rank=*/0, stage.ranks.count).count;
    };
    plan.optimizer = kMomentBytes * part_of(plan.optimizer / kMomentBytes);
    if (!shares_weights(stage) || plan.gradients == 0) return role;
    // What is outside of the blocks, a part, and one block, for as long as it computes.
    const int64_t root = plan.parameters - plan.of_blocks, part = part_of(plan.parameters);
    plan.weights = std::min(plan.weights,
                            kNumberBytes * (root + std::min(part, plan.of_blocks) + plan.of_largest_block));
    plan.gradients = std::min(plan.gradients, kNumberBytes * (root + part + plan.of_largest_block));
    return role;
  }

  // While rank 0 publishes, measures or saves. What it collects of the moments is all of them.
  static RoleMemory parts_of_others(const recipes::StageSpec& stage, const RoleMemory& learner) {
    const auto& plan = learner.plan;
    const int64_t all = kNumberBytes * plan.parameters;
    if (shares_weights(stage))
      return {.role = kPartsOfOthers, .plan = {.weights = all - plan.weights, .optimizer = 2 * all}};
    return {.role = kPartsOfOthers, .plan = {.optimizer = 2 * plan.gradients}};
  }

  static bool checkpoints(const recipes::StageSpec& stage) {
    return stage.batch.gradient_checkpointing || shares_weights(stage);
  }

  RoleMemory learner(int64_t sequences, const recipes::StageSpec& stage, int64_t longest) const {
    const model::MemoryUse use{.device = device(),
                               .trains = true,
                               .checkpoints = checkpoints(stage),
                               .lora = recipe_.model.lora,
                               .rows = rows(stage, sequences, longest)};
    return on_ranks(stage, {.role = "learner", .plan = model::plan_memory(inputs_.model, use)});
  }

  // In the learner's process, whole even where the policy's adapters alone are trained.
  RoleMemory critic(int64_t sequences, const recipes::StageSpec& stage, int64_t longest) const {
    const model::MemoryUse use{.device = device(),
                               .trains = true,
                               .checkpoints = checkpoints(stage),
                               .rows = rows(stage, sequences, longest)};
    return on_ranks(
        stage, {.role = "critic", .plan = model::plan_memory(model::scalar_head_config(inputs_.model), use)});
  }

  // One sequence more than are decoded: a prompt that still has samples to start. Samples that share a prompt
  // need less.
  RoleMemory decoder(const std::string& role, int64_t count, int64_t together, int64_t longest,
                     bool int8_weights = false) const {
    const model::MemoryUse use{.device = device(),
                               .packed_type = packed_type(int8_weights),
                               .rows = std::max(together, longest),
                               .sequences = together + 1,
                               .sequence_tokens = actors::reserved_tokens(longest)};
    return {.role = role, .count = count, .plan = model::plan_memory(inputs_.model, use)};
  }

  const recipes::Recipe& recipe_;
  const recipes::InputsFound& inputs_;
};

int64_t largest(const std::vector<StageMemory>& stages, bool on_host) {
  int64_t most = 0;
  for (const auto& stage : stages) most = std::max(most, stage.total(on_host));
  return most;
}

// "weights 1.0 GB, KV cache 2.0 GB (131,072 bytes a token)", without what there is none of.
std::string parts_of(const model::MemoryPlan& plan) {
  std::string text;
  const auto add = [&](const char* name, int64_t count, const std::string& note = {}) {
    if (count > 0) text += (text.empty() ? "" : ", ") + std::string(name) + " " + bytes(count) + note;
  };
  add("weights", plan.weights);
  add("packed copy", plan.packed);
  add("gradients", plan.gradients);
  add("optimizer", plan.optimizer);
  add("KV cache", plan.cache, " (" + format_count(plan.cache_per_token) + " bytes a token)");
  add("activations", plan.activations);
  return text;
}

void print_total(std::ostream& out, const char* what, int64_t needed, int64_t there) {
  out << "  " << what << ": " << bytes(needed);
  if (there > 0) out << " of " << bytes(there);
  out << '\n';
  if (there > 0 && needed > there) {
    out << "  warning: this does not fit; smaller are batch.micro_batch_tokens, "
           "batch.gradient_checkpointing = true, rollout.actors, or the model, and of a stage with a "
           "reference "
           "learner.offload_reference = true\n";
  }
}

}  // namespace

int64_t StageMemory::total(bool on_host) const {
  int64_t sum = 0;
  for (const auto& role : roles) sum += role.on_host == on_host ? role.total() : 0;
  return sum;
}

std::vector<StageMemory> plan_stages(const recipes::Recipe& recipe, const recipes::InputsFound& inputs) {
  const Planner planner(recipe, inputs);
  std::vector<StageMemory> stages;
  for (size_t i = 0; i < recipe.stages.size(); ++i) stages.push_back(planner.stage(i));
  if (recipe.device == "cpu") {
    for (auto& stage : stages) {
      for (auto& role : stage.roles) role.on_host = true;
    }
  }
  return stages;
}

Json memory_json(const model::MemoryPlan& plan) {
  return {{"weights", plan.weights},         {"packed", plan.packed},
          {"gradients", plan.gradients},     {"optimizer", plan.optimizer},
          {"kv_cache", plan.cache},          {"kv_cache_per_token", plan.cache_per_token},
          {"activations", plan.activations}, {"total", plan.total()}};
}

Json memory_json(const recipes::Recipe& recipe, const std::vector<StageMemory>& stages) {
  Json list = Json::array();
  for (const auto& stage : stages) {
    Json roles = Json::array();
    for (const auto& role : stage.roles) {
      Json one = {
          {"role", role.role}, {"count", role.count}, {"device", role.on_host ? "cpu" : recipe.device}};
      one.update(memory_json(role.plan));
      roles.push_back(std::move(one));
    }
    Json total = {{"cpu", stage.total(/*on_host=*/true)}};
    if (recipe.device != "cpu") total[recipe.device] = stage.total(/*on_host=*/false);
    list.push_back({{"stage", stage.stage}, {"roles", roles}, {"total", total}});
  }
  return {{"host_bytes", host_bytes()}, {"stages", list}};
}

void print_memory(std::ostream& out, const recipes::Recipe& recipe, const std::vector<StageMemory>& stages) {
  out << "memory:\n";
  for (const auto& stage : stages) {
    for (const auto& role : stage.roles) {
      out << "  " << stage.stage << ", ";
      if (role.count > 1) out << role.count << " x ";
      out << role.role << ": " << bytes(role.plan.total()) << " = " << parts_of(role.plan) << '\n';
    }
  }
  print_total(out, "together on this machine", largest(stages, true), host_bytes());
  if (recipe.device != "cpu") print_total(out, "together on the GPU", largest(stages, false), device_bytes());
}

}  // namespace sluice::app
