#include "actors/rollout_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "actors/group_scorer.h"
#include "actors/internal/learner_link.h"
#include "actors/internal/policy_versions.h"
#include "actors/stop_ids.h"
#include "base/error.h"
#include "base/pulse.h"
#include "buffers/group_id.h"

namespace sluice::actors {
namespace {

using buffers::Lease;
using transport::FrameType;
using transport::MappedWeights;

constexpr Millis kIdleMs = 50;  // between two looks at `interrupted`

// Its weights are mapped ones from the first lease on: nobody writes to them, and the engine may count on it.
model::Network& ready(model::Network& network, bool int8_weights) {
  if (int8_weights) network.round_products(model::Rounding::Int8);
  if (network.device().is_cpu()) network.freeze();
  return network;
}

int64_t completions_of(const Lease& lease) { return lease.num_samples + (lease.greedy_baseline ? 1 : 0); }

class RolloutActor {
 public:
  RolloutActor(model::Network& network, const text::Tokenizer& tokenizer, const rewards::RewardMix& rewards,
               const RolloutActorOptions& options, std::unique_ptr<Drafter> drafter)
      : network_(network),
        tokenizer_(tokenizer),
        rewards_(rewards),
        options_(options),
        canaries_(options.canaries),
        link_(options,
              std::make_unique<transport::DealerSocket>(options.address,
                                                        transport::run_hash(options.identity.run)),
              options.spool.empty() ? nullptr
                                    : std::make_unique<SpoolKeeper>(options.spool, options.spool_bytes),
              clock_),
        // What the chat template adds has been in the configuration since the first checkpoint.
        engine_(ready(network, options.int8_weights), stop_ids(network.config(), &tokenizer, nullptr),
                options.engine, &tokenizer, std::move(drafter)) {}

  ActorEnd run(const std::function<bool()>& interrupted);

 private:
  struct Held {
    Lease lease;
    std::vector<int32_t> prompt;
    Millis received_at = 0;
    int64_t history = 0;  // of the run, when it was received
  };

  bool receive();
  void take_on(Lease lease);
  void start_leases();
  bool start(Held& held);
  void use(std::shared_ptr<const MappedWeights> weights);
  void go_on_with_newest();
  void let_go_of_versions();
  void finish(GenerationResult result);
  std::vector<buffers::ScorerWatch> watched(const std::vector<double>& seconds, uint64_t group);
  ActorLoad load() const;

