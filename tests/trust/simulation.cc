#include "tests/trust/simulation.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "actors/internal/learner_link.h"
#include "base/error.h"
#include "buffers/group_id.h"
#include "learner/internal/rollout_server_impl.h"
#include "tests/trust/sim_disk.h"

namespace sluice::trust {
namespace {

using buffers::RolloutGroup;
using transport::Frame;
using transport::FrameType;
using Impl = learner::RolloutServer::Impl;

constexpr int64_t kActors = 3, kPerStep = 4, kSteps = 12, kStaleness = 1, kCheckpointEvery = 3;
constexpr Millis kLeaseMs = 3'000, kActorTimeoutMs = 4'000, kTickMs = 40;
constexpr double kLoseFrame = 0.05, kDoubleFrame = 0.05, kCrash = 0.006, kRestart = 0.06;

// What is not kept.
struct Violation : Error {
  explicit Violation(const std::string& message) : Error(message) {}
};
template <class... Parts>
void promise(bool kept, const Parts&... parts) {
  require<Violation>(kept, parts...);
}

// What an actor samples for a group with these weights, as two tokens.
std::pair<int32_t, int32_t> sampled(uint64_t group, uint64_t weights) {
  const uint64_t hash = mixed(weights, group);
  return {static_cast<int32_t>(hash & 0xffffff), static_cast<int32_t>(hash >> 24 & 0xffffff)};
}

// Frames under way, in no order.
struct Packet {
  int64_t actor = 0;  // who sends or is to get it
  uint64_t incarnation = 0;
  bool to_learner = false;
  uint64_t epoch = 0;  // of the learner's process
  Frame frame;
};

class Network {
 public:
  explicit Network(SimRandom& random) : random_(random) {}

  void send(Packet packet) {
    if (faulty && random_.chance(kLoseFrame)) {
      ++lost;
      return;
    }
    if (faulty && random_.chance(kDoubleFrame)) packets_.push_back(packet);
    packets_.push_back(std::move(packet));
  }
  // The next one; any of them while there are faults.
  std::optional<Packet> take() {
    if (packets_.empty()) return std::nullopt;
    const auto at = packets_.begin() + (faulty ? random_.below(std::ssize(packets_)) : 0);
    auto packet = std::move(*at);
    packets_.erase(at);
    return packet;
  }

  bool faulty = true;
  int64_t lost = 0;

 private:
  SimRandom& random_;
  std::deque<Packet> packets_;
};

std::string address_of(int64_t actor, uint64_t incarnation) {
  return std::to_string(actor) + "." + std::to_string(incarnation);
}

class SimRouter final : public transport::Router {
 public:
  SimRouter(Network& network, uint64_t epoch) : network_(network), epoch_(epoch) {}

  std::optional<Received> receive(Millis) override {
    if (inbox.empty()) return std::nullopt;
    auto received = std::move(inbox.front());
    inbox.pop_front();
    return received;
  }
  bool send(const std::string& peer, Frame frame) override {
    const auto dot = peer.find('.');
    network_.send({.actor = std::stoll(peer.substr(0, dot)),
                   .incarnation = std::stoull(peer.substr(dot + 1)),
                   .to_learner = false,
                   .epoch = epoch_,
                   .frame = std::move(frame)});
    return true;
  }
  int64_t num_rejected() const override { return 0; }

  std::deque<Received> inbox;

 private:
  Network& network_;
  const uint64_t epoch_;
};

class SimDealer final : public transport::Dealer {
 public:
  SimDealer(Network& network, int64_t actor, uint64_t incarnation)
      : network_(network), actor_(actor), incarnation_(incarnation) {}

  std::optional<Frame> receive(Millis) override {
    if (inbox.empty()) return std::nullopt;
    auto frame = std::move(inbox.front());
    inbox.pop_front();
    return frame;
  }
  bool send(Frame frame, Millis) override {
    network_.send(
        {.actor = actor_, .incarnation = incarnation_, .to_learner = true, .frame = std::move(frame)});
    return true;
  }

  std::deque<Frame> inbox;

 private:
  Network& network_;
  const int64_t actor_;
  const uint64_t incarnation_;
};

// Syncs when the simulation says so.
class SimKeeper final : public actors::GroupKeeper {
 public:
  explicit SimKeeper(SimFile& file) : spool_(std::make_unique<SimLogFile>(file), "simulated") {}

  buffers::Spool::Left take_left() override { return spool_.take_left(); }
  void keep(uint64_t sequence, const std::string& group) override {
    spool_.append(group);
    written_ = sequence;
    groups_.push_back(buffers::decode_group(group).group);
  }
  uint64_t kept() override { return kept_; }
  void forget_all(int64_t history) override { spool_.clear(history); }
  bool full() const override { return false; }

