// Generates groups of completions: what fits is decoded together, and who finishes makes room at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "actors/drafter.h"
#include "actors/sampler.h"
#include "buffers/rollout_group.h"
#include "model/network.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// What to generate: one prompt, a number of samples of it.
struct GenerationRequest {
  uint64_t id = 0;  // the caller's
  std::vector<int32_t> prompt;
  int64_t num_samples = 1;
  bool greedy_too = false;  // one completion more, the last, at temperature 0
  uint64_t seed = 0;
  uint64_t group = 0;  // keys the draws
  buffers::SamplingParams sampling;

  int64_t num_completions() const { return num_samples + (greedy_too ? 1 : 0); }
};

struct GenerationResult {
  uint64_t id = 0;
  std::vector<buffers::Completion> completions;  // without text and outcomes
  // Seconds from submit() to a completion's first token, and from then on for each token: means over the
  // completions.
  double ttft_s = 0, tpot_s = 0;
};

// A completion that has ended, of the request's sample; its text may be filled in.
using CompletionEnded =
    std::function<void(const GenerationRequest& request, int64_t sample, buffers::Completion& completion)>;

// A running completion that has come to the end of a call, of which this is the text between the marks.
using CallMade = std::function<void(const GenerationRequest& request, int64_t sample, std::string call)>;

struct EngineOptions {
  int64_t max_rows = 128;  // completions decoded together
  // That the cache has room for; 0: max_rows sequences as long as the model takes, as far as that is a
  // quarter of this machine's memory.
  int64_t cache_tokens = 0;
  int threads = 1;
  // A group's bits depend on nothing else that is decoded. Where the network's kernels do not see to that,
  // one group goes after the other.
  bool reproducible = true;
  int64_t draft_tokens = 4;  // proposed at once, where there is a drafter
};

// Room for so many sequences as long as the model takes, as far as that is a quarter of this machine's
// memory.
int64_t default_cache_tokens(const model::Network& network, int64_t sequences);
// What the cache sets aside for a sequence of so many tokens.
int64_t reserved_tokens(int64_t tokens);

// Not safe from several threads. The network and the tokenizer outlive it; the weights may be changed when
// idle(), or between any two steps followed by recompute().
//
// A prompt is computed once; its samples share its pages until they write to them. When the pages run out,
// the newest completion gives up its own, and computes its tokens again when there is room: it goes on as if
// nothing had been.
class Engine {
 public:
  // The tokenizer says when a stop string is complete: without one there are none. The drafter changes no
  // token: it is asked where the network's kernels see to that, as long as time says that it pays.
  Engine(const model::Network& network, std::set<int32_t> stop_ids, const EngineOptions& options,
         const text::Tokenizer* tokenizer = nullptr, std::unique_ptr<Drafter> drafter = nullptr);
  ~Engine();

  // Throws Error when prompt plus max_new_tokens do not fit the model's positions or the cache, or the prompt
  // is empty.
  void submit(GenerationRequest request);
  // Called within step(), for each completion as soon as it has ended: before step() returns its request.
  void when_completion_ends(CompletionEnded told) { completion_ended_ = std::move(told); }
  // Called within step(); that completion pauses until append() gives what comes of its call. Needs the
  // tokenizer; who has not asked for calls pays nothing for them. To be said before the first submit().
  void when_call_is_made(CallMade told);
  // One token for every completion under way; returns the requests that finished. Nothing to do returns
  // nothing.
  std::vector<GenerationResult> step(int64_t version);
  bool idle() const { return waiting_.empty() && active_.empty(); }
  // Whether step() has nothing to do until append() is called: all that is under way waits for its calls.
  bool waits_for_calls() const;
  // Completions under way keep their tokens and go on with the weights there are now, as if these had
  // computed all that stands before: what is kept of the old ones is computed again.
  void recompute();
  // Whether groups are decoded together.
  bool mixes_groups() const { return mixes_groups_; }
  int64_t num_unfinished() const;                            // completions under way or waiting
  uint64_t num_tokens() const { return num_tokens_; }        // sampled so far
  uint64_t num_preempted() const { return num_preempted_; }  // times a completion gave up its pages
  uint64_t num_drafted() const { return num_drafted_; }      // tokens proposed, and kept of them
  uint64_t num_accepted() const { return num_accepted_; }

  // Puts tokens the policy did not choose (mask 0) behind what a running completion has so far, as a tool's
  // answer, upon which it goes on; false when that completion has finished or is not there. They count
  // towards max_new_tokens: what is beyond is left out, and the next step ends the completion with Length.
  bool append(uint64_t id, int64_t sample, std::span<const int32_t> extra);
  // What a running completion has so far, until the next call; nothing when it is not running.
  std::span<const int32_t> tokens_of(uint64_t id, int64_t sample) const;

 private:
  struct Sample;  // one completion, in actors/internal/engine_state.h
  struct Active;  // one request under way
  struct State;   // the cache, and the batch of a step

  Sample* find_running(uint64_t id, int64_t sample) const;
  // engine.cc: requests in and out
  void take_on();
  std::vector<GenerationResult> take_finished();
  // engine_step.cc: tokens
  void plan_step();
  void propose_drafts();
  void feed_prompt(Active& active);
  void feed_sample(Sample& sample);
  void add_entry(Active& active, Sample* sample, std::span<const int32_t> tokens, int64_t cached,
                 std::span<const int32_t> pages, int64_t num_logits);
  bool may_begin(int64_t num_pages);
  bool make_writable(std::vector<int32_t>& pages, int64_t first, int64_t end, const Active& owner,
                     const Sample* sample);
  bool preempt_behind(const Active& owner, const Sample* sample);
  void give_up(Sample& sample);
  void release(std::vector<int32_t>& pages);
  void share_prompt(Sample& sample);
  void draw(Sample& sample, int64_t place, std::span<float> logits) const;
  void commit(int64_t version);
  void start_samples(Active& active, int64_t version);
  void release_prompt(Active& active);
  void keep_drawn(Sample& sample, int64_t num_logits, int64_t version);
  void keep_token(Sample& sample, const SampledToken& drawn, int64_t version);
  double seconds() const;  // since the engine was made
  void end_sample(Sample& sample, buffers::FinishReason reason);

  const model::Network& network_;
  const std::set<int32_t> stop_ids_;
  const EngineOptions options_;
  const text::Tokenizer* const tokenizer_;
  bool mixes_groups_ = true;
  struct Waiting {
    GenerationRequest request;
    double submitted_s;
  };
  std::deque<Waiting> waiting_;
  std::vector<std::unique_ptr<Active>> active_;  // in the order of their submission
  const std::unique_ptr<State> state_;
  const std::unique_ptr<Drafter> drafter_;  // or null
  CompletionEnded completion_ended_;        // or nothing
  CallMade call_made_;                      // or nothing
  int64_t num_paused_ = 0;                  // completions that wait for what comes of a call
  uint64_t num_tokens_ = 0, num_preempted_ = 0, num_drafted_ = 0, num_accepted_ = 0;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace sluice::actors
