#include "actors/rollout_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "actors/completion_text.h"
#include "actors/internal/learner_link.h"
#include "actors/internal/policy_versions.h"
#include "actors/internal/scoring_lane.h"
#include "actors/stop_ids.h"
#include "base/error.h"
#include "base/pulse.h"
#include "base/trace.h"
#include "buffers/group_id.h"

namespace sluice::actors {
namespace {

using buffers::Lease;
using transport::FrameType;
using transport::MappedWeights;

constexpr Millis kIdleMs = 50;  // between two looks at `interrupted`
// Between two looks at the learner, while scores, or tools, are all that is waited for.
constexpr Millis kScoreMs = 5;

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
        options_(options),
        link_(options,
              std::make_unique<transport::DealerSocket>(options.address,
                                                        transport::run_hash(options.identity.run)),
              options.spool.empty() ? nullptr
                                    : std::make_unique<SpoolKeeper>(options.spool, options.spool_bytes),
              clock_),
        // What the chat template adds has been in the configuration since the first checkpoint.
        engine_(ready(network, options.int8_weights), stop_ids(network.config(), &tokenizer, nullptr),
                options.engine, &tokenizer, std::move(drafter)),
        lane_(rewards, options.canaries, options.min_scored) {
    if (options.tools != nullptr) tools_.emplace(engine_, tokenizer, *options.tools, options.tool_use);
    engine_.when_completion_ends(
        [this](const GenerationRequest& request, int64_t sample, buffers::Completion& completion) {
          completion.text = completion_text(completion, tokenizer_, request.sampling.stop_strings);
          lane_.add(request.id, sample, ended(completion));
        });
  }

  ActorEnd run(const std::function<bool()>& interrupted);

 private:
  struct Held {
    Lease lease;
    std::vector<int32_t> prompt;
    Millis received_at = 0;
    int64_t history = 0;  // of the run, when it was received
  };
  struct Decoded {
    Held held;
    GenerationResult result;
    std::optional<buffers::ToolWatch> tools;
  };

  void say_what_is_done();
  bool receive();
  void take_on(Lease lease);
  void start_leases();
  bool start(Held& held);
  void use(std::shared_ptr<const MappedWeights> weights);
  void go_on_with_newest();
  void let_go_of_versions();
  void finish(GenerationResult result);
  void send_scored(Millis wait_ms);
  void send(Decoded decoded, GroupScores scores);
  Held* find_here(uint64_t group);
  bool full() const { return std::ssize(scoring_) >= options_.unscored_groups; }
  ActorLoad load() const;