  // The groups that are safe from now on.
  std::vector<uint64_t> sync() {
    spool_.sync();
    kept_ = written_;
    return std::exchange(groups_, {});
  }

 private:
  buffers::Spool spool_;
  std::vector<uint64_t> groups_;  // written and not yet safe
  uint64_t written_ = 0, kept_ = 0;
};

transport::Identity identity(const std::string& role, const std::string& name, uint64_t incarnation) {
  return {.run = "simulated",
          .tokenizer_hash = "t",
          .model_hash = "m",
          .role = role,
          .name = name,
          .incarnation = incarnation,
          .pid = 1};
}

// An actor's process.
class SimActor {
 public:
  SimActor(Network& network, const Clock& clock, SimFile& spool, int64_t index, uint64_t incarnation)
      : clock_(clock), index_(index), incarnation_(incarnation) {
    auto dealer = std::make_unique<SimDealer>(network, index, incarnation);
    dealer_ = dealer.get();
    auto keeper = std::make_unique<SimKeeper>(spool);
    keeper_ = keeper.get();
    link_.emplace(actors::RolloutActorOptions{.address = "simulated",
                                              .identity = identity("actor", "actor-" + std::to_string(index),
                                                                   incarnation),
                                              .heartbeat_ms = 500,
                                              .connect_timeout_ms = 1'000'000,
                                              .silence_ms = 1'000'000},
                  std::move(dealer), std::move(keeper), clock);
  }

  // As RolloutActor::receive().
  void listen() {
    while (const auto frame = link_->next(
               {.credit = std::max<int64_t>(0, 3 - std::ssize(leases_)), .leases = std::ssize(leases_)}, 0)) {
      if (frame->type == FrameType::Welcome) {
        leases_.clear();
        versions_.clear();
      } else if (frame->type == FrameType::Weights) {
        const auto announcement = transport::decode_announcement(frame->payload);
        versions_[announcement.version] = announcement.bytes;
      } else if (frame->type == FrameType::Lease) {
        take_on(buffers::decode_lease(frame->payload));
      }
    }
  }

  // Finishes the first lease whose weights are there.
  void work() {
    for (auto lease = leases_.begin(); lease != leases_.end(); ++lease) {
      const auto version = find_version(*lease);
      if (version == versions_.end()) continue;
      link_->send_group(answer(*lease, version->first, version->second));
      leases_.erase(lease);
      return;
    }
    // One that waits too long for weights gives up, as the real one does.
    stuck_ = !leases_.empty() && clock_.now_ms() - leases_.front().lease_ms > 20'000;
  }
  bool stuck() const { return stuck_; }

  std::vector<uint64_t> sync() { return keeper_->sync(); }
  void arrives(Frame frame) { dealer_->inbox.push_back(std::move(frame)); }
  uint64_t incarnation() const { return incarnation_; }

 private:
  std::map<int64_t, uint64_t>::const_iterator find_version(const buffers::Lease& lease) const {
    if (lease.exact_version) return versions_.find(lease.version);
    return versions_.empty() || versions_.rbegin()->first < lease.version ? versions_.end()
                                                                          : std::prev(versions_.end());
  }

  void take_on(buffers::Lease lease) {
    if (link_->has_unacknowledged(lease.group)) return link_->send_again(lease.group);
    lease.lease_ms = clock_.now_ms();  // when it came
    for (auto& other : leases_) {
      if (other.group != lease.group) continue;
      other = lease;
      return;
    }
    leases_.push_back(lease);
  }

  static RolloutGroup answer(const buffers::Lease& lease, int64_t version, uint64_t weights) {
    RolloutGroup group{.group = lease.group, .attempt = lease.attempt, .step = lease.step, .prompt = {1}};
    group.prompt_text = lease.row.prompt;
    const auto [first, second] = sampled(lease.group, weights);
    buffers::Completion completion;
    completion.tokens = {first, second};
    completion.mask = {1, 1};
    completion.logprobs = {-0.5f, -0.5f};
    completion.kept_mass = {1, 1};
    completion.versions = {version, version};
    completion.outcomes = {rewards::RewardOutcome::scored(1.0)};
    group.completions.push_back(std::move(completion));
    return group;
  }

