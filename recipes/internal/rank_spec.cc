#include "recipes/internal/rank_spec.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/json.h"

namespace sluice::recipes::internal {

RankSpec read_ranks(const Json& json) {
  return {.count = json.at("ranks"),
          .threads = json_member_or<int64_t>(json, "threads", 0, "learner"),
          .timeout_ms = static_cast<Millis>(json.at("rank_timeout_s").get<double>() * 1000.0)};
}

void check_ranks(const StageSpec& stage, int64_t count) {
  require<UsageError>(count == 1 || stage.trains(), "stage ", stage.name, ": ", count,
                      " ranks are for stages that train; one of kind ", stage.use,
                      " has one, learner.ranks = 1");
}

int threads_of_rank(const StageSpec& stage, int64_t count) {
  if (stage.ranks.threads > 0) return static_cast<int>(stage.ranks.threads);
  const int64_t cores = std::thread::hardware_concurrency();
  return static_cast<int>(std::max<int64_t>(1, cores / count));
}

}  // namespace sluice::recipes::internal
