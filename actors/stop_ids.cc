#include "actors/stop_ids.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"

namespace sluice::actors {
namespace {

constexpr std::string_view kAnswer = "assistant-answer";

// The special token behind the answer of a rendered conversation; white space may stand between them.
std::optional<int32_t> end_of_turn(const text::Tokenizer& tokenizer, const text::ChatTemplate& chat) {
  const auto conversation = Json::array(
      {{{"role", "user"}, {"content", "question"}}, {{"role", "assistant"}, {"content", kAnswer}}});
  const std::string rendered = chat.render(conversation).text;
  const size_t answer = rendered.rfind(kAnswer);
  if (answer == std::string::npos) return std::nullopt;
  const size_t end = rendered.find_first_not_of(" \t\r\n", answer + kAnswer.size());
  if (end == std::string::npos) return std::nullopt;
  const std::string behind = rendered.substr(end);
  for (const int32_t id : tokenizer.encode(behind)) {
    const std::span<const int32_t> one(&id, 1);
    const std::string spelled = tokenizer.decode(one, /*keep_specials=*/true);
    if (spelled.empty()) continue;  // the space that a model puts before every text
    // Special tokens are those that decode to nothing unless they are asked for; so does the unknown one, but
    // nothing spells it.
    if (tokenizer.decode(one).empty() && behind.starts_with(spelled)) return id;
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::set<int32_t> stop_ids(const model::ModelConfig& config, const text::Tokenizer* tokenizer,
                           const text::ChatTemplate* chat) {
  std::set<int32_t> ids;
  const auto add = [&](int64_t id, const char* what) {
    require<DataError>(id >= 0 && id < config.vocab_size, "stop ids: ", what, " is ", id, ", the model has ",
                       config.vocab_size, " ids");
    ids.insert(static_cast<int32_t>(id));
  };
  for (const int64_t id : config.eos_ids) add(id, "eos_token_id");
  if (tokenizer == nullptr) return ids;
  if (const auto id = tokenizer->eos_id()) add(*id, "the tokenizer's end of sequence");
  if (chat == nullptr) return ids;
  if (const auto id = end_of_turn(*tokenizer, *chat)) add(*id, "the chat template's end of a turn");
  return ids;
}

std::vector<int64_t> ordered_stop_ids(const model::ModelConfig& config, const std::set<int32_t>& stops) {
  auto ids = config.eos_ids;
  for (const int32_t id : stops) {
    if (std::ranges::count(ids, id) == 0) ids.push_back(id);
  }
  return ids;
}

}  // namespace sluice::actors
