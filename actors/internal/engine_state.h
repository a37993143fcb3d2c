// What the engine keeps of a request while it is under way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "actors/engine.h"

namespace sluice::actors {

struct Engine::Sample {
  Active* owner = nullptr;
  int64_t index = 0;  // in its group
  bool running = false;
  buffers::Completion completion;
  std::vector<int64_t> blocks;   // of the cache, while running
  int64_t cached = 0;            // tokens in the cache: the prompt and what was fed of the completion
  std::vector<int32_t> pending;  // the rest of the completion; empty only before its first token

  bool full() const;
};

struct Engine::Active {
  GenerationRequest request;
  std::vector<Sample> samples;  // [num_samples]; the first `num_started` are running or finished
  int64_t num_started = 0;
  int64_t num_finished = 0;
  std::vector<int64_t> prompt_blocks;  // until the last sample takes them over
  at::Tensor last_hidden;              // [1, hidden] of the prompt's last token

  explicit Active(GenerationRequest the_request);
  int64_t num_unstarted() const { return request.num_samples - num_started; }
  int64_t num_unfinished() const { return request.num_samples - num_finished; }
};

struct Engine::Decode {
  bool stale = true;          // other completions belong in it now
  std::vector<Sample*> rows;  // the running ones; first those with pending tokens, then the fresh ones
  size_t num_continuing = 0;  // rows with pending tokens
  int64_t num_running = 0;    // of all requests
  model::CacheView view;      // of the continuing rows
  std::vector<DrawKey> keys;  // of all rows
};

inline Engine::Active::Active(GenerationRequest the_request) : request(std::move(the_request)) {
  samples.resize(static_cast<size_t>(request.num_samples));
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].owner = this;
    samples[i].index = static_cast<int64_t>(i);
  }
}

inline bool Engine::Sample::full() const {
  return std::ssize(completion.tokens) >= owner->request.sampling.max_new_tokens;
}

}  // namespace sluice::actors
