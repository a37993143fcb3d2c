#include "recipes/inputs.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "model/model_directory.h"
#include "monitor/redis_monitor.h"
#include "recipes/internal/stage_context.h"
#include "recipes/stages.h"
#include "transport/sockets.h"

namespace sluice::recipes {
namespace {

void check_addresses(const Recipe& recipe) {
  if (recipe.redis != "private" && recipe.redis != "off") monitor::parse_redis_url(recipe.redis);
  for (const auto& stage : recipe.stages) {
    if (stage.rollout.address.empty()) continue;
    try {
      transport::check_address(stage.rollout.address);
    } catch (const Error& error) {
      fail<UsageError>("stage ", stage.name, ": rollout.address: ", error.what());
    }
  }
}

std::vector<text::Row> read_rows(const StageSpec& stage) {
  if (stage.use == "sft") return text::read_examples(stage.data, text::Split::Train);
  auto rows = text::read_prompts(stage.data, stage.use == "eval" ? text::Split::Test : text::Split::Train);
  make_rewards(stage);
  return rows;
}

// The longest sequence the model takes, in tokens, and in words where to change it.
struct Room {
  int64_t tokens = 0;
  std::string name;
};

Room open_model(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  if (recipe.model.path.empty()) return {recipe.model.shape.max_position, "model.max_position"};
  const auto config = model::read_model_config(recipe.model.path);
  require<DataError>(tokenizer.vocab_size() <= config.vocab_size, "the tokenizer has ",
                     tokenizer.vocab_size(), " pieces, the model ", recipe.model.path.string(), " only ",
                     config.vocab_size);
  return {config.max_position, "max_position_embeddings of " + recipe.model.path.string()};
}

void check_examples(const StageSpec& stage, const std::vector<text::Row>& rows,
                    const text::Tokenizer& tokenizer, const Room& room) {
  require<UsageError>(!stage.batch.append_eos || tokenizer.eos_id().has_value(), "stage ", stage.name,
                      ": batch.append_eos is set, but the tokenizer has no end-of-sequence token");
  if (stage.batch.max_length <= room.tokens) return;  // what is longer is cut
  for (const auto& row : rows) {
    const int64_t tokens = std::ssize(tokenizer.encode(row.prompt)) +
                           std::ssize(tokenizer.encode(row.completion)) + (stage.batch.append_eos ? 1 : 0);
    require<UsageError>(tokens <= room.tokens, "stage ", stage.name, ": the example of ", row.where(),
                        " has ", tokens, " tokens and batch.max_length = ", stage.batch.max_length,
                        " would keep more of it than ", room.name, " = ", room.tokens,
                        "; set batch.max_length to at most that");
  }
}

void check_prompts(const StageSpec& stage, const std::vector<text::Row>& rows,
                   const text::Tokenizer& tokenizer, const Room& room) {
  const int64_t new_tokens = stage.rollout.sampling.max_new_tokens;
  require<UsageError>(new_tokens < room.tokens, "stage ", stage.name,
                      ": rollout.max_new_tokens = ", new_tokens, " leaves no room for a prompt in ",
                      room.name, " = ", room.tokens);
  // A limited evaluation asks the first ones; of rows marked as seen or not it may take later ones, which are
  // then checked as they are asked.
  auto end = rows.end();
  if (const int64_t limit = stage.evaluation.prompts; stage.use == "eval" && limit > 0) {
    end = rows.begin() + std::min(limit, std::ssize(rows));
  }
  for (auto row = rows.begin(); row != end; ++row) {
    const int64_t tokens = std::ssize(tokenizer.encode(row->prompt));
    require<DataError>(tokens <= room.tokens - new_tokens, row->where(), ": the prompt has ", tokens,
                       " tokens, and with rollout.max_new_tokens = ", new_tokens, " of stage ", stage.name,
                       " it does not fit ", room.name, " = ", room.tokens);
  }
}

// The text of the first stage's data: whole texts, or prompts and completions. Rows of a text follow each
// other in it; other rows get a line each where lines matter.
std::string training_text(const Recipe& recipe) {
  const auto& data = recipe.stages.front().data;
  const char* between = recipe.tokenizer.train == "characters" || data.use == "text" ? "" : "\n";
  std::string joined;
  for (const auto& row : text::read_examples(data, text::Split::Train)) {
    joined += row.prompt + row.completion + between;
  }
  return joined;
}

}  // namespace

std::unique_ptr<text::Tokenizer> make_tokenizer(const Recipe& recipe) {
  const auto& spec = recipe.tokenizer;
  if (spec.train.empty()) return text::load_tokenizer(spec.path.empty() ? recipe.model.path : spec.path);
  const std::string text = training_text(recipe);
  if (spec.train == "characters") return text::train_character_tokenizer(text);
  return text::train_tokenizer(
      text, {.kind = spec.train, .vocab_size = spec.vocab_size, .special_tokens = spec.special_tokens});
}

std::vector<int64_t> check_inputs(const Recipe& recipe) {
  check_addresses(recipe);
  device_of(recipe);
  if (!recipe.model.path.empty())
    model::load_model(recipe.model.path, at::kCPU);  // every tensor, or it says which

  std::vector<std::vector<text::Row>> rows;
  for (const auto& stage : recipe.stages) rows.push_back(read_rows(stage));

  const auto tokenizer = make_tokenizer(recipe);
  const Room room = open_model(recipe, *tokenizer);
  std::vector<int64_t> counts;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& stage = recipe.stages[i];
    (stage.use == "sft" ? check_examples : check_prompts)(stage, rows[i], *tokenizer, room);
    counts.push_back(std::ssize(rows[i]));
  }
  return counts;
}

}  // namespace sluice::recipes
