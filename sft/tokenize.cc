#include "sft/tokenize.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/chat_spans.h"
#include "text/token_map.h"

namespace sluice::sft {
namespace {

// From "<tag>" to "</tag>", both included, in one part of a text.
std::vector<text::ByteRange> tagged_ranges(std::string_view text, const text::ByteRange& part,
                                           const std::string& tag) {
  const std::string open = "<" + tag + ">", close = "</" + tag + ">";
  const std::string_view within = text.substr(0, part.second);
  std::vector<text::ByteRange> ranges;
  for (size_t at = part.first; (at = within.find(open, at)) != within.npos;) {
    const size_t end = within.find(close, at);
    if (end == within.npos) break;
    ranges.emplace_back(at, end + close.size());
    at = ranges.back().second;
  }
  return ranges;
}

// Weights of the tokens of `map`, of which those that begin in `learned` are targets.
std::vector<float> weigh(text::TokenMap& map, const std::vector<text::ByteRange>& learned,
                         const std::map<std::string, double>& tag_weights) {
  std::vector<float> weights(map.ids().size(), 0.0f);
  for (const auto& part : learned) {
    const auto [first, end] = map.beginning_in(part);
    std::fill(weights.begin() + static_cast<std::ptrdiff_t>(first),
              weights.begin() + static_cast<std::ptrdiff_t>(end), 1.0f);
    for (const auto& [tag, weight] : tag_weights) {
      for (const auto& range : tagged_ranges(map.text(), part, tag)) {
        const auto [from, to] = map.touching(range);
        for (size_t i = std::max(from, first); i < std::min(to, end); ++i) {
          weights[i] *= static_cast<float>(weight);
        }
      }
    }
  }
  return weights;
}

Example tokenize_conversation(const text::Row& row, const text::Tokenizer& tokenizer,
                              const text::ChatTemplate* chat, const TokenizeOptions& options) {
  require<DataError>(chat != nullptr, "a conversation, and the model's directory has no chat template");
  auto spans =
      text::learned_spans(*chat, row.messages, text::chat_options_of(row.columns), row.num_prompt_messages);
  text::TokenMap map(tokenizer, std::move(spans.text));
  return {.tokens = map.ids(), .weights = weigh(map, spans.learned, options.tag_weights)};
}

Example tokenize_text(const text::Row& row, const text::Tokenizer& tokenizer,
                      const TokenizeOptions& options) {
  require<DataError>(!options.append_eos || tokenizer.eos_id().has_value(),
                     "the tokenizer has no end-of-sequence token to append");
  Example example{.tokens = tokenizer.encode(row.prompt), .weights = {}};
  example.weights.assign(example.tokens.size(), 0.0f);
  text::TokenMap completion(tokenizer, row.completion);
  const auto weights = weigh(completion, {{0, row.completion.size()}}, options.tag_weights);
  example.tokens.insert(example.tokens.end(), completion.ids().begin(), completion.ids().end());
  example.weights.insert(example.weights.end(), weights.begin(), weights.end());
  if (options.append_eos) {
    example.tokens.push_back(*tokenizer.eos_id());
    example.weights.push_back(1.0f);
  }
  return example;
}

}  // namespace

Example tokenize(const text::Row& row, const text::Tokenizer& tokenizer, const text::ChatTemplate* chat,
                 const TokenizeOptions& options) {
  require(options.max_length > 1, "tokenize: a max_length of ", options.max_length,
          " leaves nothing to predict");
  try {
    auto example = row.messages.is_null() ? tokenize_text(row, tokenizer, options)
                                          : tokenize_conversation(row, tokenizer, chat, options);
    const auto length = std::min(example.tokens.size(), static_cast<size_t>(options.max_length));
    example.tokens.resize(length);
    example.weights.resize(length);
    if (length > 0) example.weights[0] = 0.0f;
    return example;
  } catch (const DataError& error) {
    fail<DataError>(row.where(), ": ", error.what());
  }
}

}  // namespace sluice::sft
