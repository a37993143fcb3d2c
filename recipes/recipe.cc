#include "recipes/recipe.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "monitor/health.h"
#include "recipes/internal/algorithm.h"
#include "recipes/internal/data_loop.h"
#include "recipes/internal/preference.h"
#include "recipes/internal/rank_spec.h"
#include "recipes/internal/recipe_file.h"
#include "recipes/internal/refills.h"
#include "recipes/internal/reward_models.h"

namespace sluice::recipes {
namespace {

std::filesystem::path path_of(const Json& value) {
  return value.is_null() ? std::filesystem::path() : std::filesystem::path(value.get<std::string>());
}
std::string text_of(const Json& value) { return value.is_null() ? std::string() : value.get<std::string>(); }

ModelSpec read_model(const Json& json) {
  ModelSpec spec;
  spec.path = path_of(json.at("path"));
  spec.source = text_of(json.at("source"));
  require<UsageError>(spec.source.empty() || !spec.path.empty(),
                      "model.source says where model.path is downloaded from, and there is no model.path");
  if (json.at("products") == "bfloat16") spec.rounding = model::Rounding::BFloat16;
  if (json.at("products") == "bfloat16_both") spec.rounding = model::Rounding::BFloat16Both;
  if (json.at("products") == "float16_both") spec.rounding = model::Rounding::Float16Both;
  auto& shape = spec.shape;
  shape.hidden_size = json.at("hidden_size");
  shape.num_layers = json.at("layers");
  shape.num_heads = json.at("heads");
  shape.num_kv_heads = json.at("kv_heads").is_null() ? shape.num_heads : json.at("kv_heads").get<int64_t>();
  shape.intermediate_size = json.at("intermediate_size");
  shape.max_position = json.at("max_position");
  shape.rope_theta = json.at("rope_theta");
  shape.tie_embeddings = json.at("tie_embeddings");
  require<UsageError>(
      shape.hidden_size % shape.num_heads == 0 && (shape.hidden_size / shape.num_heads) % 2 == 0,
      "model.hidden_size ", shape.hidden_size, " does not give model.heads ", shape.num_heads,
      " an even width each");
  require<UsageError>(shape.num_heads % shape.num_kv_heads == 0, "model.heads ", shape.num_heads,
                      " is no multiple of model.kv_heads ", shape.num_kv_heads);
  shape.head_dim = shape.hidden_size / shape.num_heads;
  spec.router_aux_loss = json.at("router_aux_loss");
  if (const Json& lora = json.at("lora"); !lora.is_null()) {
    spec.lora = {.rank = lora.at("rank"),
                 .alpha = lora.at("alpha"),
                 .rslora = lora.at("rslora"),
                 .targets = lora.at("targets")};
  }
  return spec;
}

std::vector<text::DataOptions::Part> read_mixture(const Json& json) {
  std::vector<text::DataOptions::Part> parts;
  for (const auto& part : json)
    parts.push_back({.path = path_of(part.at("path")), .weight = part.at("weight")});
  return parts;
}

text::DataOptions read_data(const Json& json, uint64_t seed) {
  return {.use = json.at("use"),
          .path = path_of(json.at("path")),
          .mixture = read_mixture(json.at("mixture")),
          .test_path = path_of(json.at("test_path")),
          .prompt_column = json.at("prompt_column"),
          .completion_column = json.at("completion_column"),
          .train_fraction = json.at("train_fraction"),
          .prompt_chars = json.at("prompt_chars"),
          .window_chars = json.at("window_chars"),
          .calls = json.at("calls"),
          .keep_seen = json.at("keep_seen"),
          .generated = json.at("generated"),
          .seed = seed,
          .choice = internal::read_choice(json)};
}

TokenizerSpec read_tokenizer(const Json& json) {
  const Json vocab_size = json.at("vocab_size");
  TokenizerSpec spec{.path = path_of(json.at("path")), .train = text_of(json.at("train"))};
  if (!vocab_size.is_null()) spec.vocab_size = vocab_size;
  spec.special_tokens = json.at("special_tokens").get<std::vector<std::string>>();
  require<UsageError>(spec.path.empty() || spec.train.empty(),
                      "tokenizer.path and tokenizer.train cannot both be set");
  require<UsageError>(
      (vocab_size.is_null() && spec.special_tokens.empty()) || spec.train == "bpe" || spec.train == "unigram",
      "tokenizer.vocab_size and tokenizer.special_tokens are for tokenizer.train = \"bpe\" or "
      "\"unigram\"");
  return spec;
}

RolloutSpec read_rollout(const Json& json) {
  RolloutSpec spec{.actors = json.at("actors"),
                   .prompts_per_step = json.at("prompts_per_step"),
                   .group_size = json.at("group_size"),
                   .staleness = json.at("staleness"),
                   .lease_ms = json.at("lease_ms"),
                   .journal_mb = json.at("journal_mb"),
                   .min_scored = json.at("min_scored").is_null() ? std::min<int64_t>(2, json.at("group_size"))
                                                                 : json.at("min_scored").get<int64_t>(),
                   .refills = json.at("refills"),
                   .refill_fallback = internal::read_refill_fallback(json),
                   .address = text_of(json.at("address")),
                   .int8_weights = json.at("weights") == "int8",
                   .draft = json.at("draft"),
                   .draft_model = path_of(json.at("draft_model")),
                   .mix_versions = json.at("mix_versions"),
                   .replay = json.at("replay"),
                   .replay_below = json.at("replay_below"),
                   .sampling = {.temperature = json.at("temperature"),
                                .top_k = json.at("top_k"),
                                .top_p = json.at("top_p"),
                                .min_p = json.at("min_p"),
                                .stop_strings = json.at("stop"),
                                .max_new_tokens = json.at("max_new_tokens")},
                   .tool_calls = json.at("tool_calls"),
                   .tool_tokens = json.at("tool_tokens")};
  require<UsageError>(!spec.address.ends_with(":0"), "rollout.address ", spec.address,
                      ": port 0 is a different one for everybody; name one, or leave the address out");
  require<UsageError>((spec.draft == "model") == !spec.draft_model.empty(),
                      "rollout.draft = \"model\" and rollout.draft_model go together");
  require<UsageError>(spec.min_scored <= spec.group_size, "rollout.min_scored ", spec.min_scored,
                      " is more than rollout.group_size ", spec.group_size,
                      ": every group would be quarantined");
  return spec;
}

std::optional<int64_t> steps_of(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<int64_t>());
}

optim::OptimizerOptions read_optim(const Json& json) {
  return {.kind = json.at("kind"),
          .lr = json.at("lr"),
          .beta1 = json.at("beta1"),
          .beta2 = json.at("beta2"),
          .eps = json.at("eps"),
          .weight_decay = json.at("weight_decay"),
          .decay_all = json.at("decay_all"),
          .momentum = json.at("momentum"),
          .nesterov = json.at("nesterov"),
          .muon = {.ns_steps = json.at("ns_steps"),
                   .adjust = json.at("adjust"),
                   .adamw_lr_factor = json.at("adamw_lr_factor")},
          .max_grad_norm = json.at("max_grad_norm"),
          .spike_ratio = json.at("spike_ratio"),
          .spike_window = json.at("spike_window"),
          .schedule = {.kind = json.at("schedule"),
                       .warmup_steps = json.at("warmup_steps"),
                       .min_ratio = json.at("min_ratio"),
                       .stable_steps = steps_of(json.at("stable_steps")),
                       .decay_steps = steps_of(json.at("decay_steps")),
                       .decay_shape = json.at("decay_shape")},
          .shard = json.value("shard", "none")};
}

MonitorSpec read_monitor(const Json& json) {
  const bool control = json.value("control", false);
  require<UsageError>(!control || json.at("redis") != "off",
                      "monitor.control = true: commands come through Redis, and monitor.redis is \"off\"");
  return {.redis = json.at("redis"),
          .control = control,
          .tensorboard = json.value("tensorboard", true),
          .web = json.value("web", true),
          .bind = json.value("bind", "127.0.0.1"),
          .port = json.value("port", int64_t{0})};
}

StageSpec read_stage(const Json& json, uint64_t seed) {
  StageSpec stage;
  stage.use = json.at("use");
  const StageKind* kind = find_stage_kind(stage.use);
  require<DataError>(kind != nullptr, "recipe: there is no stage of kind \"", stage.use, "\"");
  stage.role = kind->role;
  stage.name = json.at("name");
  stage.steps = json.at("steps");
  stage.data = read_data(json.at("data"), seed);
  stage.data_from = text_of(json.at("data").at("from"));
  if (json.contains("rollout")) stage.rollout = read_rollout(json.at("rollout"));
  if (json.contains("batch")) {
    const auto& batch = json.at("batch");
    stage.batch = {.examples_per_step = batch.at("examples_per_step"),
                   .micro_batch_tokens = batch.at("micro_batch_tokens"),
                   .gradient_checkpointing = batch.at("gradient_checkpointing"),
                   .max_length = batch.at("max_length"),
                   .append_eos = batch.at("append_eos"),
                   .loss = batch.at("loss") == "dft" ? sft::LossKind::Dft : sft::LossKind::Nll,
                   .neftune_alpha = batch.at("neftune_alpha"),
                   .tag_weights = batch.at("tag_weights").get<std::map<std::string, double>>()};
  }
  if (json.contains("learner")) {
    stage.ranks = internal::read_ranks(json.at("learner"));
    const bool may_have_one = stage.role == StageRole::Policy || stage.role == StageRole::Preference;
    stage.offloads_reference =
        may_have_one && json_member_or(json.at("learner"), "offload_reference", false, "learner");
  }
  if (json.contains("optim")) stage.optim = read_optim(json.at("optim"));
  if (json.contains("algorithm")) {
    const auto& algorithm = json.at("algorithm");
    stage.learner = internal::read_algorithm(algorithm);
    stage.critic = internal::read_critic(algorithm, stage.optim);
    stage.reference_mix = {.every = algorithm.at("mix_every"), .alpha = algorithm.at("mix_alpha")};
  }
  if (json.contains("guard")) {
    const auto& guard = json.at("guard");
    stage.guard = {.max_kl = guard.at("max_kl"),
                   .canaries = path_of(guard.at("canaries")),
                   .canaries_every = guard.at("canaries_every")};
    stage.learner.target_kl = guard.at("target_kl");
  }
  if (json.contains("health")) {
    const auto& health = json.at("health");
    stage.health = {.off = health.at("off"), .stop_on = health.at("stop_on")};
    monitor::check_health_rules(stage.health.off, "stage " + stage.name + ": health.off");
    monitor::check_health_rules(stage.health.stop_on, "stage " + stage.name + ": health.stop_on");
  }
  if (json.contains("preference")) stage.preference = internal::read_preference(json.at("preference"));
  if (json.contains("teacher")) stage.distill = internal::read_distill(json.at("teacher"), stage.name);
  if (json.contains("samples")) stage.samples = internal::read_samples(json.at("samples"));
  if (json.contains("reward_loss"))
    stage.reward_loss.center_coefficient = json.at("reward_loss").at("center_coefficient");
  stage.learner.temperature = stage.rollout.sampling.temperature;
  stage.learner.micro_batch_tokens = stage.batch.micro_batch_tokens;
  if (json.contains("evaluation")) {
    const auto& evaluation = json.at("evaluation");
    stage.evaluation = {.prompts = evaluation.at("prompts"),
                        .samples = evaluation.at("samples"),
                        .greedy = evaluation.at("greedy"),
                        .show = evaluation.at("show"),
                        .every = evaluation.at("every")};
  }
  if (json.contains("checkpoint")) {
    const auto& checkpoint = json.at("checkpoint");
    const std::string best = checkpoint.at("best_by").is_null() ? "" : checkpoint.at("best_by");
    const bool lowest = best.starts_with('-');
    stage.checkpoint = {.every = checkpoint.at("every"),
                        .keep_last = checkpoint.at("keep_last"),
                        .keep_every = checkpoint.at("keep_every"),
                        .best_by = best.substr(lowest ? 1 : 0),
                        .lowest = lowest};
  }
  if (json.contains("rewards")) {
    for (const auto& reward : json.at("rewards")) {
      stage.rewards.push_back({.use = reward.at("use"),
                               .name = reward.at("name"),
                               .weight = reward.at("weight"),
                               .options = reward.at("options"),
                               .where = "stage " + stage.name});
    }
  }
  if (json.contains("tools")) {
    for (const auto& tool : json.at("tools")) {
      stage.tools.push_back({.use = tool.at("use"),
                             .name = tool.at("name"),
                             .options = tool.at("options"),
                             .where = "stage " + stage.name});
    }
  }
  if (stage.role == StageRole::Policy) {
    internal::check_algorithm(stage);
    internal::check_refills(stage);
  }
  internal::check_ranks(stage, stage.ranks.count);
  return stage;
}

// What the recipe as a whole does not allow.
void check_rollout(const Recipe& recipe, const StageSpec& stage) {
  require<UsageError>(!stage.rollout.mix_versions || !recipe.deterministic, "stage ", stage.name,
                      ": rollout.mix_versions goes by when weights arrive; it needs deterministic = false");
  require<UsageError>(!stage.rollout.int8_weights || recipe.device != "cuda", "stage ", stage.name,
                      ": rollout.weights = \"int8\" is for device = \"cpu\"");
  require<UsageError>(stage.rollout.draft == "off" || recipe.device != "cuda", "stage ", stage.name,
                      ": rollout.draft is for device = \"cpu\"");
}

void check_shard(const Recipe& recipe, const StageSpec& stage) {
  if (stage.optim.shard != "weights") return;
  const auto refuse_if = [&stage](bool refused, const char* why) {
    require<UsageError>(!refused, "stage ", stage.name, ": optim.shard = \"weights\" ", why,
                        "; optim.shard = \"moments\" is for it");
  };
  refuse_if(recipe.device == "cuda", "is for device = \"cpu\"");
  refuse_if(recipe.model.lora.has_value(), "is for all weights, and model.lora trains adapters beside them");
  refuse_if(stage.has_critic(),
            "is for a policy without a critic, which algorithm.baseline = \"critic\" asks for");
  refuse_if(stage.moves_reference(),
            "leaves no rank all of the policy to mix into its reference, as mix_every asks for");
}

void check_reference(const Recipe& recipe, const StageSpec& stage) {
  if (!stage.offloads_reference) return;
  const auto refuse_if = [&stage](bool refused, const char* why) {
    require<UsageError>(!refused, "stage ", stage.name, ": learner.offload_reference = true: ", why);
  };
  refuse_if(!stage.needs_reference(), stage.role == StageRole::Policy
                                          ? "with algorithm.beta = 0 there is no reference"
                                          : "this loss has no reference");
  refuse_if(recipe.model.lora.has_value(),
            "with model.lora the reference is the policy without its adapters, and takes no memory");
  refuse_if(stage.moves_reference(),
            "what is on disk stays as it is, and mix_every mixes the policy into it");
}

}  // namespace