  model::Network& network_;
  const text::Tokenizer& tokenizer_;
  const RolloutActorOptions options_;
  const SteadyClock clock_;
  LearnerLink link_;
  PolicyVersions versions_;
  std::shared_ptr<const MappedWeights> in_use_;  // under the network, so it outlives the engine's work
  Engine engine_;
  std::deque<Held> queue_;               // not begun, in the order they came
  std::map<uint64_t, Held> under_way_;   // in the engine, by group
  std::map<uint64_t, Decoded> scoring_;  // decoded, not wholly scored
  int64_t group_size_ = 0;               // of the last lease
  uint64_t tokens_at_change_ = 0;        // of the engine, when weights last came between two of its steps
  // Last, so that they stop before anything they use is destroyed.
  std::optional<ToolUse> tools_;
  ScoringLane lane_;
};

ActorEnd RolloutActor::run(const std::function<bool()>& interrupted) {
  while (!interrupted()) {
    say_what_is_done();
    if (!receive()) return ActorEnd::Stopped;
    send_scored(engine_.idle() && !scoring_.empty() ? kScoreMs : 0);
    if (options_.mix_versions) go_on_with_newest();
    if (tools_) tools_->pass_on(kScoreMs);
    start_leases();
    if (engine_.idle() || engine_.waits_for_calls()) continue;
    const int64_t began_us = trace_clock_us();
    auto results = engine_.step(in_use_->version());
    traced("decode", began_us);
    for (auto& result : results) finish(std::move(result));
  }
  return ActorEnd::Interrupted;
}

// A lane that hangs is seen once there is nothing left to decode: then its signs of life are this thread's.
void RolloutActor::say_what_is_done() {
  if (engine_.idle() && !scoring_.empty()) return lane_.say_what_is_waited_for();
  if (engine_.waits_for_calls()) return now_doing("waits for tools");  // each call ends within its deadline
  if (!engine_.idle()) return beat();
  const bool here = options_.address.starts_with("ipc:");  // a socket of the run: nothing to be told apart
  now_doing("waits for leases from " + (here ? "the learner" : options_.address));
}

// All that has come; waits a little when there is nothing to do. False when the learner says stop.
bool RolloutActor::receive() {
  Millis wait_ms = engine_.idle() && scoring_.empty() ? kIdleMs : 0;
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
  Held* const here = find_here(lease.group);
  if (here != nullptr && here->history == link_.history()) {
    here->lease.attempt = lease.attempt;
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

RolloutActor::Held* RolloutActor::find_here(uint64_t group) {
  if (const auto found = under_way_.find(group); found != under_way_.end()) return &found->second;
  const auto found = scoring_.find(group);
  return found == scoring_.end() ? nullptr : &found->second.held;
}

void RolloutActor::start_leases() {
  for (auto held = queue_.begin(); held != queue_.end() && !full();) {
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
  if (find_here(lease.group) != nullptr) return false;  // of another history, and on its way out
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
  lane_.begin(lease.group, lease.row, lease.num_samples, lease.greedy_baseline);
  return true;
}

void RolloutActor::use(std::shared_ptr<const MappedWeights> weights) {
  if (weights == in_use_) return;
  const Traced trace("take new weights");
  network_.map(weights->layout(), weights->bytes().data(), static_cast<int64_t>(weights->bytes().size()));
  in_use_ = std::move(weights);
  let_go_of_versions();
}

void RolloutActor::finish(GenerationResult result) {
  const uint64_t group = result.id;
  auto held = std::move(under_way_.extract(group).mapped());
  const auto tools = tools_ ? std::optional(tools_->take_watch(group)) : std::nullopt;
  scoring_.emplace(group, Decoded{std::move(held), std::move(result), tools});
}

void RolloutActor::send_scored(Millis wait_ms) {
  for (auto& scores : lane_.take(wait_ms)) {
    auto decoded = std::move(scoring_.extract(scores.group).mapped());
    // Of weights that never were: it will be leased again.
    if (decoded.held.history == link_.history()) send(std::move(decoded), std::move(scores));
  }
}

void RolloutActor::send(Decoded decoded, GroupScores scores) {
  auto& [held, result, tools] = decoded;
  std::vector<rewards::RewardOutcome> greedy;
  if (held.lease.greedy_baseline) {
    greedy = std::move(scores.outcomes.back());
    result.completions.pop_back();
  }
  for (size_t i = 0; i < result.completions.size(); ++i) {
    result.completions[i].outcomes = std::move(scores.outcomes[i]);
  }
  link_.send_group({.group = held.lease.group,
                    .attempt = held.lease.attempt,
                    .step = held.lease.step,
                    .prompt = std::move(held.prompt),
                    .prompt_text = held.lease.row.prompt,
                    .completions = std::move(result.completions),
                    .greedy = std::move(greedy),
                    .scorers = std::move(scores.scorers),
                    .tools = tools,
                    .ttft_s = result.ttft_s,
                    .tpot_s = result.tpot_s});
}

ActorLoad RolloutActor::load() const {
  int64_t at_once = 1;
  if (engine_.mixes_groups() && group_size_ > 0) {
    at_once = std::max<int64_t>(1, options_.engine.max_rows / group_size_);
  }
  const auto to_decode = std::ssize(queue_) + std::ssize(under_way_);
  const bool takes_more = !link_.full() && !full();
  return {.credit = takes_more ? std::max<int64_t>(0, at_once + options_.leases_ahead - to_decode) : 0,
          .leases = to_decode + std::ssize(scoring_),
          .tokens = engine_.num_tokens()};
}

}  // namespace

ActorEnd run_rollout_actor(model::Network& network, const text::Tokenizer& tokenizer,
                           const rewards::RewardMix& rewards, const RolloutActorOptions& options,
                           const std::function<bool()>& interrupted, std::unique_ptr<Drafter> drafter) {
  return RolloutActor(network, tokenizer, rewards, options, std::move(drafter)).run(interrupted);
}

}  // namespace sluice::actors
