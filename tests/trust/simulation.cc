#include "tests/trust/simulation.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tests/trust/sim_actor.h"
#include "tests/trust/sim_learner.h"

namespace sluice::trust {
namespace {

constexpr int64_t kActors = 3, kCheckpointEvery = 3;
constexpr Millis kTickMs = 40;
constexpr double kCrash = 0.006, kRestart = 0.06;

// What is not kept.
struct Violation : Error {
  explicit Violation(const std::string& message) : Error(message) {}
};
template <class... Parts>
void promise(bool kept, const Parts&... parts) {
  require<Violation>(kept, parts...);
}

class Simulation {
 public:
  explicit Simulation(const SimOptions& options)
      : options_(options),
        random_(options.seed),
        network_(random_),
        spools_(kActors),
        incarnations_(kActors) {
    checkpoints_.push_back({.step = 0, .versions = {{0, first_weights()}}});
  }

  SimReport run() {
    try {
      for (; report_.events < options_.most_events; ++report_.events) {
        network_.faulty = report_.events < options_.faulty_events;
        if (learner_ && learner_->done() && !network_.faulty) break;
        event();
      }
      promise(learner_ && learner_->done(), "not all was trained after ", report_.events, " events: step ",
              learner_ ? learner_->step() : -1, " of ", kSteps);
      check_end();
    } catch (const Error& error) {
      report_.violation = error.what();
    }
    report_.frames_lost = network_.lost;
    return report_;
  }

 private:
  static uint64_t first_weights() { return 0x5eed; }

  void event() {
    clock_.advance(random_.below(kTickMs));
    if (network_.faulty && random_.chance(kCrash)) return crash();
    if (!learner_ && (!network_.faulty || random_.chance(kRestart))) start_learner();
    for (int64_t i = 0; i < kActors; ++i) {
      if (!actor(i) && (!network_.faulty || random_.chance(kRestart))) start_actor(i);
    }
    switch (random_.below(6)) {
      case 0:
      case 1:
        deliver();
        break;
      case 2:
        if (learner_) serve();
        break;
      case 3:
        if (learner_) train();
        break;
      case 4:
        on_actor([](SimActor& actor) { actor.listen(); });
        break;
      default:
        on_actor([](SimActor& actor) { actor.work(); });
        sync_a_spool();
    }
  }

  std::optional<SimActor>& actor(int64_t i) { return actors_[static_cast<size_t>(i)]; }

  template <class Act>
  void on_actor(Act act) {
    auto& one = actor(random_.below(kActors));
    if (!one) return;
    act(*one);
    if (one->stuck()) one.reset();
  }

  void sync_a_spool() {
    const int64_t i = random_.below(kActors);
    if (!actor(i) || random_.chance(0.3)) return;
    for (const auto group : actor(i)->sync()) safe_.insert(group);
  }

  void deliver() {
    auto packet = network_.take();
    if (!packet) return;
    if (packet->to_learner) {
      if (learner_)
        learner_->arrives(address_of(packet->actor, packet->incarnation), std::move(packet->frame));
      return;
    }
    auto& to = actor(packet->actor);
    if (!to || to->incarnation() != packet->incarnation) return;
    // What an earlier process of the learner sent comes no more: its connection is gone.
    if (!learner_ || packet->epoch != learner_->epoch()) return;
    to->arrives(std::move(packet->frame));
  }

  void serve() {
    const auto duplicates = learner_->impl().ledger.duplicates();
    learner_->round();
    report_.duplicates += learner_->impl().ledger.duplicates() - duplicates;
    check_law();
  }

  void train() {
    const auto learned = learner_->train();
    check_law();
    if (learned) {
      check_step(*learned);
      return;
    }
    const int64_t step = learner_->step();
    if (step > checkpoints_.back().step && (step % kCheckpointEvery == 0 || step == kSteps)) {
      if (auto checkpoint = learner_->checkpoint()) {
        // It is on the disk, or the process died before: there is nothing between.
        checkpoints_.push_back(*std::move(checkpoint));
      }
    }
  }

  void check_law() {
    const auto law = learner_->impl().ledger.counts();
    promise(law.holds(), "the law is broken: ", describe(law));
  }

