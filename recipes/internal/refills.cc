#include "recipes/internal/refills.h"

#include "base/error.h"

namespace sluice::recipes::internal {

using learner::RefillFallback;

RefillFallback read_refill_fallback(const Json& rollout) {
  const Json& value = rollout.at("refill_fallback");
  if (value == "shrink") return RefillFallback::Shrink;
  return value == "stop" ? RefillFallback::Stop : RefillFallback::Keep;
}

void check_refills(const StageSpec& stage) {
  require<UsageError>(stage.rollout.refills == 0 || stage.rollout.group_size > 1, "stage ", stage.name,
                      ": rollout.refills ", stage.rollout.refills,
                      " drops groups whose rewards are all equal, which a group of one (rollout.group_size) "
                      "cannot show; take rollout.refills = 0");
}

std::string refills_in_words(const RolloutSpec& rollout) {
  if (rollout.refills == 0) return "";
  std::string words = "; groups of equal rewards dropped, up to " + std::to_string(rollout.refills) +
                      (rollout.refills == 1 ? " other prompt" : " other prompts") +
                      " in place of each, then ";
  switch (rollout.refill_fallback) {
    case RefillFallback::Keep:
      return words + "the last kept";
    case RefillFallback::Shrink:
      return words + "a shorter batch";
    case RefillFallback::Stop:
      return words + "the run stopped";
  }
  return words;
}

}  // namespace sluice::recipes::internal
