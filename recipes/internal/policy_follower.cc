#include "recipes/internal/policy_follower.h"

#include <string>
#include <utility>

#include "base/clock.h"
#include "base/pulse.h"
#include "recipes/internal/policy_trainer.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_ranks.h"
#include "recipes/internal/step_clock.h"

namespace sluice::recipes {

int follow_policy_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                        transport::Collective& ranks) {
  const auto start = find_start(run, recipe, stage, ranks);
  PolicyTrainer trainer(run, recipe, stage, start, ranks);
  const SteadyClock clock;
  internal::StepClock step_clock(clock);
  for (int64_t step = start.stage_step;;) {
    now_doing(stage.name + " step " + std::to_string(step + 1) + ": waits for rank 0");
    auto order = take_order(ranks);
    step_clock.ends("wait");
    switch (order.kind) {
      case Order::Kind::Wait:
        break;
      case Order::Kind::Learn: {
        now_doing(stage.name + " step " + std::to_string(step + 1) + ": learns");
        auto plan = trainer.plan(step, std::move(order.groups));
        step_clock.ends("batch");
        auto metrics = trainer.learn(plan);
        static_cast<void>(trainer.whole_weights());  // which rank 0 publishes
        step_clock.ends("train");
        step_clock.report(++step, metrics);
        break;
      }
      case Order::Kind::Save:
        now_doing(stage.name + ": waits for the checkpoint of rank 0");
        trainer.prepare_checkpoint(step);
        static_cast<void>(trainer.whole_weights());
        ranks.meet();
        step_clock.ends("save");
        break;
      case Order::Kind::End:
        return static_cast<int>(order.status);
    }
  }
}

}  // namespace sluice::recipes
