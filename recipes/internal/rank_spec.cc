#include "recipes/internal/rank_spec.h"

#include "base/error.h"

namespace sluice::recipes::internal {

RankSpec read_ranks(const Json& json) {
  return {.count = json.at("ranks"),
          .timeout_ms = static_cast<Millis>(json.at("rank_timeout_s").get<double>() * 1000.0)};
}

void check_ranks(const StageSpec& stage, int64_t count) {
  if (count == 1) return;
  const bool shares_its_step =
      stage.role == StageRole::Policy || (stage.role == StageRole::Supervised && !stage.distill);
  require<UsageError>(shares_its_step, "stage ", stage.name, ": ", count,
                      " ranks are for grpo and its family and for supervised stages; one of kind ", stage.use,
                      " trains on one, learner.ranks = 1");
}

}  // namespace sluice::recipes::internal
