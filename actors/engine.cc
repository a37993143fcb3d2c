#include "actors/engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "actors/internal/engine_state.h"
#include "base/error.h"

namespace sluice::actors {
namespace {

constexpr int64_t kPrefillTokens = 2048;  // of several prompts computed together; a longer one goes alone

int64_t block_size_for(const GenerationRequest& request) {
  return reserved_tokens(std::ssize(request.prompt) + request.sampling.max_new_tokens);
}

}  // namespace

int64_t reserved_tokens(int64_t tokens) {
  constexpr int64_t kMultiple = 16;
  return (tokens + kMultiple - 1) / kMultiple * kMultiple;
}

Engine::Engine(const model::Network& network, std::set<int32_t> stop_ids, const EngineOptions& options)
    : network_(network),
      stop_ids_(std::move(stop_ids)),
      options_(options),
      decode_(std::make_unique<Decode>()) {
  require(options.max_rows > 0, "engine: max_rows is ", options.max_rows);
}

Engine::~Engine() = default;

void Engine::submit(GenerationRequest request) {
  const int64_t prompt = std::ssize(request.prompt), most = network_.config().max_position;
  const int64_t max_new = request.sampling.max_new_tokens;
  require(prompt > 0, "engine: the prompt of group ", request.group, " is empty");
  require(request.num_samples > 0 && max_new > 0, "engine: group ", request.group, " asks for ",
          request.num_samples, " samples of ", max_new, " tokens");
  require(max_new <= most && prompt <= most - max_new, "engine: the prompt of group ", request.group, " has ",
          prompt, " tokens; with ", max_new, " new ones it does not fit the model's ", most, " positions");
  waiting_.push_back(std::move(request));
}

std::vector<GenerationResult> Engine::step(int64_t version) {
  const c10::InferenceMode inference;
  for (const auto& active : active_) {
    for (auto& sample : active->samples) {
      if (sample.running && sample.full())
        end_sample(sample, buffers::FinishReason::Length);  // append() filled it
    }
  }
  admit();
  start_samples();
  if (decode_->stale) collect_rows();
  if (!decode_->rows.empty()) sample_next(next_hidden(), version);
  return take_finished();
}

int64_t Engine::num_unfinished() const {
  int64_t count = 0;
  for (const auto& request : waiting_) count += request.num_samples;
  for (const auto& active : active_) count += active->num_unfinished();
  return count;
}

Engine::Sample* Engine::find_running(uint64_t id, int64_t sample) const {
  const auto found = std::find_if(active_.begin(), active_.end(),
                                  [id](const auto& active) { return active->request.id == id; });
  if (found == active_.end() || sample < 0 || sample >= (*found)->num_started) return nullptr;
  auto& target = (*found)->samples[static_cast<size_t>(sample)];
  return target.running ? &target : nullptr;
}

std::span<const int32_t> Engine::tokens_of(uint64_t id, int64_t sample) const {
  const Sample* running = find_running(id, sample);
  return running == nullptr ? std::span<const int32_t>() : running->completion.tokens;
}

bool Engine::append(uint64_t id, int64_t sample, std::span<const int32_t> extra) {
  Sample* const running = find_running(id, sample);
  if (running == nullptr) return false;
  auto& target = *running;
  auto& completion = target.completion;
  for (const int32_t token : extra) {
    if (target.full()) break;
    completion.tokens.push_back(token);
    completion.mask.push_back(0);
    completion.logprobs.push_back(0);
    completion.kept_mass.push_back(1);
    completion.versions.push_back(completion.versions.back());
    target.pending.push_back(token);
  }
  return true;
}

// Takes on what there is room for, in the order of submission: a request whose samples do not all fit is the
// last.
void Engine::admit() {
  const auto first = active_.size();
  int64_t room = options_.max_rows, prompt_tokens = 0;
  for (const auto& active : active_) room -= active->num_unfinished();
  while (!waiting_.empty() && room > 0) {
    const auto& request = waiting_.front();
    if (!active_.empty() && options_.one_group_at_a_time) break;
    prompt_tokens += std::ssize(request.prompt);
    if (active_.size() > first && prompt_tokens > kPrefillTokens) break;
    if (!make_room(request)) break;
    room -= request.num_samples;
    active_.push_back(std::make_unique<Active>(std::move(waiting_.front())));
    active_.back()->prompt_blocks = cache_->allocate(1);
    waiting_.pop_front();
  }
  if (active_.size() > first) prefill(std::span(active_).subspan(first));
}

// Whether the cache has a block for the request's prompt and will have one for each of its samples. It is
// made anew only between requests, so a request that is too large for it waits until the others are done.
bool Engine::make_room(const GenerationRequest& request) {
  int64_t block_size = block_size_for(request), samples = request.num_samples;
  for (const auto& active : active_) samples += active->num_unfinished();
  // One more than rows: a prompt that still has samples to start keeps its own.
  int64_t blocks = std::min(samples, options_.max_rows) + 1;
  if (cache_ != nullptr) {
    const auto& now = cache_->options();
    if (now.block_size >= block_size && now.num_blocks >= blocks) return cache_->num_free() > 0;
    if (!active_.empty()) return false;
    block_size = std::max(block_size, now.block_size);
    blocks = std::max(blocks, now.num_blocks);
  }
  if (!options_.one_group_at_a_time) {  // those behind it will want to join
    samples = 0;
    for (const auto& waiting : waiting_) {
      block_size = std::max(block_size, block_size_for(waiting));
      samples += waiting.num_samples;
    }
    blocks = std::max(blocks, std::min(samples, options_.max_rows) + 1);
  }
  cache_.reset();  // so that the old and the new one do not need room together
  cache_ = std::make_unique<model::KvCache>(
      model::KvCacheOptions{
          .layout = network_.cache_layout(), .num_blocks = blocks, .block_size = block_size},
      network_.device());
  return true;
}

std::vector<GenerationResult> Engine::take_finished() {
  std::vector<GenerationResult> results;
  std::erase_if(active_, [&](const std::unique_ptr<Active>& active) {
    if (active->num_unfinished() > 0) return false;
    GenerationResult result{.id = active->request.id};
    for (auto& sample : active->samples) result.completions.push_back(std::move(sample.completion));
    results.push_back(std::move(result));
    return true;
  });
  return results;
}

}  // namespace sluice::actors