  model::Network& network_;
  const text::Tokenizer& tokenizer_;
  const rewards::RewardMix& rewards_;
  const RolloutActorOptions options_;
  rewards::Canaries canaries_;
  const SteadyClock clock_;
  LearnerLink link_;
  PolicyVersions versions_;
  std::shared_ptr<const MappedWeights> in_use_;  // under the network, so it outlives the engine's work
  Engine engine_;
  std::deque<Held> queue_;              // not begun, in the order they came
  std::map<uint64_t, Held> under_way_;  // in the engine, by group
  int64_t group_size_ = 0;              // of the last lease
  uint64_t tokens_at_change_ = 0;       // of the engine, when weights last came between two of its steps
};

ActorEnd RolloutActor::run(const std::function<bool()>& interrupted) {
  while (!interrupted()) {
    if (engine_.idle()) {
      now_doing("waits for leases from " + options_.address);
    } else {
      beat();
    }
    if (!receive()) return ActorEnd::Stopped;
    if (options_.mix_versions) go_on_with_newest();
    start_leases();
    if (engine_.idle()) continue;
    for (auto& result : engine_.step(in_use_->version())) finish(std::move(result));
  }
  return ActorEnd::Interrupted;
}

// All that has come; waits a little when there is nothing to do. False when the learner says stop.
bool RolloutActor::receive() {
  Millis wait_ms = engine_.idle() ? kIdleMs : 0;
  while (const auto frame = link_.next(load(), wait_ms)) {
    wait_ms = 0;
    switch (frame->type) {
      case FrameType::Stop:
        return false;
      case FrameType::Welcome:
        // A learner that does not know this actor has given its leases back, and may hold other weights under
        // the same version than one before it did.
        queue_.clear();
        versions_.clear();
        break;
      case FrameType::Weights:
        versions_.announce(transport::decode_announcement(frame->payload));
        let_go_of_versions();
        break;
      default:
        take_on(buffers::decode_lease(frame->payload));
    }
  }
  return true;
}

void RolloutActor::take_on(Lease lease) {
  group_size_ = completions_of(lease);
  // A lease given again names a group that may still be here.
  if (link_.has_unacknowledged(lease.group)) return link_.send_again(lease.group);
  if (const auto found = under_way_.find(lease.group); found != under_way_.end()) {
    found->second.lease.attempt = lease.attempt;
    return;
  }
  const auto queued = std::find_if(queue_.begin(), queue_.end(),
                                   [&](const Held& held) { return held.lease.group == lease.group; });
  Held held{.lease = std::move(lease), .received_at = clock_.now_ms(), .history = link_.history()};
  held.prompt = tokenizer_.encode(held.lease.row.prompt);
  if (queued != queue_.end()) {
    *queued = std::move(held);
  } else {
    queue_.push_back(std::move(held));
  }
}

void RolloutActor::start_leases() {
  for (auto held = queue_.begin(); held != queue_.end();) {
    if (versions_.is_gone(held->lease)) {  // it came late, and is another's by now
      held = queue_.erase(held);
      continue;
    }
    if (!start(*held)) {
      ++held;
      continue;
    }
    const auto group = held->lease.group;
    under_way_.emplace(group, std::move(*held));
    held = queue_.erase(held);
  }
}

// Between two steps of the groups under way.
void RolloutActor::go_on_with_newest() {
  auto newest = versions_.newest();
  if (engine_.idle() || newest == nullptr || newest->version() <= in_use_->version()) return;
  // Some token at least of each version, however fast they come.
  if (engine_.num_tokens() == tokens_at_change_) return;
  tokens_at_change_ = engine_.num_tokens();
  use(std::move(newest));
  engine_.recompute();
}

void RolloutActor::let_go_of_versions() {
  std::set<int64_t> wanted;
  for (const auto& held : queue_) wanted.insert(held.lease.version);
  if (in_use_ != nullptr) wanted.insert(in_use_->version());
  versions_.let_go(wanted);
}

// Whether the engine has it now: one group after the other, or as many as fit if they are of the same
// version.
bool RolloutActor::start(Held& held) {
  const auto& lease = held.lease;
  const bool fits =
      engine_.mixes_groups() && engine_.num_unfinished() + completions_of(lease) <= options_.engine.max_rows;
  if (!engine_.idle() && !fits) return false;
  auto weights = versions_.find(lease);
  require(weights != nullptr || clock_.now_ms() - held.received_at < options_.silence_ms,
          options_.identity.name, ": group ", lease.group, " waited ", options_.silence_ms,
          " ms for the weights of version ", lease.version, "; ", versions_.describe());
  if (weights == nullptr) link_.miss_weights();
  if (weights == nullptr || (weights != in_use_ && !engine_.idle())) return false;
  use(std::move(weights));
  now_doing("decodes group " + buffers::group_name(lease.group) + " with version " +
            std::to_string(lease.version));
  try {
    engine_.submit({.id = lease.group,
                    .prompt = held.prompt,
                    .num_samples = lease.num_samples,
                    .greedy_too = lease.greedy_baseline,
                    .seed = lease.seed,
                    .group = lease.group,
                    .sampling = lease.sampling});
  } catch (const Error& error) {
    throw Error(lease.row.where() + ": " + error.what(), error.code());
  }
  return true;
}

void RolloutActor::use(std::shared_ptr<const MappedWeights> weights) {
  if (weights == in_use_) return;
  network_.map(weights->layout(), weights->bytes().data(), static_cast<int64_t>(weights->bytes().size()));
  in_use_ = std::move(weights);
  let_go_of_versions();
}

void RolloutActor::finish(GenerationResult result) {
  auto held = std::move(under_way_.extract(result.id).mapped());
  if (held.history != link_.history()) return;  // of weights that never were; it will be leased again
  const auto& lease = held.lease;
  const auto score = [&](std::vector<buffers::Completion>& completions) {
    return score_completions(completions, lease.row, lease.group, tokenizer_, rewards_,
                             lease.sampling.stop_strings);
  };
  std::vector<rewards::RewardOutcome> greedy;
  if (lease.greedy_baseline) {  // which is no part of the group that scorers see together
    std::vector<buffers::Completion> alone(1, std::move(result.completions.back()));
    result.completions.pop_back();
    score(alone);
    greedy = std::move(alone.front().outcomes);
  }
  const auto scorers = watched(score(result.completions), lease.group);
  link_.send_group({.group = lease.group,
                    .attempt = lease.attempt,
                    .step = lease.step,
                    .prompt = std::move(held.prompt),
                    .prompt_text = lease.row.prompt,
                    .completions = std::move(result.completions),
                    .greedy = std::move(greedy),
                    .scorers = scorers,
                    .ttft_s = result.ttft_s,
                    .tpot_s = result.tpot_s});
}

std::vector<buffers::ScorerWatch> RolloutActor::watched(const std::vector<double>& seconds, uint64_t group) {
  std::vector<buffers::ScorerWatch> scorers;
  for (const double one : seconds) scorers.push_back({.seconds = one});
  if (!canaries_.due(group)) return scorers;
  const auto errors = canaries_.errors(rewards_);
  for (size_t k = 0; k < errors.size(); ++k) scorers[k].canary_error = errors[k];
  return scorers;
}

ActorLoad RolloutActor::load() const {
  int64_t at_once = 1;
  if (engine_.mixes_groups() && group_size_ > 0) {
    at_once = std::max<int64_t>(1, options_.engine.max_rows / group_size_);
  }
  const auto leases = std::ssize(queue_) + std::ssize(under_way_);
  return {.credit = link_.full() ? 0 : std::max<int64_t>(0, at_once + options_.leases_ahead - leases),
          .leases = leases,
          .tokens = engine_.num_tokens()};
}

}  // namespace

ActorEnd run_rollout_actor(model::Network& network, const text::Tokenizer& tokenizer,
                           const rewards::RewardMix& rewards, const RolloutActorOptions& options,
                           const std::function<bool()>& interrupted, std::unique_ptr<Drafter> drafter) {
  return RolloutActor(network, tokenizer, rewards, options, std::move(drafter)).run(interrupted);
}

}  // namespace sluice::actors
