// Proposes how completions go on, so that the policy checks several tokens in one step instead of computing
// them one by one.
//
// A draft decides nothing: the engine draws every token from the policy with the number that belongs to its
// place, and keeps a draft as far as it says the same. So completions have the same bits with drafts and
// without, which is more than the equal distribution of spec section 19; a draft that is the policy's
// likeliest token is taken as often as there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "actors/sampler.h"
#include "buffers/rollout_group.h"
#include "model/network.h"

namespace sluice::actors {

// A completion that may go on by `most` tokens.
struct DraftRequest {
  uint64_t request = 0;  // names it, with key.sample
  std::span<const int32_t> prompt, output;
  DrawKey key;  // of the token behind `output`
  const buffers::SamplingParams* sampling = nullptr;
  int64_t most = 0;
  std::vector<int32_t>* draft = nullptr;  // empty; where the proposed tokens go
};

// With more completions than these the policy has enough to do: nothing is proposed.
inline constexpr int64_t kMostRowsWithDrafts = 16;

// Not safe from several threads at once.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual void propose(std::span<const DraftRequest> requests) = 0;
  // The completion is finished.
  virtual void forget(uint64_t request, int64_t sample) = 0;
};

// What followed the last place where the prompt or the completion had the same two to four tokens as at its
// end.
std::unique_ptr<Drafter> make_lookup_drafter();
// A smaller model with the same vocabulary, frozen, which outlives this: it draws with the policy's random
// numbers, so that the two agree where their distributions do.
std::unique_ptr<Drafter> make_model_drafter(const model::Network& network, int threads);

}  // namespace sluice::actors
