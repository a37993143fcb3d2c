#include "recipes/internal/rank_spec.h"

#include "base/error.h"

namespace sluice::recipes::internal {

RankSpec read_ranks(const Json& json) {
  return {.count = json.at("ranks"),
          .timeout_ms = static_cast<Millis>(json.at("rank_timeout_s").get<double>() * 1000.0)};
}

void check_ranks(const StageSpec& stage, int64_t count) {
  require<UsageError>(count == 1 || stage.trains(), "stage ", stage.name, ": ", count,
                      " ranks are for stages that train; one of kind ", stage.use,
                      " has one, learner.ranks = 1");
}

}  // namespace sluice::recipes::internal
