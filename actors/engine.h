// Generates groups of completions with a KV cache: the prompt is computed once for its group.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
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
  uint64_t id = 0;  // the caller's
  std::vector<int32_t> prompt;
  int64_t num_samples = 1;
  uint64_t seed = 0;
  uint64_t group = 0;  // keys the draws
  buffers::SamplingParams sampling;
};

struct GenerationResult {
  uint64_t id = 0;
  std::vector<buffers::Completion> completions;  // without text and outcomes
};

// The tokens that the cache sets aside for a sequence of so many.
int64_t reserved_tokens(int64_t tokens);

struct EngineOptions {
  int64_t max_rows = 128;           // completions decoded together
  bool one_group_at_a_time = true;  // so that a group's bits do not depend on what else is decoded
                                    // (deterministic mode)
};

// Not safe from several threads. The network outlives it; its weights may be changed between requests only
// (when idle()).
class Engine {
 public:
  Engine(const model::Network& network, std::set<int32_t> stop_ids, const EngineOptions& options);
  ~Engine();

  // Throws Error when prompt plus max_new_tokens do not fit the model's positions, or the prompt is empty.
  void submit(GenerationRequest request);
  // One token for every active completion; returns the requests that finished. Nothing to do returns nothing.
  std::vector<GenerationResult> step(int64_t version);
  bool idle() const { return waiting_.empty() && active_.empty(); }
  int64_t num_unfinished() const;                      // completions under way or waiting
  uint64_t num_tokens() const { return num_tokens_; }  // sampled so far

  // Puts tokens the policy did not choose (mask 0) behind what a running completion has so far, as a tool's
  // answer; false when that completion has finished or is not there. They count towards max_new_tokens: what
  // is beyond is left out, and the next step ends the completion with Length.
  bool append(uint64_t id, int64_t sample, std::span<const int32_t> extra);
  // What a running completion has so far, until the next call; nothing when it is not running.
  std::span<const int32_t> tokens_of(uint64_t id, int64_t sample) const;

 private:
  struct Sample;  // one completion under way, in actors/internal/engine_state.h
  struct Active;  // one request under way
  struct Decode;  // the batch of a step

  Sample* find_running(uint64_t id, int64_t sample) const;
  // engine.cc: requests in and out
  void admit();
  bool make_room(const GenerationRequest& request);
  std::vector<GenerationResult> take_finished();
  // engine_step.cc: tokens
  void prefill(std::span<const std::unique_ptr<Active>> requests);
  void start_samples();
  void collect_rows();
  void feed_surplus(Sample& sample);
  at::Tensor decode_hidden();
  at::Tensor next_hidden();
  void sample_next(const at::Tensor& hidden, int64_t version);
  void end_sample(Sample& sample, buffers::FinishReason reason);

  const model::Network& network_;
  const std::set<int32_t> stop_ids_;
  const EngineOptions options_;
  std::deque<GenerationRequest> waiting_;
  std::vector<std::unique_ptr<Active>> active_;  // in the order of their submission
  std::unique_ptr<model::KvCache> cache_;  // one block for each completion, made when it is first needed
  const std::unique_ptr<Decode> decode_;
  uint64_t num_tokens_ = 0;
};

}  // namespace sluice::actors
