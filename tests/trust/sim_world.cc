#include "tests/trust/sim_world.h"

#include <algorithm>
#include <memory>
#include <sstream>
#include <utility>

#include "buffers/spool.h"

namespace sluice::trust {
namespace {

constexpr Millis kTickMs = 40;  // an event is less than that after the one before

}  // namespace

SimWorld::SimWorld(const SimTask& task, SimRandom& random, SimCounts& counts)
    : task_(task), random_(random), counts_(counts), oracle_(task), network_(random, now_) {
  network_.on_lease = [this](int64_t to, uint64_t incarnation, uint64_t group) {
    oracle_.leases(to, incarnation, group);
  };
}

void SimWorld::pass_time() {
  const Millis ms = random_.below(kTickMs);
  now_ += ms;
  for (int64_t process = 0; process < kProcesses; ++process) {
    auto& its = machine(process);
    its.clock.stands_still = now_ < its.clock_stops_until;
    its.clock.pass(ms);
    if (!its.dies_at || now_ < *its.dies_at) continue;
    its.dies_at.reset();
    kill(process, /*power=*/false);
  }
}

bool SimWorld::is_up(int64_t process) const {
  return process == kLearner ? learner_.has_value() : actors_[static_cast<size_t>(process)].has_value();
}

// What a process does, if it lives to the end of it.
template <class Act>
void SimWorld::attempt(int64_t process, Act act) {
  try {
    act();
  } catch (const Died&) {
    ++counts_.at("deaths_inside");
    kill(process, /*power=*/random_.chance(0.5));
  }
}

template <class Act>
void SimWorld::on(int64_t process, Act act) {
  if (is_up(process) && now_ >= machine(process).frozen_until) attempt(process, act);
}

void SimWorld::start_processes(double chance, double damaged) {
  for (int64_t process = 0; process < kProcesses; ++process) {
    if (is_up(process) || now_ < machine(process).down_until || !random_.chance(chance)) continue;
    attempt(process, [&] { process == kLearner ? start_learner(damaged) : start_actor(process); });
  }
}

void SimWorld::start_learner(double damaged) {
  if (random_.chance(damaged) && checkpoints_.damage()) ++counts_.at("checkpoints_damaged");
  network_.epoch = ++incarnations_[kLearner];
  auto& its = machine(kLearner);
  learner_.emplace(task_, network_, its.clock, its.file, checkpoints_.newest(), network_.epoch);
  oracle_.check_start(learner_->impl(), spooled());
}

void SimWorld::start_actor(int64_t i) {
  const auto incarnation = ++incarnations_[static_cast<size_t>(i)];
  auto& its = machine(i);
  oracle_.actor_starts(i, incarnation);
  actor(i).emplace(task_, network_, its.clock, its.file, i, incarnation);
  counts_.at("groups_taken_over") += std::ssize(groups_in(its.file));
}

void SimWorld::kill(int64_t process, bool power) {
  auto& its = machine(process);
  its.frozen_until = 0;
  if (process == kLearner) {
    learner_.reset();
    network_.epoch = 0;
    for (auto& actor : actors_) {
      if (actor) actor->loses_learner();
    }
  } else {
    actor(process).reset();
    oracle_.actor_ends(process);
  }
  if (power) its.file.lose_power(random_);
}

void SimWorld::act() {
  const int64_t i = random_.below(kActors);
  switch (random_.below(8)) {
    case 0:
    case 1:
      for (int64_t frames = 1 + random_.below(4); frames > 0; --frames) deliver();
      return;
    case 2:
      return on(kLearner, [this] { serve(); });
    case 3:
      return on(kLearner, [this] { train(); });
    case 4:
    case 5:
      return on(i, [&] { actor(i)->listen(); });
    default:
      on(i, [&] { work(i); });
      if (random_.chance(0.7)) sync(random_.below(kActors));
  }
}

void SimWorld::deliver() {
  auto packet = network_.take();
  if (!packet || packet->epoch != network_.epoch) return;
  if (packet->to_learner) {
    return learner_->arrives(address_of(packet->actor, packet->incarnation), std::move(packet->frame));
  }
  auto& to = actor(packet->actor);
  if (to && to->incarnation() == packet->incarnation) to->arrives(std::move(packet->frame));
}

void SimWorld::serve() {
  const auto duplicates = learner_->impl().ledger.duplicates();
  learner_->round();
  counts_.at("groups_twice") += learner_->impl().ledger.duplicates() - duplicates;
  Oracle::check_law(learner_->impl().ledger);
}

void SimWorld::train() {
  if (learner_->wants_back()) return go_back();
  const auto learned = learner_->train();
  Oracle::check_law(learner_->impl().ledger);
  if (learned) {
    ++counts_.at("steps_learned");
    return oracle_.learned(*learned);
  }
  const int64_t step = learner_->step();
  if (step % kCheckpointEvery == 0 && step > checkpoints_.newest().step) learner_->save(checkpoints_);
}

void SimWorld::go_back() {
  oracle_.goes_back(learner_->saved(), learner_->impl().ledger);
  learner_->go_back();
  oracle_.went_back();
  ++counts_.at("times_back");
  kill(kLearner, /*power=*/false);  // it ends by itself
}

void SimWorld::work(int64_t i) {
  actor(i)->work();
  if (!actor(i)->killed() && !actor(i)->stuck()) return;
  ++counts_.at(actor(i)->killed() ? "actors_killed" : "actors_stuck");
  kill(i, /*power=*/false);
}

void SimWorld::sync(int64_t i) {
  on(i, [&] {
    const auto groups = actor(i)->sync();
    oracle_.safe(actor(i)->history(), groups);
  });
}

std::vector<uint64_t> SimWorld::groups_in(SimFile file) {
  file.dies_after.reset();  // a copy: nobody has it open
  std::vector<uint64_t> groups;
  for (const auto& bytes : buffers::Spool(std::make_unique<SimLogFile>(file), "copy").take_left().groups) {
    groups.push_back(buffers::decode_group(bytes).group);
  }
  return groups;
}

std::set<uint64_t> SimWorld::spooled() const {
  std::set<uint64_t> groups;
  for (int64_t i = 0; i < kActors; ++i) {
    const auto its = groups_in(machines_[static_cast<size_t>(i)].file);
    groups.insert(its.begin(), its.end());
  }
  return groups;
}

void SimWorld::check_end() {
  const auto& ledger = learner_->impl().ledger;
  oracle_.check_end(ledger, spooled());
  for (const auto& [reason, count] : ledger.reasons()) {
    for (const auto& [begins, name] : {std::pair("no spread", "groups_without_spread"),
                                       {"stale", "groups_stale"},
                                       {"too few scored", "groups_unscored"},
                                       {"no result after", "groups_given_up"},
                                       {"simulated poison", "groups_poisoned"}}) {
      if (reason.starts_with(begins)) counts_.at(name) += count;
    }
  }
}

std::string SimWorld::who_waits() const {
  std::ostringstream out;
  for (int64_t process = kLearner; process >= 0; --process) {
    const auto& its = machines_[static_cast<size_t>(process)];
    out << (process == kLearner ? "learner" : "actor-" + std::to_string(process)) << ' ';
    if (!is_up(process)) {
      out << "is down";
    } else {
      if (now_ < its.frozen_until) out << "is frozen, ";
      out << (process == kLearner ? learner_->describe() : actors_[static_cast<size_t>(process)]->describe());
    }
    out << "; ";
  }
  out << network_.num_under_way() << " frames are under way";
  return out.str();
}

}  // namespace sluice::trust