const StageSpec& Recipe::stage(const std::string& name) const {
  const auto found =
      std::find_if(stages.begin(), stages.end(), [&](const auto& stage) { return stage.name == name; });
  require<UsageError>(found != stages.end(), "recipe ", this->name, ": there is no stage \"", name, "\"");
  return *found;
}

Recipe load_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return recipe_from_resolved(resolve_recipe(file, overrides));
}

Recipe recipe_from_resolved(const Json& resolved) {
  try {
    Recipe recipe;
    recipe.resolved = resolved;
    recipe.name = resolved.at("name");
    recipe.seed = resolved.at("seed");
    recipe.device = resolved.at("device");
    recipe.deterministic = resolved.at("deterministic");
    recipe.monitor = read_monitor(resolved.at("monitor"));
    recipe.model = read_model(resolved.at("model"));
    recipe.tokenizer = read_tokenizer(resolved.at("tokenizer"));
    require<UsageError>(
        !recipe.model.path.empty() || !recipe.tokenizer.path.empty() || !recipe.tokenizer.train.empty(),
        "a network from scratch needs tokenizer.path or tokenizer.train, \"characters\" or \"bpe\"");
    const bool rounds = recipe.model.rounding != model::Rounding::None;
    require<UsageError>(
        recipe.model.rounding != model::Rounding::BFloat16 || recipe.device != "cuda",
        "model.products = \"bfloat16\" is for device = \"cpu\"; on a GPU \"bfloat16_both\" and "
        "\"float16_both\" are fast");
    require<UsageError>(
        !rounds || !recipe.model.lora,
        "model.products of 16 bits are not for model.lora: actors round what the adapters are "
        "merged into, the learner what stands beside them");
    for (const auto& stage : resolved.at("stages")) {
      recipe.stages.push_back(read_stage(stage, recipe.seed));
      auto& read = recipe.stages.back();
      read.learner.router_aux_loss = recipe.model.router_aux_loss;
      check_rollout(recipe, read);
      check_shard(recipe, read);
      check_reference(recipe, read);
      internal::check_loop(recipe);
      if (read.role == StageRole::Preference) {
        internal::check_preference(read.preference, read.name, recipe.model.lora.has_value(),
                                   read.batch.examples_per_step);
      }
    }
    internal::check_reward_models(recipe);
    return recipe;
  } catch (const Json::exception& error) {
    fail<DataError>("recipe.resolved.json does not hold a recipe of this version: ", error.what());
  }
}