  const Clock& clock_;
  const int64_t index_;
  const uint64_t incarnation_;
  SimDealer* dealer_ = nullptr;  // the link's
  SimKeeper* keeper_ = nullptr;  // likewise
  std::optional<actors::LearnerLink> link_;
  std::deque<buffers::Lease> leases_;
  std::map<int64_t, uint64_t> versions_;  // to the weights, which stand where their size would
  bool stuck_ = false;
};

struct SimCheckpoint {
  int64_t step = 0;
  std::map<int64_t, uint64_t> versions;  // those that leases may name, the newest its own
};

// The learner's process: the rollout server and a training loop of four events a step.
class SimLearner {
 public:
  SimLearner(Network& network, const Clock& clock, SimFile& journal, const SimCheckpoint& from,
             bool deterministic, uint64_t epoch)
      : options_{.journal = "simulated",
                 .ledger = {.prompts_per_step = kPerStep,
                            .total_steps = kSteps,
                            .staleness = kStaleness,
                            .exact_versions = deterministic,
                            .lease_ms = kLeaseMs,
                            .max_attempts = 1'000},
                 .identity = identity("learner", "learner-0", epoch),
                 .min_scored = 1,
                 .reward_weights = {1.0},
                 .limits = {.max_samples = 1, .max_tokens = 16, .vocab_size = 1 << 24},
                 .actor_timeout_ms = kActorTimeoutMs},
        router_(network, epoch),
        epoch_(epoch),
        step_(from.step),
        versions_(from.versions) {
    impl_.emplace(
        options_, &make_lease, learner::RolloutEvents(),
        buffers::recover(options_.ledger, std::make_unique<SimLogFile>(journal), "simulated", from.step),
        router_, clock);
    for (const auto& [version, weights] : versions_) publish(version, weights);
    impl_->start();
  }

  void round() { impl_->round(); }
  void arrives(const std::string& peer, Frame frame) { router_.inbox.push_back({peer, std::move(frame)}); }
  uint64_t epoch() const { return epoch_; }
  Impl& impl() { return *impl_; }
  bool done() const { return step_ == kSteps && !batch_; }
  int64_t step() const { return step_; }

  // Goes one event on: a batch is fixed, learned from, told of, published. Tells what was learned.
  struct Learned {
    int64_t step = 0;
    uint64_t weights = 0;
    std::vector<uint64_t> groups;
  };
  std::optional<Learned> train() {
    impl_->rethrow();
    if (!batch_) {
      if (step_ == kSteps) return std::nullopt;
      auto ids = impl_->compose(step_);
      if (ids) batch_ = impl_->begin_step(step_, *std::move(ids));
      return std::nullopt;
    }
    if (!learned_) {
      learned_ = versions_.rbegin()->second;
      for (const auto& group : *batch_) learned_ = mixed(*learned_, contents_of(group));
      Learned learned{.step = step_, .weights = *learned_, .groups = {}};
      for (const auto& group : *batch_) learned.groups.push_back(group.group);
      return learned;
    }
    if (!told_) {
      impl_->end_step(step_, {});
      told_ = true;
      return std::nullopt;
    }
    ++step_;
    versions_[step_] = *learned_;
    versions_.erase(versions_.begin(), versions_.lower_bound(step_ - kStaleness));
    publish(step_, *learned_);
    impl_->oldest_live();
    batch_.reset();
    learned_.reset();
    told_ = false;
    return std::nullopt;
  }

  // One for now, if now is between two steps.
  std::optional<SimCheckpoint> checkpoint() {
    if (batch_) return std::nullopt;
    impl_->journal.sync();
    return SimCheckpoint{step_, versions_};
  }

 private:
  static buffers::Lease make_lease(const buffers::Ledger::Grant& grant) {
    buffers::Lease lease;
    lease.num_samples = 1;
    lease.seed = 1;
    lease.sampling.max_new_tokens = 2;
    lease.row.prompt = "prompt " + std::to_string(grant.group);
    lease.row.file = "rows.jsonl";
    lease.row.line = static_cast<int64_t>(grant.group) + 1;
    return lease;
  }

  uint64_t contents_of(const RolloutGroup& group) const {
    uint64_t hash = group.group;
    for (const auto& completion : group.completions) {
      for (const int32_t token : completion.tokens) hash = mixed(hash, static_cast<uint64_t>(token));
    }
    return hash;
  }

  void publish(int64_t version, uint64_t weights) {
    impl_->published({.version = version,
                      .pid = 1,
                      .fd = 1,
                      .bytes = weights,
                      .layout = "simulated",
                      .id = std::string(32, 'a')});
  }

  const learner::RolloutServerOptions options_;
  SimRouter router_;
  const uint64_t epoch_;
  std::optional<Impl> impl_;
  int64_t step_;
  std::map<int64_t, uint64_t> versions_;
  std::optional<std::vector<RolloutGroup>> batch_;  // of step_, while it is learned from
  std::optional<uint64_t> learned_;                 // the weights after it
  bool told_ = false;
};

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
