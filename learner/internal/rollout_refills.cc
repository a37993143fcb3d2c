#include "base/error.h"
#include "buffers/group_id.h"
#include "learner/internal/rollout_server_impl.h"

namespace sluice::learner {

// What is decided hangs on the group alone, so that it is decided again alike after a crash: its fate may be
// lost with the end of the journal, but then it was not acknowledged and comes again.
void RolloutServer::Impl::end_without_spread(buffers::RolloutGroup group) {
  const uint64_t id = group.group;
  if (buffers::refill_of(id) == options.ledger.refills) {
    if (options.refill_fallback == RefillFallback::Keep) return admit(std::move(group));
    if (options.refill_fallback == RefillFallback::Stop) fail_without_spread(group);
  }
  ledger.drop(id, buffers::kNoSpread);
  journal.fate(id, *ledger.fate(id));
  unsynced = true;
  ended.push_back(id);
}

void RolloutServer::Impl::fail_without_spread(const buffers::RolloutGroup& group) const {
  fail<HealthError>(
      "a place in the batch of step ", group.step + 1,
      " found no prompt to learn from: ", options.ledger.refills + 1, " were tried and each time all ",
      group.completions.size(),
      " completions earned the same; take prompts that are neither too hard nor too easy, a larger "
      "rollout.group_size or more rollout.refills, or rollout.refill_fallback = \"keep\" or \"shrink\"");
}

}  // namespace sluice::learner
