#include "actors/drafter.h"

#include <algorithm>
#include <map>
#include <utility>

#include "actors/engine.h"
#include "actors/page_allocator.h"
#include "base/error.h"
#include "model/decoder.h"

namespace sluice::actors {
namespace {

class LookupDrafter : public Drafter {
 public:
  void propose(std::span<const DraftRequest> requests) override {
    for (const auto& request : requests) {
      tokens_.assign(request.prompt.begin(), request.prompt.end());
      tokens_.insert(tokens_.end(), request.output.begin(), request.output.end());
      for (int64_t length = kLongest; length >= kShortest && request.draft->empty(); --length)
        look_up(length, request);
    }
  }
  void forget(uint64_t, int64_t) override {}

 private:
  static constexpr int64_t kShortest = 2, kLongest = 4;

  void look_up(int64_t length, const DraftRequest& request) const {
    if (std::ssize(tokens_) <= length) return;
    const auto end = tokens_.end() - length;
    // Searched among what begins before the end itself; it may overlap with it.
    const auto found = std::find_end(tokens_.begin(), tokens_.end() - 1, end, tokens_.end());
    if (found == tokens_.end() - 1) return;
    // Where what followed reaches the end, it goes on with itself.
    for (auto next = static_cast<size_t>(found - tokens_.begin() + length);
         std::ssize(*request.draft) < request.most; ++next) {
      const size_t size = tokens_.size();
      request.draft->push_back(next < size ? tokens_[next] : (*request.draft)[next - size]);
    }
  }

  std::vector<int32_t> tokens_;
};

class ModelDrafter : public Drafter {
 public:
  ModelDrafter(const model::Network& network, int threads)
      : max_position_(network.config().max_position),
        num_pages_(model::pages_for(default_cache_tokens(network, kMostRowsWithDrafts))),
        pages_(num_pages_),
        decoder_(model::make_decoder(network, {.num_pages = num_pages_, .threads = threads})) {}

  void propose(std::span<const DraftRequest> requests) override {
    work_.clear();
    for (const auto& request : requests) {
      auto& state = states_[{request.request, request.key.sample}];
      std::vector<int32_t> tokens(request.prompt.begin(), request.prompt.end());
      tokens.insert(tokens.end(), request.output.begin(), request.output.end());
      const int64_t size = std::ssize(tokens);
      // What of the drafts before was not taken is fed anew.
      const auto same = std::ranges::mismatch(state.tokens, tokens).in2 - tokens.begin();
      state.cached = std::min({state.cached, static_cast<int64_t>(same), size - 1});
      state.tokens = std::move(tokens);
      if (size + request.most <= max_position_ && make_room(state, size + request.most))
        work_.push_back({&request, &state});
    }
    while (!work_.empty()) {
      step();
      std::erase_if(work_,
                    [](const Work& work) { return std::ssize(*work.request->draft) == work.request->most; });
    }
  }

  void forget(uint64_t request, int64_t sample) override {
    const auto found = states_.find({request, sample});
    if (found == states_.end()) return;
    for (const int32_t page : found->second.pages) pages_.release(page);
    states_.erase(found);
  }

 private:
  struct State {
    std::vector<int32_t> tokens;  // of the completion and its prompt, and drafts
    int64_t cached = 0;
    std::vector<int32_t> pages;
  };
  struct Work {
    const DraftRequest* request;
    State* state;
  };

  bool make_room(State& state, int64_t tokens) {
    const int64_t missing = model::pages_for(tokens) - std::ssize(state.pages);
    if (missing > pages_.num_free()) return false;
    for (int64_t i = 0; i < missing; ++i) state.pages.push_back(pages_.take());
    return true;
  }

  // One more token for each.
  void step() {
    sequences_.clear();
    for (const auto& [request, state] : work_) {
      sequences_.push_back({.tokens = std::span(state->tokens).subspan(static_cast<size_t>(state->cached)),
                            .cached = state->cached,
                            .pages = state->pages,
                            .final_length = std::ssize(request->prompt) + request->sampling->max_new_tokens,
                            .num_logits = 1});
    }
    drawn_.resize(work_.size());
    decoder_->step(sequences_, [this](size_t i, int64_t, std::span<float> logits) {
      thread_local SamplerScratch scratch;
      const auto& [request, state] = work_[i];
      auto key = request->key;
      key.position += std::ssize(*request->draft);
      const auto output = std::span<const int32_t>(state->tokens).subspan(request->prompt.size());
      drawn_[i] = sample_token(logits, key, *request->sampling, {request->prompt, output}, scratch).token;
    });
    for (size_t i = 0; i < work_.size(); ++i) {
      auto& [request, state] = work_[i];
      state->cached = std::ssize(state->tokens);
      state->tokens.push_back(drawn_[i]);
      request->draft->push_back(drawn_[i]);
    }
  }

  const int64_t max_position_, num_pages_;
  PageAllocator pages_;
  const std::unique_ptr<model::Decoder> decoder_;
  std::map<std::pair<uint64_t, int64_t>, State> states_;
  std::vector<Work> work_;
  std::vector<model::DecodeSequence> sequences_;
  std::vector<int32_t> drawn_;
};

}  // namespace

std::unique_ptr<Drafter> make_lookup_drafter() { return std::make_unique<LookupDrafter>(); }

std::unique_ptr<Drafter> make_model_drafter(const model::Network& network, int threads) {
  return std::make_unique<ModelDrafter>(network, threads);
}

}  // namespace sluice::actors
