#include "learner/preference_tokens.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/conversation_tokens.h"

namespace sluice::learner {
namespace {

PreferenceExample tokenize_text(const text::PreferenceRow& row, const text::Tokenizer& tokenizer,
                                bool append_eos) {
  require<DataError>(!append_eos || tokenizer.eos_id().has_value(),
                     "the tokenizer has no end-of-sequence token to append");
  PreferenceExample example{.prompt = tokenizer.encode(row.prompt.get<std::string>()), .completions = {}};
  for (const Json& text : row.completions) {
    auto& [tokens, mask] = example.completions.emplace_back();
    tokens = tokenizer.encode(text.get<std::string>());
    if (append_eos) tokens.push_back(*tokenizer.eos_id());
    mask.assign(tokens.size(), 1);
  }
  return example;
}

JudgedCompletion tokenize_conversation(const text::PreferenceRow& row, const Json& completion,
                                       const text::Tokenizer& tokenizer, const text::ChatTemplate& chat) {
  Json messages = row.prompt;
  for (const Json& message : completion) messages.push_back(message);
  auto whole = text::conversation_tokens(chat, tokenizer, messages, row.chat, std::ssize(row.prompt));
  return {.tokens = std::move(whole.ids), .mask = std::move(whole.said)};
}

// Moves what whole conversations begin with alike, before anything that counts, into the prompt.
void move_prompt(PreferenceExample& example) {
  const auto& first = example.completions.front();
  size_t common = first.tokens.size();
  for (const auto& [tokens, mask] : example.completions) {
    const auto counts = std::ranges::find(mask, 1) - mask.begin();
    const auto differs = std::ranges::mismatch(first.tokens, tokens).in2 - tokens.begin();
    common = std::min(common, static_cast<size_t>(std::min(counts, differs)));
  }
  const auto length = static_cast<std::ptrdiff_t>(common);
  example.prompt.assign(first.tokens.begin(), first.tokens.begin() + length);
  for (auto& [tokens, mask] : example.completions) {
    tokens.erase(tokens.begin(), tokens.begin() + length);
    mask.erase(mask.begin(), mask.begin() + length);
  }
}

// Whether something of every completion is left.
bool cut(PreferenceExample& example, const PreferenceTokenizeOptions& options) {
  auto& prompt = example.prompt;
  if (options.truncation == Truncation::KeepEnd) {
    int64_t longest = 0;
    for (const auto& completion : example.completions) {
      longest = std::max(longest, std::ssize(completion.tokens));
    }
    const int64_t excess = std::ssize(prompt) + longest - options.max_length;
    prompt.erase(prompt.begin(), prompt.begin() + std::clamp<int64_t>(excess, 0, std::ssize(prompt) - 1));
  }
  const auto room = static_cast<size_t>(std::max<int64_t>(0, options.max_length - std::ssize(prompt)));
  for (auto& [tokens, mask] : example.completions) {
    tokens.resize(std::min(tokens.size(), room));
    mask.resize(tokens.size());
  }
  return std::ranges::all_of(example.completions,
                             [](const auto& completion) { return num_targets(completion) > 0; });
}

}  // namespace

std::optional<PreferenceExample> tokenize_preference(const text::PreferenceRow& row,
                                                     const text::Tokenizer& tokenizer,
                                                     const text::ChatTemplate* chat,
                                                     const PreferenceTokenizeOptions& options) {
  require(options.max_length > 1, "tokenize_preference: a max_length of ", options.max_length,
          " leaves nothing to predict");
  try {
    PreferenceExample example;
    if (row.is_conversation()) {
      require<DataError>(chat != nullptr, "a conversation, and the model's directory has no chat template");
      for (const Json& completion : row.completions) {
        example.completions.push_back(tokenize_conversation(row, completion, tokenizer, *chat));
      }
      move_prompt(example);
    } else {
      example = tokenize_text(row, tokenizer, options.append_eos);
    }
    require<DataError>(!example.prompt.empty(), "the prompt has no token");
    for (const auto& completion : example.completions) {
      require<DataError>(num_targets(completion) > 0, "no token of a completion counts");
    }
    example.desirable = row.desirable;
    if (!cut(example, options)) return std::nullopt;
    return example;
  } catch (const DataError& error) {
    fail<DataError>(row.where(), ": ", error.what());
  }
}

}  // namespace sluice::learner
