#include "actors/group_scorer.h"

#include <algorithm>
#include <utility>

#include "actors/stop_text.h"

namespace sluice::actors {

std::string completion_text(const buffers::Completion& completion, const text::Tokenizer& tokenizer,
                            const std::vector<std::string>& stop_strings) {
  auto tokens = completion.tokens;
  if (completion.finish == buffers::FinishReason::Stop && !tokens.empty()) tokens.pop_back();
  std::erase_if(tokens, [&](int32_t token) { return token >= tokenizer.vocab_size(); });
  auto text = tokenizer.decode(tokens);
  if (completion.finish != buffers::FinishReason::StopString) return text;
  return before_stop(std::move(text), stop_strings);
}

std::vector<double> score_completions(std::vector<buffers::Completion>& completions, const text::Row& row,
                                      uint64_t group, const text::Tokenizer& tokenizer,
                                      const rewards::RewardMix& rewards,
                                      const std::vector<std::string>& stop_strings) {
  std::vector<rewards::RewardRequest> requests;
  requests.reserve(completions.size());
  for (auto& completion : completions) {
    completion.text = completion_text(completion, tokenizer, stop_strings);
    requests.push_back({.group = group,
                        .sample = std::ssize(requests),
                        .row = &row,
                        .completion = completion.text,
                        .tokens = completion.tokens,
                        .truncated = completion.finish == buffers::FinishReason::Length});
  }
  std::vector<double> seconds;
  auto outcomes = rewards.score(requests, &seconds);
  for (size_t i = 0; i < completions.size(); ++i) completions[i].outcomes = std::move(outcomes[i]);
  return seconds;
}

}  // namespace sluice::actors
