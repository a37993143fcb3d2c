// The processes of a run and the machines they are on. Something of it happens at each event; what breaks it
// stands outside (sim_faults.h).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "tests/trust/sim_actor.h"
#include "tests/trust/sim_clock.h"
#include "tests/trust/sim_disk.h"
#include "tests/trust/sim_learner.h"
#include "tests/trust/sim_network.h"
#include "tests/trust/sim_oracle.h"
#include "tests/trust/sim_random.h"
#include "tests/trust/sim_task.h"

namespace sluice::trust {

inline constexpr int64_t kLearner = kActors, kProcesses = kActors + 1;  // the actors are numbered from 0

using SimCounts = std::map<std::string, int64_t>;  // by a name that is there from the beginning

// The machine of one process, which outlives it. The times are nobody's clock.
struct SimMachine {
  SimClock clock;
  SimFile file;  // the journal, or an actor's spool
  std::optional<Millis> dies_at = {};
  Millis down_until = 0, frozen_until = 0, clock_stops_until = 0;
};

class SimWorld {
 public:
  // All of them outlive it.
  SimWorld(const SimTask& task, SimRandom& random, SimCounts& counts);

  void pass_time();
  // What is down and may come back does so, by chance. The learner may find the last checkpoint damaged.
  void start_processes(double chance, double damaged);
  // One process does one thing, or one frame arrives.
  void act();

  // Its end, if it is up. With the power goes what its disk was not told to keep.
  void kill(int64_t process, bool power);

  bool done() const { return learner_ && learner_->done(); }
  void check_end();
  // For a person who wonders why it is not done.
  std::string who_waits() const;

  SimMachine& machine(int64_t process) { return machines_[static_cast<size_t>(process)]; }
  Network& network() { return network_; }
  Millis now() const { return now_; }

 private:
  std::optional<SimActor>& actor(int64_t i) { return actors_[static_cast<size_t>(i)]; }
  bool is_up(int64_t process) const;
  template <class Act>
  void attempt(int64_t process, Act act);
  template <class Act>
  void on(int64_t process, Act act);
  void start_learner(double damaged);
  void start_actor(int64_t i);

  void deliver();
  void serve();
  void train();
  void go_back();
  void work(int64_t i);
  void sync(int64_t i);

  static std::vector<uint64_t> groups_in(SimFile file);
  std::set<uint64_t> spooled() const;

  const SimTask& task_;
  SimRandom& random_;
  SimCounts& counts_;
  Oracle oracle_;
  Millis now_ = 0;
  Network network_;
  std::array<SimMachine, kProcesses> machines_;
  std::array<uint64_t, kProcesses> incarnations_{};
  SimCheckpoints checkpoints_;
  std::optional<SimLearner> learner_;  // empty while it is down
  std::array<std::optional<SimActor>, kActors> actors_;
};

}  // namespace sluice::trust
