#include "recipes/inputs.h"

#include <ATen/Context.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "actors/stop_ids.h"
#include "base/error.h"
#include "learner/preference_tokens.h"
#include "model/model_directory.h"
#include "model/weight_files.h"
#include "monitor/redis_monitor.h"
#include "recipes/internal/reward_columns.h"
#include "recipes/internal/reward_models.h"
#include "recipes/internal/reward_pairs.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/teacher.h"
#include "recipes/stages.h"
#include "sft/tokenize.h"
#include "text/chat_prompts.h"
#include "text/chat_template.h"
#include "text/preference_rows.h"
#include "transport/sockets.h"

namespace sluice::recipes {
namespace {

void check_addresses(const Recipe& recipe) {
  if (recipe.monitor.redis != "private" && recipe.monitor.redis != "off")
    monitor::parse_redis_url(recipe.monitor.redis);
  for (const auto& stage : recipe.stages) {
    if (stage.rollout.address.empty()) continue;
    try {
      transport::check_address(stage.rollout.address);
    } catch (const Error& error) {
      fail<UsageError>("stage ", stage.name, ": rollout.address: ", error.what());
    }
  }
}

std::unique_ptr<text::Rows> open_rows(const StageSpec& stage) {
  if (!stage.data_from.empty()) return nullptr;  // not there yet
  const bool compares = stage.role == StageRole::Preference || stage.role == StageRole::RewardModel;
  if (compares) return nullptr;  // read whole, once there is a tokenizer
  if (stage.role == StageRole::Supervised) return text::open_examples(stage.data, stage.split());
  return text::open_prompts(stage.data, stage.split());
}

// The longest sequence the model takes, in tokens, and in words where to change it.
struct Room {
  int64_t tokens = 0;
  std::string name;
};

Room room_of(const Recipe& recipe, const model::ModelConfig& config) {
  const auto& path = recipe.model.path;
  return {config.max_position,
          path.empty() ? "model.max_position" : "max_position_embeddings of " + path.string()};
}

void check_end(const StageSpec& stage, const text::Tokenizer& tokenizer) {
  require<UsageError>(!stage.batch.append_eos || tokenizer.eos_id().has_value(), "stage ", stage.name,
                      ": batch.append_eos is set, but the tokenizer has no end-of-sequence token");
}

// The checks of a stage return the tokens of its longest sequence.
int64_t check_examples(const StageSpec& stage, text::Rows& rows, const text::Tokenizer& tokenizer,
                       const text::ChatTemplate* chat, const Room& room) {
  check_end(stage, tokenizer);
  const bool fits = stage.batch.max_length <= room.tokens;  // what is longer is cut
  text::for_each_row(rows, [&](const text::Row& row) {
    if (fits && row.messages.is_null()) return;
    const int64_t tokens =
        std::ssize(sft::tokenize(row, tokenizer, chat, stage.batch.tokenize_options()).tokens);
    require<UsageError>(tokens <= room.tokens, "stage ", stage.name, ": the example of ", row.where(),
                        " has ", tokens, " tokens and batch.max_length = ", stage.batch.max_length,
                        " would keep more of it than ", room.name, " = ", room.tokens,
                        "; set batch.max_length to at most that");
  });
  return std::min(stage.batch.max_length, room.tokens);
}

int64_t check_prompts(const StageSpec& stage, text::Rows& rows, const text::Tokenizer& tokenizer,
                      const text::ChatTemplate* chat, const Room& room) {
  const int64_t new_tokens = stage.rollout.sampling.max_new_tokens;
  require<UsageError>(new_tokens < room.tokens, "stage ", stage.name,
                      ": rollout.max_new_tokens = ", new_tokens, " leaves no room for a prompt in ",
                      room.name, " = ", room.tokens);
  // A limited evaluation asks the first ones; of rows marked as seen or not it may take later ones, which are
  // then checked as they are asked.
  const int64_t limit = stage.trains() ? 0 : stage.evaluation.prompts;
  const Json tools = make_tools(stage).descriptions();
  int64_t longest = 0, seen = 0;
  text::for_each_row(rows, [&](text::Row row) {
    if (++seen > limit && limit > 0) return;
    text::render_prompt(row, chat, tools);
    const int64_t tokens = std::ssize(tokenizer.encode(row.prompt));
    require<DataError>(tokens <= room.tokens - new_tokens, row.where(), ": the prompt has ", tokens,
                       " tokens, and with rollout.max_new_tokens = ", new_tokens, " of stage ", stage.name,
                       " it does not fit ", room.name, " = ", room.tokens);
    longest = std::max(longest, tokens + new_tokens);
  });
  return longest;
}

// Of a stage that reads what `source` will keep of its completions, whose longest is known.
int64_t check_samples(const StageSpec& stage, const StageSpec& source, int64_t longest,
                      const text::Tokenizer& tokenizer, const Room& room) {
  if (has_rewards(stage.role)) {
    const int64_t prompt = longest - source.rollout.sampling.max_new_tokens;
    const int64_t with_completion = prompt + stage.rollout.sampling.max_new_tokens;
    require<UsageError>(with_completion <= room.tokens, "stage ", stage.name, ": a prompt of stage ",
                        source.name, " has ", prompt,
                        " tokens, and with rollout.max_new_tokens = ", stage.rollout.sampling.max_new_tokens,
                        " it does not fit ", room.name, " = ", room.tokens);
    return with_completion;
  }
  check_end(stage, tokenizer);
  const int64_t tokens = std::min(stage.batch.max_length, longest + (stage.batch.append_eos ? 1 : 0));
  require<UsageError>(tokens <= room.tokens, "stage ", stage.name, ": completions of stage ", source.name,
                      " may have ", tokens, " tokens with their prompt, more than ", room.name, " = ",
                      room.tokens, "; set batch.max_length to at most that");
  return tokens;
}

// What it reads is cut to batch.max_length, and left out where that leaves nothing.
void check_max_length(const StageSpec& stage, const Room& room) {
  require<UsageError>(stage.batch.max_length <= room.tokens, "stage ", stage.name,
                      ": batch.max_length = ", stage.batch.max_length, " is more than ", room.name, " = ",
                      room.tokens);
}

InputsFound::Stage check_preferences(const StageSpec& stage, const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate* chat, const Room& room) {
  check_end(stage, tokenizer);
  check_max_length(stage, room);
  const auto rows = text::read_preferences(stage.data.path, stage.preference.columns);
  InputsFound::Stage found{.rows = std::ssize(rows)};
  int64_t whole = 0;
  for (const auto& row : rows) {
    const auto example = learner::tokenize_preference(row, tokenizer, chat,
                                                      {.append_eos = stage.batch.append_eos,
                                                       .max_length = stage.batch.max_length,
                                                       .truncation = stage.preference.truncation});
    if (!example) continue;
    ++whole;
    for (const auto& completion : example->completions) {
      found.longest = std::max(found.longest, std::ssize(example->prompt) + std::ssize(completion.tokens));
    }
  }
  require<DataError>(whole > stage.preference.held_out, stage.data.path.string(), ": ", whole,
                     " rows are left whole by batch.max_length = ", stage.batch.max_length,
                     stage.preference.held_out == 0 ? "" : ", no more than preference.held_out");
  return found;
}

InputsFound::Stage check_pairs(const StageSpec& stage, const text::Tokenizer& tokenizer,
                               const text::ChatTemplate* chat, const Room& room) {
  check_end(stage, tokenizer);
  check_max_length(stage, room);
  const auto found = internal::read_pairs(stage, stage.data.path, tokenizer, chat);
  if (!stage.data.test_path.empty()) internal::read_pairs(stage, stage.data.test_path, tokenizer, chat);
  return {.rows = std::ssize(found.pairs) + found.dropped, .longest = found.longest};
}

// What the rewards of a stage say of themselves; a reward model that an earlier stage trains is not there
// yet.
void check_rewards(const Recipe& recipe, const StageSpec& stage) {
  StageSpec there = stage;
  std::erase_if(there.rewards, internal::names_a_stage);
  if (!there.rewards.empty()) make_rewards(recipe, there);
  make_tools(stage);
  make_canaries(stage);
}

// The text of the first stage's data: whole texts, or prompts and completions. Rows of a text follow each
// other in it; other rows get a line each where lines matter.
std::string training_text(const Recipe& recipe) {
  const auto& data = recipe.stages.front().data;
  const char* between = recipe.tokenizer.train == "characters" || data.use == "text" ? "" : "\n";
  std::string joined;
  const auto rows = text::open_examples(data, text::Split::Train);
  text::for_each_row(*rows, [&](const text::Row& row) { joined += row.text() + between; });
  return joined;
}

// Where the recipe says that its model comes from, as the end of a sentence.
std::string how_to_get(const ModelSpec& model) {
  if (model.source.empty()) return "";
  return "; get it with: hf download " + model.source + " --local-dir " + model.path.string();
}

void check_downloaded(const ModelSpec& model) {
  require<DataError>(model.path.empty() || std::filesystem::exists(model.path), "model.path: there is no ",
                     model.path.string(), how_to_get(model),
                     model.source.empty() ? "" : " (with --include '*.json' for the memory plan alone)");
}

// Whether the network has what the recipe wants trained and balanced.
void check_network(const ModelSpec& spec, const model::ModelConfig& config) {
  if (spec.lora) model::Network::declare_adapter(config, *spec.lora);
  const bool routes = config.experts && config.experts->router.score == model::RouterScore::Softmax;
  require<UsageError>(spec.router_aux_loss == 0.0 || routes, "model.router_aux_loss is ",
                      spec.router_aux_loss, ", and this network has no experts with a softmax router");
  require<UsageError>(spec.rounding == model::Rounding::None || !config.latent,
                      "model.products of 16 bits are not for latent attention");
}

// What a stage asks of its actors, of the network they have.
void check_rollout(const StageSpec& stage, const model::ModelConfig& config) {
  const auto& rollout = stage.rollout;
  const bool served = model::kernels_serve(config);
  require<UsageError>(served || !rollout.int8_weights, stage.name,
                      ": rollout.weights = \"int8\" is for networks that the kernels' own forward computes "
                      "(docs/models.md); this one is not");
  require<UsageError>(
      served || rollout.draft == "off", stage.name,
      ": rollout.draft is for networks that the kernels' own forward computes (docs/models.md); "
      "this one is not");
  if (rollout.draft != "model") return;
  const auto draft = model::read_model_config(rollout.draft_model);
  require<DataError>(draft.vocab_size == config.vocab_size, stage.name, ": rollout.draft_model ",
                     rollout.draft_model.string(), " has a vocabulary of ", draft.vocab_size,
                     ", the policy's has ", config.vocab_size,
                     "; a draft model shares the policy's tokenizer");
}

const std::filesystem::path& tokenizer_path(const Recipe& recipe) {
  return recipe.tokenizer.path.empty() ? recipe.model.path : recipe.tokenizer.path;
}

std::optional<text::ChatTemplate> load_chat(const Recipe& recipe) {
  if (!recipe.tokenizer.train.empty()) return std::nullopt;
  return text::load_chat_template(tokenizer_path(recipe));
}

// Those that reward models name; the recipe's own is device_of()'s. What is no device is refused by the
// scorer.
void check_reward_devices(const StageSpec& stage) {
  for (const auto& reward : stage.rewards) {
    const Json device = reward.options.value("device", Json());
    const auto name = device.is_string() ? device.get<std::string>() : "";
    if (!name.starts_with("cuda")) continue;
    const int index = name.size() > 5 ? std::atoi(name.c_str() + 5) : 0;
    require<EnvironmentError>(index < static_cast<int64_t>(at::getNumGPUs()), reward.where, ": reward ",
                              reward.name, ": device \"", name, "\": there are ", at::getNumGPUs(),
                              " usable CUDA devices here; `sluice doctor` says more");
  }
}

}  // namespace

std::unique_ptr<text::Tokenizer> make_tokenizer(const Recipe& recipe) {
  const auto& spec = recipe.tokenizer;
  if (spec.train.empty()) return text::load_tokenizer(tokenizer_path(recipe));
  const std::string text = training_text(recipe);
  if (spec.train == "characters") return text::train_character_tokenizer(text);
  return text::train_tokenizer(
      text, {.kind = spec.train, .vocab_size = spec.vocab_size, .special_tokens = spec.special_tokens});
}

model::ModelConfig make_model_config(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  const auto& path = recipe.model.path;
  model::LlamaShape shape = recipe.model.shape;
  shape.vocab_size = tokenizer.vocab_size();
  shape.bos_id = tokenizer.bos_id();
  shape.pad_id = tokenizer.pad_id();
  auto config = path.empty() ? model::llama_config(shape) : model::read_model_config(path);
  require<DataError>(tokenizer.vocab_size() <= config.vocab_size, "the tokenizer has ",
                     tokenizer.vocab_size(), " pieces, the model ", path.string(), " only ",
                     config.vocab_size);
  const auto chat = load_chat(recipe);
  const auto stops = actors::stop_ids(config, &tokenizer, chat ? &*chat : nullptr);
  config.eos_ids = actors::ordered_stop_ids(config, stops);
  return config;
}

InputsFound check_inputs(const Recipe& recipe) {
  check_addresses(recipe);
  check_downloaded(recipe.model);

  std::vector<std::unique_ptr<text::Rows>> rows;
  for (const auto& stage : recipe.stages) rows.push_back(open_rows(stage));

  const auto tokenizer = make_tokenizer(recipe);
  InputsFound found{.stages = {}, .model = make_model_config(recipe, *tokenizer)};
  check_network(recipe.model, found.model);
  const Room room = room_of(recipe, found.model);
  const auto chat = load_chat(recipe);
  const text::ChatTemplate* const the_chat = chat ? &*chat : nullptr;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& stage = recipe.stages[i];
    if (stage.distill) internal::check_teacher(stage, *tokenizer, room.tokens);
    if (!stage.data_from.empty()) {
      const auto& source = recipe.stage(stage.data_from);
      const auto place = static_cast<size_t>(&source - recipe.stages.data());
      if (has_rewards(stage.role)) {
        check_rollout(stage, found.model);
        check_rewards(recipe, stage);
      }
      found.stages.push_back(
          {.longest = check_samples(stage, source, found.stages[place].longest, *tokenizer, room)});
      continue;
    }
    if (stage.role == StageRole::Preference) {
      found.stages.push_back(check_preferences(stage, *tokenizer, the_chat, room));
      continue;
    }
    if (stage.role == StageRole::RewardModel) {
      found.stages.push_back(check_pairs(stage, *tokenizer, the_chat, room));
      continue;
    }
    check_rollout(stage, found.model);
    const bool supervised = stage.role == StageRole::Supervised;
    const int64_t longest = supervised ? check_examples(stage, *rows[i], *tokenizer, the_chat, room)
                                       : check_prompts(stage, *rows[i], *tokenizer, the_chat, room);
    if (supervised && stage.evaluation.every > 0) {
      check_examples(stage, *text::open_examples(stage.data, text::Split::Test), *tokenizer, the_chat, room);
    }
    if (!supervised) {
      check_rewards(recipe, stage);
      internal::check_reward_columns(stage, *rows[i]);
      if (stage.has_actors() && stage.evaluation.every > 0) {
        StageSpec asked = stage;  // as an evaluation asks
        asked.role = StageRole::Evaluation;
        check_prompts(asked, *text::open_prompts(asked.data, asked.split()), *tokenizer, the_chat, room);
      }
    }
    found.stages.push_back({.rows = rows[i]->size(), .longest = longest});
  }
  return found;
}

void check_machine(const Recipe& recipe) {
  const auto& model = recipe.model;
  if (!model.path.empty()) {
    require<DataError>(model::has_weight_files(model.path), model.path.string(), " has no weights",
                       how_to_get(model));
    model::check_model(model.path);  // every tensor, or it says which
  }
  device_of(recipe);
  for (const auto& stage : recipe.stages) check_reward_devices(stage);
}

}  // namespace sluice::recipes
