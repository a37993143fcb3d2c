// One step of the engine: what is fed, what is drawn from the logits that come back, and who gives up pages.
#include <algorithm>
#include <utility>

#include "actors/engine.h"
#include "actors/internal/engine_state.h"
#include "base/error.h"
#include "base/failpoint.h"

namespace sluice::actors {
namespace {

constexpr int64_t kPromptTokens = 2048;    // fed in one step beside one token a completion
constexpr int64_t kReservedTokens = 4096;  // of a completion, so that it does not move while it grows

}  // namespace

// In the order of submission, so that who is short of pages takes them from those behind.
void Engine::plan_step() {
  state_->entries.clear();
  state_->sequences.clear();
  state_->prompt_budget = kPromptTokens;
  state_->short_of_pages = false;
  propose_drafts();
  for (const auto& active : active_) {
    feed_prompt(*active);
    for (auto& sample : std::span(active->samples).first(static_cast<size_t>(active->num_started))) {
      if (sample.goes_on()) feed_sample(sample);
    }
  }
}

// For completions of which a single token is to be fed.
void Engine::propose_drafts() {
  auto& requests = state_->draft_requests;
  requests.clear();
  if (drafter_ == nullptr || !state_->decoder->rows_are_independent()) return;
  int64_t rows = 0;
  for (const auto& active : active_) {
    if (active->num_unstarted() > 0) return;
    rows += active->num_running();
  }
  if (rows > kMostRowsWithDrafts) return;
  for (const auto& active : active_) {
    const auto& request = active->request;
    for (auto& sample : active->samples) {
      const int64_t size = std::ssize(sample.completion.tokens);
      const int64_t most = std::min(options_.draft_tokens, request.sampling.max_new_tokens - size - 1);
      if (!sample.goes_on() || most <= 0 || sample.cached + 1 != sample.num_tokens()) continue;
      requests.push_back(
          {.request = request.id,
           .prompt = request.prompt,
           .output = sample.completion.tokens,
           .key = {.seed = request.seed, .group = request.group, .sample = sample.index, .position = size},
           .sampling = &active->sampling_of(sample),
           .most = most,
           .draft = &sample.draft});
    }
  }
  if (state_->draft_switch.on()) drafter_->propose(requests);
}

void Engine::feed_prompt(Active& active) {
  const int64_t left = active.prompt_size() - active.cached;
  if (!active.needs_prompt() || left == 0 || state_->prompt_budget == 0) return;
  if (active.cached == 0 && !may_begin(model::pages_for(active.prompt_size()) + 1)) return;
  const int64_t count = std::min(left, state_->prompt_budget);
  if (!make_writable(active.pages, active.cached, active.cached + count, active, nullptr)) {
    release(active.pages);
    active.cached = 0;
    return;
  }
  state_->prompt_budget -= count;
  add_entry(active, nullptr,
            std::span(active.request.prompt)
                .subspan(static_cast<size_t>(active.cached), static_cast<size_t>(count)),
            active.cached, active.pages, /*num_logits=*/count == left && active.num_unstarted() > 0 ? 1 : 0);
}

void Engine::feed_sample(Sample& sample) {
  auto& owner = *sample.owner;
  const int64_t prompt = owner.prompt_size(), total = sample.num_tokens();
  if (sample.cached == 0) {
    // It gave up its pages: from the prompt's, where they are, or from the beginning.
    const bool shares = owner.cached == prompt && !owner.pages.empty();
    if (owner.shares_again && !shares) return;
    if (!may_begin(model::pages_for(total) + 1 - (shares ? model::pages_for(prompt) : 0))) return;
    if (shares) share_prompt(sample);
  }
  const bool in_prompt = sample.cached < prompt;
  int64_t count = in_prompt ? prompt - sample.cached : total - sample.cached;
  if (count > 1) {  // computed again: a part of it in each step, as of a prompt
    count = std::min(count, state_->prompt_budget);
    if (count == 0) return;
    state_->prompt_budget -= count;
  }
  int64_t num_logits = sample.cached + count == total ? 1 : 0;
  if (!make_writable(sample.pages, sample.cached, sample.cached + count, owner, &sample)) {
    give_up(sample);
    return;
  }
  // Nobody gives up pages for a guess: one is left for each that may draft.
  const int64_t draft = std::ssize(sample.draft), may_draft = std::ssize(state_->draft_requests);
  const int64_t missing = model::pages_for(total + draft) - std::ssize(sample.pages);
  if (missing > 0 && missing + may_draft > state_->pages.num_free()) {
    sample.draft.clear();
  } else if (draft > 0) {
    make_writable(sample.pages, total, total + draft, owner, &sample);
    auto& tokens = sample.completion.tokens;
    tokens.insert(tokens.end(), sample.draft.begin(), sample.draft.end());
    count += draft;
    num_logits += draft;
    num_drafted_ += static_cast<uint64_t>(draft);
  }
  const std::span<const int32_t> tokens =
      in_prompt ? std::span<const int32_t>(owner.request.prompt).subspan(static_cast<size_t>(sample.cached))
                : std::span<const int32_t>(sample.completion.tokens)
                      .subspan(static_cast<size_t>(sample.cached - prompt));
  add_entry(owner, &sample, tokens.first(static_cast<size_t>(count)), sample.cached, sample.pages,
            num_logits);
}

void Engine::add_entry(Active& active, Sample* sample, std::span<const int32_t> tokens, int64_t cached,
                       std::span<const int32_t> pages, int64_t num_logits) {
  state_->entries.push_back({&active, sample});
  state_->sequences.push_back({.tokens = tokens,
                               .cached = cached,
                               .pages = pages,
                               .final_length = active.prompt_size() + active.request.sampling.max_new_tokens,
                               .num_logits = num_logits});
}

// Whether there are so many pages, and one more for some of those under way; who comes after one that has to
// wait waits too. With nobody under way the first one begins, and takes what it needs from those behind.
bool Engine::may_begin(int64_t num_pages) {
  int64_t holders = 0;
  for (const auto& active : active_) {
    for (const auto& sample : active->samples) holders += sample.pages.empty() ? 0 : 1;
  }
  const int64_t wanted = num_pages + holders / model::kPageTokens;
  if (holders > 0 && state_->pages.num_free() < wanted) state_->short_of_pages = true;
  return !state_->short_of_pages;
}

// Lets the places first .. end - 1 of a sequence lie in pages of its own; false when there are not enough.
bool Engine::make_writable(std::vector<int32_t>& pages, int64_t first, int64_t end, const Active& owner,
                           const Sample* sample) {
  auto& all = state_->pages;
  const auto free_page = [&] {
    while (all.num_free() == 0) {
      if (!preempt_behind(owner, sample)) return false;
    }
    return true;
  };
  for (auto i = static_cast<size_t>(first / model::kPageTokens);
       i < static_cast<size_t>(model::pages_for(end)); ++i) {
    if (i < pages.size() && !all.is_shared(pages[i])) continue;
    if (!free_page()) return false;
    if (i < pages.size() && !all.is_shared(pages[i])) continue;  // who shared it gave it up
    const int32_t page = all.take();
    if (i == pages.size()) {
      pages.push_back(page);
    } else {
      state_->decoder->copy_page(pages[i], page);
      all.release(std::exchange(pages[i], page));
    }
  }
  return true;
}

// Takes the pages of the newest completion or prompt behind this one; false when none there has any.
bool Engine::preempt_behind(const Active& owner, const Sample* sample) {
  for (auto active = active_.rbegin(); active != active_.rend(); ++active) {
    auto& candidate = **active;
    for (auto i = static_cast<size_t>(candidate.num_started); i-- > 0;) {
      auto& victim = candidate.samples[i];
      if (&candidate == &owner && sample != nullptr && victim.index <= sample->index) return false;
      if (victim.pages.empty()) continue;
      give_up(victim);
      return true;
    }
    if (&candidate == &owner) return false;
    if (candidate.pages.empty()) continue;
    release(candidate.pages);
    candidate.cached = 0;
    candidate.logits.clear();
    return true;
  }
  return false;
}

void Engine::give_up(Sample& sample) {
  release(sample.pages);
  sample.cached = 0;
  sample.draft.clear();
  ++num_preempted_;
}

void Engine::release(std::vector<int32_t>& pages) {
  for (const int32_t page : pages) state_->pages.release(page);
  pages.clear();
}

void Engine::share_prompt(Sample& sample) {
  const auto& owner = *sample.owner;
  for (const int32_t page : owner.pages) state_->pages.share(page);
  sample.pages.assign(owner.pages.begin(), owner.pages.end());
  sample.cached = owner.prompt_size();
}

// The token behind the completion, or behind `place` tokens of its draft. On any of the decoder's threads.
void Engine::draw(Sample& sample, int64_t place, std::span<float> logits) const {
  thread_local SamplerScratch scratch;
  const auto& request = sample.owner->request;
  const std::span<const int32_t> tokens = sample.completion.tokens;
  const auto before = tokens.first(tokens.size() - sample.draft.size() + static_cast<size_t>(place));
  sample.drawn[static_cast<size_t>(place)] = sample_token(
      logits,
      {.seed = request.seed, .group = request.group, .sample = sample.index, .position = std::ssize(before)},
      sample.owner->sampling_of(sample), {request.prompt, before}, scratch);
}

void Engine::commit(int64_t version) {
  for (size_t i = 0; i < state_->entries.size(); ++i) {
    const auto& [active, sample] = state_->entries[i];
    const auto& fed = state_->sequences[i];
    (sample != nullptr ? sample->cached : active->cached) += std::ssize(fed.tokens);
    if (sample != nullptr && fed.num_logits > 0) keep_drawn(*sample, fed.num_logits, version);
  }
  for (const auto& active : active_) {
    start_samples(*active, version);
    release_prompt(*active);
  }
}

// Begins the completions that there is room for, behind a prompt whose logits are there.
void Engine::start_samples(Active& active, int64_t version) {
  if (active.logits.empty()) return;
  int64_t room = options_.max_rows;
  for (const auto& other : active_) room -= other->num_running();
  for (; active.num_unstarted() > 0 && room > 0; --room) {
    auto& sample = active.samples[static_cast<size_t>(active.num_started++)];
    sample.running = true;
    const auto reserved =
        static_cast<size_t>(std::min(active.request.sampling.max_new_tokens, kReservedTokens));
    auto& completion = sample.completion;
    completion.tokens.reserve(reserved);
    completion.mask.reserve(reserved);
    completion.logprobs.reserve(reserved);
    completion.kept_mass.reserve(reserved);
    completion.versions.reserve(reserved);
    sample.pages.reserve(
        static_cast<size_t>(model::pages_for(active.prompt_size()) + model::pages_for(kReservedTokens)));
    const auto& stops = active.request.sampling.stop_strings;
    if (!stops.empty()) sample.stop_text.emplace(*tokenizer_, stops);
    if (call_made_) sample.calls.emplace(*tokenizer_);
    share_prompt(sample);
    sample.drawn.resize(static_cast<size_t>(options_.draft_tokens) + 1);
    sample.draft.reserve(static_cast<size_t>(options_.draft_tokens));
    auto logits = active.logits;
    draw(sample, 0, logits);
    keep_token(sample, sample.drawn.front(), version);
  }
}

// Unless somebody waits for it.
void Engine::release_prompt(Active& active) {
  const auto waits = [](const Sample& sample) { return sample.running && sample.cached == 0; };
  active.shares_again = active.shares_again && std::ranges::any_of(active.samples, waits);
  if (active.needs_prompt()) return;
  release(active.pages);
  active.logits = {};
}

// The draft as far as the policy drew the same, and the token it drew behind that.
void Engine::keep_drawn(Sample& sample, int64_t num_logits, int64_t version) {
  auto& tokens = sample.completion.tokens;
  tokens.resize(tokens.size() - sample.draft.size());
  for (int64_t i = 0; i < num_logits && sample.goes_on(); ++i) {
    const auto& drawn = sample.drawn[static_cast<size_t>(i)];
    keep_token(sample, drawn, version);
    if (i + 1 == num_logits || sample.draft[static_cast<size_t>(i)] != drawn.token) break;
    ++num_accepted_;
  }
  sample.cached = sample.num_tokens() - 1;
  sample.draft.clear();
}

void Engine::keep_token(Sample& sample, const SampledToken& drawn, int64_t version) {
  auto& completion = sample.completion;
  sample.last_token_s = seconds();
  if (completion.tokens.empty()) sample.first_token_s = sample.last_token_s;
  completion.tokens.push_back(drawn.token);
  completion.mask.push_back(1);
  completion.logprobs.push_back(static_cast<float>(injected(Failpoint::Logprob).value_or(drawn.logprob)));
  completion.kept_mass.push_back(drawn.kept_mass);
  completion.versions.push_back(version);
  ++num_tokens_;
  auto call = sample.calls ? sample.calls->push(drawn.token) : std::nullopt;
  if (stop_ids_.contains(drawn.token)) {
    end_sample(sample, buffers::FinishReason::Stop);
  } else if (sample.stop_text && sample.stop_text->push(drawn.token)) {
    end_sample(sample, buffers::FinishReason::StopString);
  } else if (sample.full()) {
    end_sample(sample, buffers::FinishReason::Length);
  } else if (call) {
    sample.paused = true;
    ++num_paused_;
    call_made_(sample.owner->request, sample.index, *std::move(call));
  }
}

void Engine::end_sample(Sample& sample, buffers::FinishReason reason) {
  sample.completion.finish = reason;
  sample.running = false;
  sample.stop_text.reset();
  sample.calls.reset();
  release(sample.pages);
  ++sample.owner->num_finished;
  if (completion_ended_) completion_ended_(sample.owner->request, sample.index, sample.completion);
  if (drafter_ != nullptr) drafter_->forget(sample.owner->request.id, sample.index);
}

}  // namespace sluice::actors