  // No group in two steps of the surviving history; the same weights whenever a step is computed again.
  void check_step(const SimLearner::Learned& learned) {
    history_.resize(static_cast<size_t>(learned.step));
    for (size_t s = 0; s < history_.size(); ++s) {
      for (const uint64_t group : learned.groups) {
        promise(!history_[s].contains(group), "group ", group, " is in step ", s, " and in step ",
                learned.step);
      }
    }
    history_.emplace_back(learned.groups.begin(), learned.groups.end());
    promise(history_.back().size() == learned.groups.size(), "a group is twice in step ", learned.step);
    promise(std::ssize(learned.groups) == kPerStep, "step ", learned.step, " has ", learned.groups.size(),
            " groups");
    const auto [known, fresh] = weights_.try_emplace(learned.step, learned.weights);
    promise(fresh || known->second == learned.weights, "step ", learned.step,
            " was computed again and gave other weights");
  }

  void crash() {
    const bool power = random_.chance(0.5);
    const int64_t victim = random_.below(kActors + 1);
    ++(power ? report_.power_cuts : report_.crashes);
    if (victim == kActors) {
      learner_.reset();
      if (power) journal_.lose_power(random_);
      return;
    }
    actor(victim).reset();
    if (power) spools_[static_cast<size_t>(victim)].lose_power(random_);
  }

  void start_learner() {
    learner_.emplace(network_, clock_, journal_, checkpoints_.back(), options_.deterministic, ++epoch_);
    check_law();
    check_safe();
  }

  void start_actor(int64_t i) {
    auto& spool = spools_[static_cast<size_t>(i)];
    actor(i).emplace(network_, clock_, spool, i, ++incarnations_[static_cast<size_t>(i)]);
    report_.resent += std::ssize(groups_of(spool));
  }

  static std::vector<uint64_t> groups_of(SimFile& file) {
    SimFile copy = file;
    std::vector<uint64_t> groups;
    for (const auto& bytes : buffers::Spool(std::make_unique<SimLogFile>(copy), "copy").take_left().groups) {
      groups.push_back(buffers::decode_group(bytes).group);
    }
    return groups;
  }

  // A group that an actor had on its disk is with the learner or still there: never nowhere.
  void check_safe() {
    std::set<uint64_t> held;
    for (auto& spool : spools_) {
      for (const auto group : groups_of(spool)) held.insert(group);
    }
    const auto& ledger = learner_->impl().ledger;
    for (const auto group : safe_) {
      const bool arrived = ledger.is_queued(group) || ledger.fate(group).has_value();
      promise(arrived || held.contains(group), "group ", group,
              " was safe on an actor's disk and is neither there nor with the learner");
    }
  }

  void check_end() {
    const auto& ledger = learner_->impl().ledger;
    const auto law = ledger.counts();
    promise(law.trained == kSteps * kPerStep, "at the end ", describe(law));
    check_safe();
    if (!options_.deterministic) return;
    // In order, every group from exactly the weights its lease named: what an undisturbed run ends in.
    std::vector<uint64_t> weights{first_weights()};
    for (int64_t step = 0; step < kSteps; ++step) {
      uint64_t next = weights.back();
      const uint64_t from = weights[static_cast<size_t>(std::max<int64_t>(0, step - kStaleness))];
      for (int64_t g = step * kPerStep; g < (step + 1) * kPerStep; ++g) {
        const auto [first, second] = sampled(static_cast<uint64_t>(g), from);
        uint64_t contents = mixed(static_cast<uint64_t>(g), static_cast<uint64_t>(first));
        contents = mixed(contents, static_cast<uint64_t>(second));
        next = mixed(next, contents);
      }
      weights.push_back(next);
      promise(weights_.at(step) == next, "step ", step, " gave other weights than an undisturbed run");
    }
  }

  const SimOptions options_;
  SimRandom random_;
  ManualClock clock_;
  Network network_;
  SimFile journal_;
  std::vector<SimFile> spools_;
  std::vector<uint64_t> incarnations_;
  uint64_t epoch_ = 0;
  std::vector<SimCheckpoint> checkpoints_;
  std::optional<SimLearner> learner_;  // empty while it is down
  std::array<std::optional<SimActor>, kActors> actors_;
  std::vector<std::set<uint64_t>> history_;  // the groups of each step, as far as it survives
  std::map<int64_t, uint64_t> weights_;      // after each step, whenever it was computed
  std::set<uint64_t> safe_;                  // were on an actor's disk
  SimReport report_;
};

}  // namespace

SimReport simulate(const SimOptions& options) { return Simulation(options).run(); }

}  // namespace sluice::trust
