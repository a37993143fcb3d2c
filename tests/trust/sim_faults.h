// What breaks in a run, how often, and to whom: drawn from the seed before it begins.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "tests/trust/sim_random.h"
#include "tests/trust/sim_world.h"

namespace sluice::trust {

enum class Fault {
  Crash,        // a process is gone
  PowerCut,     // and with it what its disk was not told to keep
  Blackout,     // all processes at once, and what no disk was told to keep
  DeathInside,  // it dies in the midst of one of its next writes or syncs
  Freeze,       // it stands still for a while
  Partition,    // an actor is not heard, does not hear, or both
  ClockJump,    // a clock goes forward at once
  ClockStop,    // a clock stands still for a while
  Swizzle,      // some go down one after the other, and come back in another order
};

struct FaultPlan {
  int64_t events = 0;  // after so many all that broke is mended, and nothing breaks any more
  double share = 0;    // of the events that break something
  std::vector<Fault> kinds;
  double loses = 0.05, doubles = 0.05;  // of the frames
  double restart = 0.06;                // chance at each event that what is down comes back
  double damage = 0.2;                  // that the learner finds the last checkpoint damaged when it starts
  bool bursts = false;                  // much breaks at once, and then nothing for a while
  std::optional<int64_t> unlucky = {};  // the process to which nearly all of it happens
  std::optional<int64_t> cut_off = {};  // an actor that is out of reach as long as anything breaks
  std::vector<int64_t> gone = {};       // actors that are never mended

  static FaultPlan even(SimRandom& random);    // for long
  static FaultPlan uneven(SimRandom& random);  // rarely or often, here more than there, for a part of the run
};

class Faults {
 public:
  // All of them outlive it.
  Faults(const FaultPlan& plan, SimWorld& world, SimRandom& random, SimCounts& counts);

  // At each event; by chance.
  void strike();
  // From here on all is well.
  void mend();

 private:
  void strike(Fault fault);
  void swizzle();
  int64_t a_process();
  Millis a_while();

  const FaultPlan& plan_;
  SimWorld& world_;
  SimRandom& random_;
  SimCounts& counts_;
  Millis burst_until_ = 0;
};

}  // namespace sluice::trust
