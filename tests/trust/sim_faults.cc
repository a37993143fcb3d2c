#include "tests/trust/sim_faults.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace sluice::trust {
namespace {

constexpr Millis kEver = std::numeric_limits<Millis>::max();

double one_of(SimRandom& random, const std::array<double, 3>& values) {
  return values[static_cast<size_t>(random.below(std::ssize(values)))];
}

// Some kinds only in each run: what always happens hides what else could (swarm testing, Groce et al. 2012).
std::vector<Fault> some_kinds(SimRandom& random) {
  std::vector<Fault> kinds;
  while (kinds.empty()) {
    for (const auto kind : {Fault::Crash, Fault::PowerCut, Fault::Blackout, Fault::DeathInside, Fault::Freeze,
                            Fault::Partition, Fault::ClockJump, Fault::ClockStop, Fault::Swizzle}) {
      if (random.chance(0.6)) kinds.push_back(kind);
    }
  }
  return kinds;
}

}  // namespace

FaultPlan FaultPlan::even(SimRandom& random) {
  return {.events = 800 + random.below(3'200), .share = 0.012, .kinds = some_kinds(random)};
}

FaultPlan FaultPlan::uneven(SimRandom& random) {
  FaultPlan plan{.events = 50 + random.below(2'000), .kinds = some_kinds(random)};
  plan.share = one_of(random, {0.004, 0.012, 0.04});
  plan.loses = one_of(random, {0.0, 0.05, 0.3});
  plan.doubles = one_of(random, {0.0, 0.05, 0.3});
  plan.restart = one_of(random, {0.01, 0.06, 0.3});
  plan.bursts = random.chance(0.3);
  if (random.chance(0.3)) plan.unlucky = random.below(kProcesses);
  if (random.chance(0.3)) plan.cut_off = random.below(kActors);
  if (random.chance(0.3)) {
    const int64_t stays = random.below(kActors);
    for (int64_t i = 0; i < kActors; ++i) {
      if (i != stays && random.chance(0.6)) plan.gone.push_back(i);
    }
  }
  return plan;
}

Faults::Faults(const FaultPlan& plan, SimWorld& world, SimRandom& random, SimCounts& counts)
    : plan_(plan), world_(world), random_(random), counts_(counts) {
  auto& network = world_.network();
  network.loses = plan_.loses;
  network.doubles = plan_.doubles;
  network.reorders = true;
  if (plan_.cut_off) network.cut(*plan_.cut_off, kEver, true, true);
  counts_.at("actors_cut_off") += plan_.cut_off ? 1 : 0;
  counts_.at("actors_gone") += std::ssize(plan_.gone);
  counts_.at("processes_unlucky") += plan_.unlucky ? 1 : 0;
}

void Faults::strike() {
  double share = plan_.share;
  if (plan_.bursts) {
    if (random_.chance(0.004)) {
      burst_until_ = world_.now() + a_while();
      ++counts_.at("bursts");
    }
    share = world_.now() < burst_until_ ? 6 * share : 0;
  }
  if (random_.chance(share)) strike(plan_.kinds[static_cast<size_t>(random_.below(std::ssize(plan_.kinds)))]);
}

void Faults::strike(Fault fault) {
  const int64_t process = a_process();
  auto& machine = world_.machine(process);
  switch (fault) {
    case Fault::Crash:
      ++counts_.at("crashes");
      return world_.kill(process, /*power=*/false);
    case Fault::PowerCut:
      ++counts_.at("power_cuts");
      return world_.kill(process, /*power=*/true);
    case Fault::Blackout:
      ++counts_.at("blackouts");
      for (int64_t each = 0; each < kProcesses; ++each) world_.kill(each, /*power=*/true);
      return;
    case Fault::DeathInside:  // counted when it comes to it
      machine.file.dies_after = random_.below(8);
      return;
    case Fault::Freeze:
      ++counts_.at("freezes");
      machine.frozen_until = world_.now() + a_while();
      return;
    case Fault::Partition: {
      ++counts_.at("partitions");
      const int64_t way = random_.below(3);
      return world_.network().cut(process % kActors, world_.now() + a_while(), way != 0, way != 1);
    }
    case Fault::ClockJump: {
      ++counts_.at("clock_jumps");
      constexpr std::array<Millis, 4> kFar{1'000, 10'000, 600'000, 86'400'000};
      return machine.clock.jump(random_.below(kFar[static_cast<size_t>(random_.below(std::ssize(kFar)))]));
    }
    case Fault::ClockStop:
      ++counts_.at("clock_stops");
      machine.clock_stops_until = world_.now() + a_while();
      return;
    case Fault::Swizzle:
      ++counts_.at("swizzles");
      return swizzle();
  }
}

// After FoundationDB's swizzle-clogging.
void Faults::swizzle() {
  for (int64_t process = 0; process < kProcesses; ++process) {
    if (random_.chance(0.3)) continue;
    auto& machine = world_.machine(process);
    machine.dies_at = world_.now() + random_.below(1'000);
    machine.down_until = world_.now() + 1'000 + random_.below(2'000);
  }
}

void Faults::mend() {
  world_.network().mend();
  for (int64_t process = 0; process < kProcesses; ++process) {
    auto& machine = world_.machine(process);
    machine.file.dies_after.reset();
    machine.dies_at.reset();
    machine.down_until = machine.frozen_until = machine.clock_stops_until = 0;
  }
  for (const int64_t actor : plan_.gone) {
    world_.machine(actor).down_until = kEver;
    world_.kill(actor, /*power=*/false);
  }
}

int64_t Faults::a_process() {
  return plan_.unlucky && random_.chance(0.8) ? *plan_.unlucky : random_.below(kProcesses);
}

// Mostly short, and now and then longer than any lease.
Millis Faults::a_while() { return random_.below(random_.chance(0.1) ? 20'000 : 2'000); }

}  // namespace sluice::trust
