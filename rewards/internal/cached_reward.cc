#include "rewards/internal/cached_reward.h"

#include <algorithm>
#include <utility>

#include "base/byte_codec.h"
#include "base/files.h"

namespace sluice::rewards::internal {
namespace {

constexpr size_t kEntryBytes = 256;  // of a key, its places and an outcome without parts

void add(const RewardRequest& request, ByteWriter& out) {
  const auto& row = *request.row;
  out.bytes(row.prompt);
  for (const Json* json : {&row.messages, &row.columns})
    out.bytes(json->dump(-1, ' ', false, Json::error_handler_t::replace));
  out.bytes(request.completion);
  out.bytes({reinterpret_cast<const char*>(request.tokens.data()), request.tokens.size_bytes()});
  out.u8(request.truncated ? 1 : 0);
}

std::string key_of(std::span<const RewardRequest> requests) {
  ByteWriter out;
  for (const auto& request : requests) add(request, out);
  return sha256_hex(out.take());
}

size_t bytes_of(const std::vector<RewardOutcome>& outcomes) {
  size_t bytes = 0;
  for (const auto& outcome : outcomes) {
    bytes += kEntryBytes;
    for (const auto& [name, value] : outcome.parts) bytes += kEntryBytes + name.size();
  }
  return bytes;
}

}  // namespace

CachedReward::CachedReward(std::unique_ptr<RewardFunction> inner, size_t max_bytes)
    : inner_(std::move(inner)), max_bytes_(max_bytes) {}

std::vector<RewardOutcome> CachedReward::score(std::span<const RewardRequest> group) {
  if (std::ranges::any_of(group, &RewardRequest::afresh)) return inner_->score(group);
  return takes_whole_groups() ? score_group(group) : score_samples(group, /*each=*/false);
}

std::vector<RewardOutcome> CachedReward::score_each(std::span<const RewardRequest> samples) {
  if (std::ranges::any_of(samples, &RewardRequest::afresh)) return inner_->score_each(samples);
  return score_samples(samples, /*each=*/true);
}

std::vector<RewardOutcome> CachedReward::score_group(std::span<const RewardRequest> group) {
  const auto key = key_of(group);
  if (const auto found = known_.find(key); found != known_.end()) {
    num_cached_ += std::ssize(group);
    return found->second;
  }
  auto outcomes = inner_->score(group);
  if (outcomes.size() == group.size()) keep(key, outcomes);
  return outcomes;
}

// Those that are new, each once; what is said of one does not depend on the others.
std::vector<RewardOutcome> CachedReward::score_samples(std::span<const RewardRequest> samples, bool each) {
  Outcomes outcomes(samples.size());
  std::vector<RewardRequest> asked;
  std::unordered_map<std::string, std::vector<size_t>> places;  // of what is asked
  std::vector<std::string> keys;                                // of `asked`
  for (size_t i = 0; i < samples.size(); ++i) {
    auto key = key_of(samples.subspan(i, 1));
    if (const auto found = known_.find(key); found != known_.end()) {
      outcomes[i] = found->second.front();
      ++num_cached_;
      continue;
    }
    auto& same = places[key];
    same.push_back(i);
    if (same.size() > 1) {
      ++num_cached_;
      continue;
    }
    asked.push_back(samples[i]);
    keys.push_back(std::move(key));
  }
  if (asked.empty()) return outcomes;
  const auto said = each ? inner_->score_each(asked) : inner_->score(asked);
  if (said.size() != asked.size()) return {};  // the mix says that it was wrong
  for (size_t k = 0; k < said.size(); ++k) {
    for (const size_t i : places.at(keys[k])) outcomes[i] = said[k];
    keep(keys[k], {said[k]});
  }
  return outcomes;
}

void CachedReward::keep(const std::string& key, Outcomes outcomes) {
  if (std::ranges::any_of(outcomes, [](const auto& outcome) { return !outcome.score; })) return;
  const size_t bytes = bytes_of(outcomes);
  if (bytes > max_bytes_ || !known_.emplace(key, std::move(outcomes)).second) return;
  order_.push_back(key);
  for (bytes_ += bytes; bytes_ > max_bytes_; order_.pop_front()) {
    const auto oldest = known_.find(order_.front());
    bytes_ -= bytes_of(oldest->second);
    known_.erase(oldest);
  }
}

}  // namespace sluice::rewards::internal
