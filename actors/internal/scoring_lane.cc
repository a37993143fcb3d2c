#include "actors/internal/scoring_lane.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/trace.h"
#include "buffers/group_id.h"

namespace sluice::actors {
namespace {

using rewards::RewardRequest;

}  // namespace

EndedCompletion ended(const buffers::Completion& completion) {
  return {.tokens = completion.tokens,
          .text = completion.text,
          .truncated = completion.finish == buffers::FinishReason::Length};
}

ScoringLane::ScoringLane(const rewards::RewardMix& rewards, rewards::Canaries canaries, int64_t min_scored)
    : rewards_(rewards),
      canaries_(std::move(canaries)),
      min_scored_(min_scored),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

ScoringLane::~ScoringLane() {
  thread_.request_stop();
  if (num_under_way_ > 0) rewards_.interrupt();
}

void ScoringLane::begin(uint64_t group, text::Row row, int64_t num_samples, bool greedy_too) {
  const size_t scorers = rewards_.names().size();
  auto job = std::make_unique<Job>();
  job->row = std::move(row);
  job->num_samples = static_cast<size_t>(num_samples);
  job->completions.resize(job->num_samples + (greedy_too ? 1 : 0));
  job->scores = {
      .group = group,
      .outcomes = std::vector(job->completions.size(), std::vector<rewards::RewardOutcome>(scorers)),
      .scorers = std::vector<buffers::ScorerWatch>(scorers)};
  ++num_under_way_;
  beats_.reset();
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
}

void ScoringLane::add(uint64_t group, int64_t sample, EndedCompletion completion) {
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(jobs_, [group](const auto& job) { return job->scores.group == group; });
    require(found != jobs_.end(), "scoring: a completion of group ", group, ", which did not begin");
    auto& job = **found;
    job.completions.at(static_cast<size_t>(sample)) = std::move(completion);
    job.ended.push_back(static_cast<size_t>(sample));
  }
  wake_.notify_all();
}

std::vector<GroupScores> ScoringLane::take(Millis wait_ms) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return failure_ || !scored_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
  num_under_way_ -= scored_.size();
  return std::exchange(scored_, {});
}

void ScoringLane::say_what_is_waited_for() {
  const auto pulse = pulse_.now();
  if (std::exchange(beats_, pulse.beats) == pulse.beats) return;
  now_doing("waits for the scores of " + std::to_string(num_under_way_) + " groups: " + pulse.doing,
            pulse.limit_ms);
}

void ScoringLane::run(const std::stop_token& stop) {
  pulse_.adopt();
  at::init_num_threads();  // as many as the thread that decodes was told
  try {
    while (true) {
      Job* job = nullptr;
      std::vector<size_t> ended;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, stop, [&] { return (job = next_job()) != nullptr; });
        if (stop.stop_requested()) return;
        ended.swap(job->ended);
      }
      score(*job, ended, /*as_group=*/false);
      job->num_asked += ended.size();
      if (job->num_asked == job->completions.size() && !stop.stop_requested()) finish(*job);
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    wake_.notify_all();
  }
}

// The oldest with something to ask for; null without one.
ScoringLane::Job* ScoringLane::next_job() {
  const auto found = std::ranges::find_if(jobs_, [](const auto& job) { return !job->ended.empty(); });
  return found == jobs_.end() ? nullptr : found->get();
}

RewardRequest ScoringLane::request_of(const Job& job, size_t i) const {
  const auto& completion = job.completions[i];
  return {.group = job.scores.group,
          .sample = i < job.num_samples ? static_cast<int64_t>(i) : 0,  // the greedy one is alone
          .row = &job.row,
          .completion = completion.text,
          .tokens = completion.tokens,
          .truncated = completion.truncated};
}

// Scorers that take these completions as a group, or those that look at each.
void ScoringLane::score(Job& job, std::span<const size_t> completions, bool as_group) {
  std::vector<RewardRequest> requests;
  requests.reserve(completions.size());
  for (const size_t i : completions) requests.push_back(request_of(job, i));
  for (size_t k = 0; k < rewards_.names().size(); ++k) {
    if (rewards_.takes_whole_groups(k) != as_group) continue;
    say(job, k);
    const Stopwatch watch;
    const int64_t cached_before = rewards_.num_cached(k);
    const Traced trace(rewards_.names()[k]);
    auto outcomes = as_group ? rewards_.score_group(k, requests) : rewards_.score_each(k, requests);
    job.scores.scorers[k].seconds += watch.seconds();
    job.scores.scorers[k].cached += rewards_.num_cached(k) - cached_before;
    for (size_t i = 0; i < outcomes.size(); ++i) {
      job.scores.outcomes[completions[i]][k] = std::move(outcomes[i]);
    }
  }
}

void ScoringLane::finish(Job& job) {
  std::vector<size_t> all(job.completions.size());
  std::iota(all.begin(), all.end(), size_t{0});
  const auto samples = std::span(all).first(job.num_samples);
  const auto greedy = std::span(all).subspan(job.num_samples);
  if (!greedy.empty()) score(job, greedy, /*as_group=*/true);
  score(job, samples, /*as_group=*/true);
  try_again(job, samples);
  if (canaries_.due(job.scores.group)) {
    const auto errors = canaries_.errors(rewards_);
    for (size_t k = 0; k < errors.size(); ++k) job.scores.scorers[k].canary_error = errors[k];
  }
  const std::lock_guard lock(mutex_);
  scored_.push_back(std::move(job.scores));
  std::erase_if(jobs_, [&job](const auto& one) { return one.get() == &job; });
  wake_.notify_all();
}

void ScoringLane::try_again(Job& job, std::span<const size_t> samples) {
  const auto outcomes = [&](size_t i) { return std::span(job.scores.outcomes[i]); };
  const auto has_score = [](const auto& outcome) { return outcome.score.has_value(); };
  const auto late = [](const auto& outcome) { return outcome.unscored_reason.starts_with("timeout"); };
  std::vector<size_t> without;
  std::ranges::copy_if(samples, std::back_inserter(without),
                       [&](size_t i) { return std::ranges::none_of(outcomes(i), has_score); });
  if (std::ssize(samples) - std::ssize(without) >= min_scored_) return;
  std::erase_if(without, [&](size_t i) { return std::ranges::any_of(outcomes(i), late); });
  if (without.empty()) return;
  score(job, without, /*as_group=*/false);
  score(job, samples, /*as_group=*/true);
}

void ScoringLane::say(const Job& job, size_t scorer) const {
  now_doing("scores group " + buffers::group_name(job.scores.group) + " with " + rewards_.names()[scorer]);
}

}  // namespace sluice::actors
