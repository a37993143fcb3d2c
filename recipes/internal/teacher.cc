#include "recipes/internal/teacher.h"

#include <algorithm>

#include "base/error.h"
#include "model/model_directory.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes::internal {

void check_teacher(const StageSpec& stage, const text::Tokenizer& tokenizer, int64_t positions) {
  const auto& directory = stage.distill->teacher;
  const auto config = model::read_model_config(directory);
  require<DataError>(
      text::load_tokenizer(directory)->hash() == tokenizer.hash(), "stage ", stage.name, ": the teacher ",
      directory.string(),
      " has another tokenizer than the model that is trained: a token is not the same to both; "
      "sample completions of it and train on those with `sft`");
  const int64_t longest = std::min(stage.batch.max_length, positions);
  require<UsageError>(longest <= config.max_position, "stage ", stage.name, ": examples may have ", longest,
                      " tokens (batch.max_length), and the teacher ", directory.string(), " takes ",
                      config.max_position);
}

std::unique_ptr<model::Network> load_teacher(const Recipe& recipe, const StageSpec& stage,
                                             const text::Tokenizer& tokenizer, int64_t positions) {
  if (!stage.distill) return nullptr;
  check_teacher(stage, tokenizer, positions);
  auto network = load_network(stage.distill->teacher, recipe);
  network->freeze();
  return network;
}

}  // namespace sluice::recipes::internal