std::string describe(const Recipe& recipe) {
  std::ostringstream out;
  out << recipe.name << ", seed " << recipe.seed << ", on " << recipe.device
      << (recipe.deterministic ? ", deterministic" : "") << '\n';
  if (recipe.model.path.empty()) {
    const auto& shape = recipe.model.shape;
    out << "  model: from scratch, " << shape.num_layers << " layers of width " << shape.hidden_size << '\n';
  } else {
    out << "  model: " << recipe.model.path.string() << '\n';
  }
  if (const auto& lora = recipe.model.lora) {
    out << "  trained: adapters of rank " << lora->rank << ", scale " << lora->scale() << '\n';
  }
  for (const auto& stage : recipe.stages) {
    out << "  " << stage.name << " (" << stage.use << "): ";
    if (stage.role == StageRole::Supervised) {
      out << stage.steps << " steps of " << stage.batch.examples_per_step << " examples, lr "
          << stage.optim.lr;
      if (stage.distill) out << "; " << internal::describe(*stage.distill);
      if (stage.evaluation.every > 0) out << "; held-out loss every " << stage.evaluation.every << " steps";
    } else if (stage.role == StageRole::Sampling) {
      out << internal::describe(stage.samples, stage.rollout.group_size);
    } else if (stage.role == StageRole::Preference) {
      out << stage.steps << " steps of " << stage.batch.examples_per_step << " examples, lr "
          << stage.optim.lr << "; " << internal::describe(stage.preference);
    } else if (stage.role == StageRole::RewardModel) {
      out << stage.steps << " steps of " << stage.batch.examples_per_step << " pairs, lr " << stage.optim.lr
          << "; a reward model, the policy stays as it is";
    } else if (stage.role == StageRole::Policy) {
      out << stage.steps << " steps of " << stage.rollout.prompts_per_step << " prompts x "
          << stage.rollout.group_size << ", " << stage.rollout.actors << " actors, staleness "
          << stage.rollout.staleness << ", lr " << stage.optim.lr << "; " << internal::describe(stage.learner)
          << internal::refills_in_words(stage.rollout);
      if (stage.evaluation.every > 0)
        out << "; held-out prompts every " << stage.evaluation.every << " steps";
      if (stage.reference_mix.every > 0) out << ", " << internal::describe(stage.reference_mix);
    } else {
      out << (stage.evaluation.prompts == 0 ? "all" : std::to_string(stage.evaluation.prompts))
          << " held-out prompts x " << stage.evaluation.samples
          << (stage.evaluation.greedy ? ", and greedy" : "");
    }
    for (const auto& reward : stage.rewards)
      out << (&reward == &stage.rewards.front() ? "; reward " : " + ") << reward.weight << " " << reward.name;
    for (const auto& tool : stage.tools)
      out << (&tool == &stage.tools.front() ? "; tools " : ", ") << tool.name;
    if (stage.ranks.count > 1) out << "; " << stage.ranks.count << " ranks";
    if (!stage.data_from.empty()) out << "; from what " << stage.data_from << " keeps";
    out << '\n';
  }
  return out.str();
}

}  // namespace sluice::recipes
