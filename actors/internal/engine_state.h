// What the engine keeps of a request while it is under way.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "actors/call_watch.h"
#include "actors/engine.h"
#include "actors/internal/draft_switch.h"
#include "actors/page_allocator.h"
#include "actors/stop_text.h"
#include "model/decoder.h"

namespace sluice::actors {

struct Engine::Sample {
  Active* owner = nullptr;
  int64_t index = 0;  // in its group
  bool running = false;
  bool paused = false;  // while it runs: until append() says what came of its call
  buffers::Completion completion;
  std::vector<int32_t> pages;         // of the cache, while running
  int64_t cached = 0;                 // tokens in it: the prompt and what was fed of the completion
  std::vector<int32_t> draft;         // of this step, behind `completion` while the step computes
  std::vector<SampledToken> drawn;    // in this step: behind the completion, and behind each of the draft
  std::optional<StopText> stop_text;  // where there are stop strings
  std::optional<CallWatch> calls;     // where somebody wants to know of them
  double first_token_s = 0, last_token_s = 0;

  bool full() const;
  int64_t num_tokens() const;  // prompt and completion
  bool goes_on() const { return running && !paused; }
};

struct Engine::Active {
  GenerationRequest request;
  const buffers::SamplingParams greedy;  // of the completion at temperature 0
  double submitted_s = 0;
  std::vector<Sample> samples;  // [num_completions]; the first `num_started` are running or finished
  int64_t num_started = 0;
  int64_t num_finished = 0;
  bool shares_again = false;   // samples that run wait for the prompt, which is computed again
  std::vector<int32_t> pages;  // the prompt's own hold on them, until no sample waits for it
  int64_t cached = 0;          // of its tokens
  std::vector<float> logits;   // behind its last token, likewise

  Active(GenerationRequest the_request, double the_submitted_s);
  int64_t prompt_size() const { return std::ssize(request.prompt); }
  int64_t num_unstarted() const { return request.num_completions() - num_started; }
  int64_t num_unfinished() const { return request.num_completions() - num_finished; }
  int64_t num_running() const { return num_started - num_finished; }
  const buffers::SamplingParams& sampling_of(const Sample& sample) const {
    return sample.index < request.num_samples ? request.sampling : greedy;
  }
  bool needs_prompt() const { return num_unstarted() > 0 || shares_again; }
};

struct Engine::State {
  std::unique_ptr<model::Decoder> decoder;
  PageAllocator pages;
  int64_t num_pages = 0;

  // Of a step: what each sequence feeds, a sample or (null) the prompt of a request.
  struct Entry {
    Active* active;
    Sample* sample;
  };
  std::vector<Entry> entries;
  std::vector<model::DecodeSequence> sequences;
  model::Decoder::Sink sink;
  int64_t prompt_budget = 0;    // tokens that may still be fed of prompts
  bool short_of_pages = false;  // somebody older waits for some: nobody begins
  std::vector<DraftRequest> draft_requests;
  DraftSwitch draft_switch;
};

inline buffers::SamplingParams greedy_of(buffers::SamplingParams sampling) {
  sampling.temperature = 0;
  return sampling;
}

inline Engine::Active::Active(GenerationRequest the_request, double the_submitted_s)
    : request(std::move(the_request)), greedy(greedy_of(request.sampling)), submitted_s(the_submitted_s) {
  samples.resize(static_cast<size_t>(request.num_completions()));
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].owner = this;
    samples[i].index = static_cast<int64_t>(i);
  }
}

inline bool Engine::Sample::full() const {
  return std::ssize(completion.tokens) >= owner->request.sampling.max_new_tokens;
}

inline int64_t Engine::Sample::num_tokens() const {
  return owner->prompt_size() + std::ssize(completion.tokens);
}

}  // namespace sluice::actors
