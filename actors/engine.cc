#include "actors/engine.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "actors/internal/engine_state.h"
#include "base/error.h"

namespace sluice::actors {
namespace {

constexpr int64_t kMostDraftTokens = 16;

int64_t cache_bytes_per_token(const model::Network& network) {
  int64_t numbers = 0;
  for (const auto& layer : network.cache_layout()) {
    for (const auto& row : layer) numbers += row.width;
  }
  return numbers * static_cast<int64_t>(sizeof(float));
}

}  // namespace

int64_t default_cache_tokens(const model::Network& network, int64_t sequences) {
  const int64_t memory = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  const int64_t fit = memory / 4 / cache_bytes_per_token(network);
  const int64_t longest = reserved_tokens(network.config().max_position) + model::kPageTokens;
  return longest < fit / sequences ? longest * sequences : fit;
}

int64_t reserved_tokens(int64_t tokens) { return model::pages_for(tokens) * model::kPageTokens; }

Engine::Engine(const model::Network& network, std::set<int32_t> stop_ids, const EngineOptions& options,
               const text::Tokenizer* tokenizer, std::unique_ptr<Drafter> drafter)
    : network_(network),
      stop_ids_(std::move(stop_ids)),
      options_(options),
      tokenizer_(tokenizer),
      state_([&] {
        require(options.max_rows > 0 && options.cache_tokens >= 0 && options.threads > 0,
                "engine: ", options.max_rows, " rows, a cache of ", options.cache_tokens, " tokens, ",
                options.threads, " threads");
        require(options.draft_tokens > 0 && options.draft_tokens <= kMostDraftTokens, "engine: drafts of ",
                options.draft_tokens, " tokens; they have 1 to ", kMostDraftTokens);
        const int64_t tokens =
            options.cache_tokens > 0 ? options.cache_tokens : default_cache_tokens(network, options.max_rows);
        const int64_t num_pages = model::pages_for(tokens);
        return std::make_unique<State>(State{
            .decoder = model::make_decoder(network, {.num_pages = num_pages, .threads = options.threads}),
            .pages = PageAllocator(num_pages),
            .num_pages = num_pages});
      }()),
      drafter_(std::move(drafter)) {
  mixes_groups_ = state_->decoder->rows_are_independent() || !options.reproducible;
  state_->sink = [this](size_t i, int64_t place, std::span<float> logits) {
    const auto& [active, sample] = state_->entries[i];
    if (sample != nullptr) {
      draw(*sample, place, logits);
    } else {
      active->logits.assign(logits.begin(), logits.end());
    }
  };
}

Engine::~Engine() = default;

double Engine::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}

void Engine::submit(GenerationRequest request) {
  const int64_t prompt = std::ssize(request.prompt), most = network_.config().max_position;
  const int64_t max_new = request.sampling.max_new_tokens;
  require(prompt > 0, "engine: the prompt of group ", request.group, " is empty");
  require(request.num_samples > 0 && max_new > 0, "engine: group ", request.group, " asks for ",
          request.num_samples, " samples of ", max_new, " tokens");
  require(max_new <= most && prompt <= most - max_new, "engine: the prompt of group ", request.group, " has ",
          prompt, " tokens; with ", max_new, " new ones it does not fit the model's ", most, " positions");
  require(request.sampling.stop_strings.empty() || tokenizer_ != nullptr, "engine: group ", request.group,
          " has stop strings, and there is no tokenizer to find them with");
  // A sample's own copy of the page where the prompt ends comes on top.
  const int64_t pages = model::pages_for(prompt + max_new) + 1;
  require(pages <= state_->num_pages, "engine: the prompt of group ", request.group, " has ", prompt,
          " tokens; with ", max_new, " new ones it needs a cache of ", pages * model::kPageTokens,
          " tokens, this one has room for ", state_->num_pages * model::kPageTokens);
  waiting_.push_back({std::move(request), seconds()});
}

void Engine::when_call_is_made(CallMade told) {
  require(tokenizer_ != nullptr, "engine: there is no tokenizer to find calls with");
  call_made_ = std::move(told);
}

bool Engine::waits_for_calls() const {
  if (num_paused_ == 0) return false;
  // Where bits depend on what is decoded together, they would depend on when calls are answered.
  if (!mixes_groups_) return true;
  int64_t running = 0, unstarted = std::ssize(waiting_);
  for (const auto& active : active_) {
    running += active->num_running();
    unstarted += active->num_unstarted();
  }
  return running == num_paused_ && (unstarted == 0 || running >= options_.max_rows);
}

std::vector<GenerationResult> Engine::step(int64_t version) {
  for (const auto& active : active_) {
    for (auto& sample : active->samples) {
      if (sample.goes_on() && sample.full())
        end_sample(sample, buffers::FinishReason::Length);  // append() filled it
    }
  }
  take_on();
  if (waits_for_calls()) return take_finished();
  const double began_s = seconds();
  const uint64_t tokens_before = num_tokens_, drafted_before = num_drafted_;
  plan_step();
  state_->decoder->step(state_->sequences, state_->sink);
  commit(version);
  // A step that might have had drafts and had none says nothing of them.
  if (!state_->draft_requests.empty() && (num_drafted_ > drafted_before || !state_->draft_switch.on()))
    state_->draft_switch.count(seconds() - began_s, num_tokens_ - tokens_before);
  return take_finished();
}

void Engine::recompute() {
  for (const auto& active : active_) {
    release(active->pages);
    active->cached = 0;
    active->logits.clear();
    active->shares_again = active->num_running() > 0;
    for (auto& sample : active->samples) {
      release(sample.pages);
      sample.cached = 0;
    }
  }
}

int64_t Engine::num_unfinished() const {
  int64_t count = 0;
  for (const auto& waiting : waiting_) count += waiting.request.num_completions();
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
  if (std::exchange(running->paused, false)) --num_paused_;
  auto& completion = running->completion;
  for (const int32_t token : extra) {
    if (running->full()) break;
    completion.tokens.push_back(token);
    completion.mask.push_back(0);
    completion.logprobs.push_back(0);
    completion.kept_mass.push_back(1);
    completion.versions.push_back(completion.versions.back());
    if (running->stop_text) running->stop_text->skip(token);
    if (running->calls) running->calls->skip(token);
  }
  return true;
}

// Takes on what there is room for, in the order of submission: a request whose samples do not all fit is the
// last.
void Engine::take_on() {
  int64_t room = options_.max_rows;
  for (const auto& active : active_) room -= active->num_unfinished();
  while (!waiting_.empty() && room > 0 && (mixes_groups_ || active_.empty())) {
    auto& [request, submitted_s] = waiting_.front();
    room -= request.num_completions();
    active_.push_back(std::make_unique<Active>(std::move(request), submitted_s));
    waiting_.pop_front();
  }
}

std::vector<GenerationResult> Engine::take_finished() {
  std::vector<GenerationResult> results;
  std::erase_if(active_, [&](const std::unique_ptr<Active>& active) {
    if (active->num_unfinished() > 0) return false;
    GenerationResult result{.id = active->request.id};
    const auto count = static_cast<double>(active->samples.size());
    for (auto& sample : active->samples) {
      const auto later = static_cast<double>(std::max<size_t>(sample.completion.tokens.size() - 1, 1));
      result.ttft_s += (sample.first_token_s - active->submitted_s) / count;
      result.tpot_s += (sample.last_token_s - sample.first_token_s) / later / count;
      result.completions.push_back(std::move(sample.completion));
    }
    results.push_back(std::move(result));
    return true;
  });
  return results;
}

}  // namespace sluice::actors
