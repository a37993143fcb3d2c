#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/pulse.h"
#include "base/state_dump.h"
#include "base/terminal.h"
#include "buffers/group_id.h"
#include "learner/policy_learner.h"
#include "learner/rollout_server.h"
#include "model/model_directory.h"
#include "model/tensor_bytes.h"
#include "recipes/audit.h"
#include "recipes/internal/held_out_reward.h"
#include "recipes/internal/next_step.h"
#include "recipes/internal/policy_follower.h"
#include "recipes/internal/policy_match.h"
#include "recipes/internal/policy_memory.h"
#include "recipes/internal/policy_reports.h"
#include "recipes/internal/policy_trainer.h"
#include "recipes/internal/prompt_order.h"
#include "recipes/internal/retention.h"
#include "recipes/internal/run_control.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"
#include "recipes/internal/stage_ranks.h"
#include "recipes/internal/step_clock.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

constexpr Millis kProgressLimitMs = 60'000;  // no wait without progress is longer (promise 4)
constexpr Millis kWaitMs = 250;              // between looks at signals and Redis

std::map<std::string, std::string> redis_fields(const buffers::RolloutGroup& group) {
  return {{"group", std::to_string(group.group)},
          {"step", std::to_string(group.step + 1)},
          {"version", std::to_string(group.oldest_version())},
          {"actor", group.actor},
          {"tokens", std::to_string(group.num_tokens())}};
}

std::vector<monitor::ActorState> actor_states(const std::vector<learner::RolloutStatus::Actor>& actors) {
  std::vector<monitor::ActorState> states;
  for (const auto& actor : actors) {
    states.push_back({actor.name,
                      {{"pid", std::to_string(actor.pid)},
                       {"incarnation", std::to_string(actor.incarnation)},
                       {"tokens", std::to_string(actor.tokens)},
                       {"leases", std::to_string(actor.leases)}}});
  }
  return states;
}

