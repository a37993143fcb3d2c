// Generates groups of completions with a KV cache: the prompt is computed once for its group.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "actors/sampler.h"
#include "buffers/rollout_group.h"
#include "model/kv_cache.h"
#include "model/network.h"

namespace sluice::actors {

// What to generate: one prompt, a number of samples of it.
struct GenerationRequest {
  uint64_t id = 0;          // the caller's
  std::vector<int32_t> prompt;
  int64_t num_samples = 1;
  uint64_t seed = 0;
  uint64_t group = 0;       // keys the draws
  buffers::SamplingParams sampling;
};

struct GenerationResult {
  uint64_t id = 0;
  std::vector<buffers::Completion> completions;  // without text and outcomes
};

struct EngineOptions {
  int64_t max_rows = 128;     // completions decoded together
  bool one_group_at_a_time = true;  // so that a group's bits do not depend on what else is decoded (deterministic mode)
};

// Not safe from several threads. The network outlives it; its weights may be changed between requests only
// (when idle()).
class Engine {
 public:
  Engine(const model::Network& network, std::set<int32_t> stop_ids, const EngineOptions& options);

  // Throws Error when prompt plus max_new_tokens do not fit the model's positions, or the prompt is empty.
  void submit(GenerationRequest request);
  // One token for every active completion; returns the requests that finished. Nothing to do returns nothing.
  std::vector<GenerationResult> step(int64_t version);
  bool idle() const;
  uint64_t num_tokens() const { return num_tokens_; }  // sampled so far

  // Puts tokens the policy did not choose (mask 0) behind what a running completion has so far, as a tool's answer;
  // false when that completion has finished or is not there. They count towards max_new_tokens.
  bool append(uint64_t id, int64_t sample, std::span<const int32_t> extra);

 private:
  struct Active;  // one request under way, in engine.cc
  void admit();
  const model::Network& network_;
  const std::set<int32_t> stop_ids_;
  const EngineOptions options_;
  std::deque<GenerationRequest> waiting_;
  std::vector<std::unique_ptr<Active>> active_;
  std::unique_ptr<model::KvCache> cache_;
  uint64_t num_tokens_ = 0;
};

}  // namespace sluice::actors
