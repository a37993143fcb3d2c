#include "tests/trust/simulation.h"

#include <exception>

#include "base/error.h"
#include "tests/trust/sim_faults.h"
#include "tests/trust/sim_oracle.h"
#include "tests/trust/sim_random.h"
#include "tests/trust/sim_task.h"
#include "tests/trust/sim_world.h"

namespace sluice::trust {
namespace {

// From when nothing breaks any more to the end of the run.
struct Bound {
  int64_t events;
  Millis ms;
};
constexpr Bound kSafetyBound{40'000, 1'000'000}, kLivenessBound{8'000, 160'000};

constexpr const char* kCounted[] = {
    // What broke.
    "crashes", "power_cuts", "blackouts", "deaths_inside", "freezes", "partitions", "clock_jumps",
    "clock_stops", "swizzles", "bursts", "processes_unlucky", "actors_cut_off", "actors_gone", "frames_lost",
    "frames_doubled", "frames_reordered", "checkpoints_damaged",
    // What came of it.
    "events", "steps_learned", "times_back", "actors_killed", "actors_stuck", "groups_taken_over",
    "groups_twice", "groups_without_spread", "groups_unscored", "groups_given_up", "groups_poisoned",
    "groups_stale", "longest_mending_events", "longest_mending_ms"};

SimCounts zeros() {
  SimCounts counts;
  for (const char* name : kCounted) counts[name] = 0;
  return counts;
}

class Simulation {
 public:
  explicit Simulation(const SimOptions& options)
      : bound_(options.liveness ? kLivenessBound : kSafetyBound),
        random_(options.seed),
        task_(SimTask::draw(options.seed, random_)),
        plan_(options.liveness ? FaultPlan::uneven(random_) : FaultPlan::even(random_)),
        world_(task_, random_, report_.counts),
        faults_(plan_, world_, random_, report_.counts) {}

  SimReport run() {
    try {
      break_things();
      finish();
      world_.check_end();
    } catch (const std::exception& error) {
      report_.violation = error.what();
    }
    count("frames_lost") = world_.network().num_lost;
    count("frames_doubled") = world_.network().num_doubled;
    count("frames_reordered") = world_.network().num_reordered;
    return report_;
  }

 private:
  int64_t& count(const char* name) { return report_.counts.at(name); }

  void break_things() {
    for (int64_t events = 0; events < plan_.events; ++events) {
      world_.pass_time();
      faults_.strike();
      world_.start_processes(plan_.restart, plan_.damage);
      world_.act();
    }
    count("events") += plan_.events;
  }

  void finish() {
    faults_.mend();
    const Millis mended = world_.now();
    int64_t events = 0;
    for (; !world_.done(); ++events) {
      const Millis ms = world_.now() - mended;
      if (events >= bound_.events || ms >= bound_.ms) {
        fail<Violation>(events, " events and ", ms,
                        " ms after the last fault the run has not ended: ", world_.who_waits());
      }
      world_.pass_time();
      world_.start_processes(/*chance=*/1, /*damaged=*/0);
      world_.act();
    }
    count("events") += events;
    count("longest_mending_events") = events;
    count("longest_mending_ms") = world_.now() - mended;
  }

  const Bound bound_;
  SimReport report_{.violation = "", .counts = zeros()};
  SimRandom random_;
  const SimTask task_;
  const FaultPlan plan_;
  SimWorld world_;
  Faults faults_;
};

}  // namespace

SimReport simulate(const SimOptions& options) { return Simulation(options).run(); }

}  // namespace sluice::trust