// A policy stage under way, as rank 0 has it: everything that lives from its first step to its last.
class PolicyStage {
 public:
  PolicyStage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage, const StopRequest& stop,
              transport::Collective& ranks)
      : run_(run),
        recipe_(recipe),
        stage_(stage),
        stop_(stop),
        ranks_(ranks),
        start_(find_start(run, recipe, stage, ranks)),
        first_step_(start_.first_step()),
        tokenizer_(text::load_tokenizer(start_.checkpoint.model())),
        trainer_(run, recipe, stage, start_, ranks),
        monitor_(run, recipe, stage, start_.checkpoint.state.step),
        control_(run, stage.name, monitor_, stop),
        held_out_(recipe, stage, start_.checkpoint.model()),
        prompts_(open_prompts(stage, start_.checkpoint.model())),
        prompt_order_({prompts_->size(), stage_seed(recipe, stage.name), stage.data.choice.orders()},
                      stage.steps * stage.rollout.prompts_per_step,
                      {.prompts_per_step = stage.rollout.prompts_per_step,
                       .staleness = stage.rollout.staleness,
                       .share = stage.rollout.replay,
                       .below = stage.rollout.replay_below}),
        began_(clock_.now_ms()),
        num_tokens_(start_.num_tokens),
        saved_(start_.stage_step),
        score_(stage.checkpoint.best_by) {
    if (start_.resumed) versions_ = load_versions(start_.checkpoint);
    start_.recall("replays", prompt_order_);
    for (const auto& reward : stage.rewards) reward_names_.push_back(reward.name);
  }

  int run() {
    monitor_.say_left_out(prompts_->num_left_out());
    start_server();
    const auto stopped = learn();
    give(ranks_, Order::Kind::End, stopped.value_or(0));
    return stopped ? *stopped : finish();
  }

 private:
  // To the end of the stage, or to a signal.
  std::optional<int> learn() {
    const Describes describes([this] { return describe_server(); });
    StepWatch& watch = watch_.emplace(monitor_, trainer_.optimizer(), stage_, start_);
    if (server_->status().restored_to == start_.stage_step) watch.forgive();
    step_clock_.emplace(clock_);
    for (int64_t s = start_.stage_step; s < stage_.steps; ++s) {
      auto groups = wait_for_batch(s);
      if (!groups) return save_and_stop(s);
      step_clock_->ends("wait");
      if (auto* redis = monitor_.redis()) redis->batched(ids_of(*groups));
      const auto ids = ids_of(*groups);
      give_to_learn(ranks_, *groups);
      learner::StepHealth health;
      auto metrics = train(s, std::move(*groups), health);
      const auto verdict = watch.after(s + 1, health, metrics);
      if (health.broken.empty() && held_out_.is_due(s + 1)) measure_held_out(s + 1, metrics);
      finish_step(s, ids, std::move(metrics));
      if (verdict != learner::Verdict::GoOn) end(verdict, s + 1);
      if (monitor_.is_ill()) end_ill(s + 1);
      const int signal = stop_();
      const bool last = s + 1 == stage_.steps, due = (s + 1) % stage_.checkpoint.every == 0;
      if (last || due || signal != 0 || journal_has_grown()) {
        save(s + 1);
        step_clock_->ends("save");
      }
      if (signal != 0 && s + 1 < stage_.steps) return signal;
    }
    return std::nullopt;
  }

  static std::vector<uint64_t> ids_of(const std::vector<buffers::RolloutGroup>& groups) {
    std::vector<uint64_t> ids;
    for (const auto& group : groups) ids.push_back(group.group);
    return ids;
  }

  buffers::Lease make_lease(const buffers::Ledger::Grant& grant) {
    return {.group = grant.group,
            .attempt = grant.attempt,
            .step = grant.step,
            .version = grant.version,
            .exact_version = recipe_.deterministic,
            .num_samples = stage_.rollout.group_size,
            .greedy_baseline = stage_.learner.advantage.baseline == learner::Baseline::Greedy,
            .seed = stage_seed(recipe_, stage_.name),
            .sampling = stage_.rollout.sampling,
            .lease_ms = stage_.rollout.lease_ms,
            .row = prompts_->at(prompt_order_.row(grant.group, grant.step))};
  }

  void start_server() {
    auto identity = stage_identity(run_, stage_.name, start_.checkpoint.model(), *tokenizer_,
                                   trainer_.network().config());
    identity.role = "learner";
    identity.name = "learner-0";
    const learner::RolloutServerOptions options{
        .address = run_.rollout_address(stage_),
        .journal = run_.journal(stage_.name),
        .ledger = ledger_options(recipe_, stage_),
        .identity = identity,
        .min_scored = stage_.rollout.min_scored,
        .refill_fallback = stage_.rollout.refill_fallback,
        .reward_weights = trainer_.reward_weights(),
        .limits = {.max_samples = stage_.rollout.group_size,
                   .max_tokens = trainer_.network().config().max_position,
                   .vocab_size = trainer_.network().config().vocab_size},
        .actor_timeout_ms = stage_.rollout.lease_ms,
        .quarantine = run_.quarantine() / stage_.name};
    auto* redis = monitor_.redis();
    const learner::RolloutEvents events{
        .queued =
            [redis](const std::vector<const buffers::RolloutGroup*>& groups) {
              if (redis == nullptr) return;
              std::vector<monitor::QueuedRollout> rollouts;
              for (const auto* group : groups) rollouts.push_back({group->group, redis_fields(*group)});
              redis->queued(std::move(rollouts));
            },
        .ended =
            [redis](const std::vector<uint64_t>& groups) {
              if (redis != nullptr) redis->ended(groups);
            },
        .notice = [this](const std::string& text) { add_notice(text); },
        .heard =
            [redis](const std::vector<learner::RolloutStatus::Actor>& actors) {
              if (redis != nullptr) redis->actors(actor_states(actors));
            }};
    server_ = std::make_unique<learner::RolloutServer>(
        options, [this](const buffers::Ledger::Grant& grant) { return make_lease(grant); }, events,
        start_.stage_step);
    next_step_.emplace(
        [this](int64_t step, std::stop_token told) { return server_->next_batch(step, std::move(told)); },
        [this](int64_t step, auto groups) { return trainer_.plan(step, std::move(groups)); });
    journal_bytes_ = saved_journal_bytes_ = server_->status().journal_bytes;
    for (const auto& [version, flat] : versions_) publish(version, flat);
    publish(start_.stage_step);
  }

  void publish(int64_t version) {
    at::Tensor flat;  // in the memory of a version that no lease will name
    const auto kept = versions_.lower_bound(version - stage_.rollout.staleness);
    for (auto gone = versions_.begin(); gone != kept; gone = versions_.erase(gone)) flat = gone->second;
    if (!flat.defined()) flat = at::empty({trainer_.network().flat().numel()}, at::kFloat);
    {
      const at::NoGradGuard no_grad;
      flat.copy_(trainer_.network().merged_flat());
    }
    publish(version, flat);
    versions_[version] = std::move(flat);
  }

  void publish(int64_t version, const at::Tensor& flat) {
    const auto rounding = stage_.rollout.int8_weights ? model::Rounding::Int8 : recipe_.model.rounding;
    const auto& network = trainer_.network();
    const auto weights = model::Network::snapshot(network.config(), network.device(), rounding, flat);
    server_->publish(
        version,
        {.layout = weights.layout, .bytes = static_cast<uint64_t>(weights.bytes), .write = weights.write});
  }

  // Empty when the process was asked to stop. Throws when nothing has moved for a minute.
  std::optional<std::vector<buffers::RolloutGroup>> wait_for_batch(int64_t step) {
    Millis moved = clock_.now_ms();
    int64_t seen = -1;
    while (true) {
      const Millis told = clock_.now_ms();
      if (!obey(step)) return std::nullopt;
      moved += clock_.now_ms() - told;
      now_doing(stage_.name + " step " + std::to_string(step + 1) + ": waits for its groups");
      if (auto groups = server_->take_batch(step, kWaitMs)) {
        require(
            !groups->empty(), stage_.name, ": every group of step ", step + 1,
            server_->refills().given_up > 0
                ? " was dropped, since all completions of each prompt earned the same (rollout.refills)"
                : " was quarantined" + most_common_reason() + "; each lies in " + run_.quarantine().string());
        return groups;
      }
      give(ranks_, Order::Kind::Wait);
      show_notices();
      const auto status = server_->status();
      show_state(step, status);
      const int64_t progress = progress_of(status);
      if (progress != seen) moved = clock_.now_ms();
      seen = progress;
      if (clock_.now_ms() - moved > kProgressLimitMs) fail_waiting(step, status);
    }
  }

  std::string most_common_reason() const {
    const auto reasons = server_->status().reasons;
    const auto most = std::ranges::max_element(reasons, {}, [](const auto& reason) { return reason.second; });
    return most == reasons.end() ? "" : " (what ended most groups of this run: " + most->first + ")";
  }

  // What the run is told between two steps. False when it is to stop.
  bool obey(int64_t done) {
    using Next = RunControl::Next;
    Next next = control_.next(done);
    while (next == Next::Wait || next == Next::Save) {
      step_clock_->ends("wait");
      if (next == Next::Wait) {
        pause(done);
      } else {
        if (done > saved_) save(done);
        control_.saved();
      }
      step_clock_->ends(next == Next::Wait ? "paused" : "save");
      next = control_.next(done);
    }
    return next == Next::GoOn;
  }

  // For a moment. Actors go on until their credits are spent.
  void pause(int64_t done) {
    now_doing(stage_.name + " step " + std::to_string(done + 1) + ": paused by a command until resume");
    give(ranks_, Order::Kind::Wait);
    show_notices();
    show_state(done, server_->status());
    std::this_thread::sleep_for(std::chrono::milliseconds(kWaitMs));
  }

  static int64_t progress_of(const learner::RolloutStatus& status) {
    int64_t sum = status.law.issued + status.law.queued + status.law.dropped + status.law.quarantined;
    for (const auto& actor : status.actors) sum += static_cast<int64_t>(actor.tokens);
    return sum;
  }

  void fail_waiting(int64_t step, const learner::RolloutStatus& status) const {
    if (status.actors.empty()) {
      fail(stage_.name, ": waited ", kProgressLimitMs / 1000, " s for an actor at ", server_->address(),
           " and none came; see ", (run_.root() / "logs").string());
    }
    fail(stage_.name, ": waited ", kProgressLimitMs / 1000, " s for the groups of step ", step + 1, " from ",
         status.actors.size(), " actors and nothing moved; ", describe(status.law), "; see ",
         (run_.root() / "logs").string());
  }

  learner::StepMetrics train(int64_t step, std::vector<buffers::RolloutGroup> groups,
                             learner::StepHealth& health) {
    now_doing(stage_.name + " step " + std::to_string(step + 1) + ": learns");
    auto plan = next_step_->take(step, std::move(groups));
    const auto& batch = plan.batch;
    learner::StepMetrics match;
    if (step == start_.stage_step) match = check_match(batch);
    step_clock_->ends("batch");
    if (trainer_.plans_ahead() && step + 1 < stage_.steps) next_step_->begin(step + 1);
    auto metrics = trainer_.learn(plan);
    reach(Failpoint::StepLearned);
    const auto whole = trainer_.whole_weights();
    const auto& fault = trainer_.fault();
    health = health_of(fault, trainer_.network(), batch, metrics, stage_.learner.temperature);
    if (stage_.rollout.replay > 0) {
      metrics["replayed"] = static_cast<double>(prompt_order_.trained(batch, step));
    }
    if (stage_.rollout.refills > 0) metrics.merge(learner::refill_metrics(batch, server_->refills()));
    step_clock_->ends("train");
    if (ranks_.size() > 1) step_clock_->moves("train", "all_reduce_wait", trainer_.take_sum_seconds());
    // Before the journal has it for trained.
    write_rollouts(run_.rollouts(first_step_ + step + 1), batch, trainer_.log_ratios());
    server_->trained(step, poisoned_of(batch, fault));
    reach(Failpoint::StepTrained);
    step_clock_->ends("record");
    if (health.broken.empty()) publish(step + 1);
    step_clock_->ends("publish");
    reach(Failpoint::VersionPublished);
    metrics.merge(match);
    metrics.merge(learner::rollout_metrics(batch, reward_names_));
    detail_ = step_detail(batch);
    return metrics;
  }

  // A reward that worked when the run began and does not now is no reason to end it.
  void measure_held_out(int64_t done, learner::StepMetrics& metrics) {
    now_doing(stage_.name + " step " + std::to_string(done) + ": asks held-out prompts");
    Millis told = clock_.now_ms();
    const auto goes_on = [&] {
      if (clock_.now_ms() - told >= kWaitMs) {
        give(ranks_, Order::Kind::Wait);
        told = clock_.now_ms();
      }
      return stop_() == 0;
    };
    try {
      if (auto figures = held_out_.measure(trainer_.network(), versions_.at(done), goes_on))
        metrics.merge(*figures);
    } catch (const UsageError& error) {
      monitor_.say(stage_.name + ": held-out prompts were not measured: " + error.what());
    }
    step_clock_->ends("evaluate");
  }

  // Before anything is learned.
  learner::StepMetrics check_match(const learner::TrainingBatch& batch) const {
    const int64_t version = batch.groups.front().oldest_version();
    const auto weights = versions_.find(version);
    require(weights != versions_.end(), stage_.name, ": a group of version ", version,
            " came, which is gone");
    return recipes::check_match(batch, weights->second, trainer_.network(), recipe_, stage_);
  }

  void finish_step(int64_t step, const std::vector<uint64_t>& ids, learner::StepMetrics metrics) {
    if (auto* redis = monitor_.redis()) redis->ended(ids);
    const auto status = server_->status();
    require(status.law.holds(), stage_.name, ": the law is broken: ", describe(status.law));
    journal_bytes_ = status.journal_bytes;
    add_queue_metrics(metrics, status);
    const double step_tokens = metrics["num_tokens"];
    num_tokens_ += step_tokens;
    metrics["num_tokens"] = num_tokens_;
    if (ranks_.size() > 1) metrics["ranks"] = static_cast<double>(ranks_.size());
    metrics["policy/version"] = static_cast<double>(step + 1);
    metrics["policy/lag"] = metrics["staleness/mean"];
    step_clock_->ends("report");
    step_clock_->report(step + 1, metrics);
    metrics["tokens_per_s"] = step_tokens / std::max(metrics["step_time"], 1e-3);
    show_notices();
    tokens_per_s_ = metrics["tokens_per_s"];
    score_.add(metrics);
    monitor_.report(first_step_ + step + 1, step + 1, std::move(metrics), detail_);
    show_state(step + 1, status);
    step_clock_->ends("report");
  }

  void show_state(int64_t step, const learner::RolloutStatus& status) {
    std::map<std::string, std::string> fields{{"version", std::to_string(step)},
                                              {"queue_depth", std::to_string(status.queue_depth)},
                                              {"credits", std::to_string(status.credits)},
                                              {"age_s", std::to_string(status.oldest_age_s)},
                                              {"tokens_per_s", std::to_string(tokens_per_s_)},
                                              {"actors", std::to_string(status.actors.size())}};
    if (control_.paused()) fields["paused"] = "yes";
    for (const auto& [name, member] : buffers::kLedgerCounts) {
      fields[name] = std::to_string(status.law.*member);
    }
    monitor_.show_state(first_step_ + step, step, std::move(fields), actor_states(status.actors));
  }

  void add_notice(const std::string& text) {
    const std::lock_guard lock(notices_mutex_);
    notices_.push_back(text);
  }

  void show_notices() {
    std::vector<std::string> notices;
    {
      const std::lock_guard lock(notices_mutex_);
      notices.swap(notices_);
    }
    for (const auto& notice : notices) monitor_.say(notice);
  }

  // For whoever asks; from another thread.
  std::string describe_server() const {
    const auto status = server_->status();
    std::ostringstream out;
    out << stage_.name << ": " << describe(status.law) << "; queue " << status.queue_depth << ", credits "
        << status.credits << ", journal " << format_bytes(static_cast<uint64_t>(status.journal_bytes));
    for (const auto& actor : status.actors) {
      out << "; " << actor.name << " (pid " << actor.pid << ") has " << actor.leases << " leases and made "
          << actor.tokens << " tokens";
    }
    return out.str();
  }

  double seconds() const { return start_.seconds + static_cast<double>(clock_.now_ms() - began_) / 1000.0; }

  void save(int64_t done) {
    server_->sync_journal();
    if (const auto problem = score_.problem(); !problem.empty()) monitor_.say(problem);
    auto older = versions_;
    older.erase(done);
    give(ranks_, Order::Kind::Save);
    trainer_.prepare_checkpoint(done);
    const auto whole = trainer_.whole_weights();
    auto contents = trainer_.contents(*tokenizer_);
    contents.versions = &older;
    contents.memory = {{"guard", watch_->state()},
                       {"coefficients", trainer_.coefficients()},
                       {"values", trainer_.values()},
                       {"replays", prompt_order_.state(done)}};
    write_checkpoint(run_.checkpoints(),
                     start_.state_after(stage_, done, seconds(), num_tokens_, score_.take()), contents,
                     stage_.checkpoint);
    ranks_.meet();
    saved_ = done;
    // The end of a stage is kept besides.
    const auto kept = stage_.checkpoint.keep_last + (done == stage_.steps ? 1 : 0);
    const auto oldest = internal::step_of_newest(run_.checkpoints(), stage_.name, kept);
    journal_bytes_ = saved_journal_bytes_ = server_->trim_journal(oldest);
  }

  // Since the last checkpoint; another lets what older groups hold go from it.
  bool journal_has_grown() const {
    return journal_bytes_ > saved_journal_bytes_ + (stage_.rollout.journal_mb << 20);
  }

  // What the numbers of the last step, `done`, make of the stage.
  [[noreturn]] void end(learner::Verdict verdict, int64_t done) {
    if (verdict == learner::Verdict::Stop) {
      save(done);
      give(ranks_, Order::Kind::End);
      watch_->stop();
    }
    give(ranks_, Order::Kind::End);
    const auto before = server_->status().restored_to;
    if (before) watch_->stop(", after it went back to step " + std::to_string(*before) + " once already");
    server_->restore(saved_);
    fail<BeginAgain>(stage_.name, ": ", watch_->cause(), "; it goes back to step ", saved_, ", this once");
  }

  [[noreturn]] void end_ill(int64_t done) {
    save(done);
    give(ranks_, Order::Kind::End);
    monitor_.end_ill();
  }

  // Between two steps: nothing is lost that the journal and the last step's checkpoint do not hold.
  int save_and_stop(int64_t done) {
    if (done > saved_) save(done);
    return control_.signal();
  }

  int finish() {
    const auto [law, reasons] = [&] {
      const auto status = server_->status();
      return std::pair(status.law, status.reasons);
    }();
    monitor_.say(stage_.name + ": " + describe(law));
    for (const auto& [reason, count] : reasons) {
      monitor_.say(stage_.name + ": " + std::to_string(count) + " groups: " + reason);
    }
    next_step_.reset();
    server_.reset();
    trainer_.check_reference();
    run_.write_stage_result(stage_.name,
                            {{"name", stage_.name},
                             {"use", stage_.use},
                             {"steps", stage_.steps},
                             {"seconds", seconds()},
                             {"started_from", start_.started_from},
                             {"weights_sha256", sha256_hex(model::bytes_of(versions_.at(stage_.steps)))},
                             {"law", to_json(law)},
                             {"reasons", reasons}});
    return 0;
  }

  const RunDirectory& run_;
  const Recipe& recipe_;
  const StageSpec& stage_;
  const StopRequest& stop_;
  transport::Collective& ranks_;
  const SteadyClock clock_;
  const StageStart start_;
  const int64_t first_step_;  // optimizer steps of the run before this stage
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  PolicyTrainer trainer_;
  StageMonitor monitor_;
  RunControl control_;
  const HeldOutReward held_out_;
  const std::unique_ptr<text::Rows> prompts_;  // used by the server's thread alone
  internal::PromptOrder prompt_order_;
  const Millis began_;
  std::optional<StepWatch> watch_;  // while it runs, as the next
  std::optional<internal::StepClock> step_clock_;
  std::vector<std::string> reward_names_;
  std::map<int64_t, at::Tensor> versions_;  // that leases may name
  double num_tokens_;                       // trained on in this stage
  int64_t saved_;                           // steps of the stage that the newest checkpoint holds
  int64_t journal_bytes_ = 0;               // after the last step,
  int64_t saved_journal_bytes_ = 0;         // and behind that checkpoint
  internal::Score score_;                   // since then
  double tokens_per_s_ = 0;                 // of the last step
  monitor::StepDetail detail_;              // likewise
  std::mutex notices_mutex_;
  std::vector<std::string> notices_;                // guarded by notices_mutex_
  std::unique_ptr<learner::RolloutServer> server_;  // its thread uses what stands above,
  std::optional<internal::NextStep> next_step_;     // and this one's the server too
};

}  // namespace

int run_policy_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                     const StopRequest& stop, transport::Collective& ranks) {
  if (ranks.rank() != 0) return follow_policy_stage(run, recipe, stage, ranks);
  return PolicyStage(run, recipe, stage, stop, ranks).run();
}

}  // namespace sluice::recipes
