#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <numeric>

#include "monitor/health.h"

namespace sluice::monitor {
namespace {

constexpr double kSlowStepS = 0.05;  // in shorter steps nobody waits for anybody long
constexpr double kBearable = 0.3;    // of the spread of a scorer: what its mean may fall without a word

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median_of(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

std::string text(double value) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), std::abs(value) < 1000 ? "%.3g" : "%.0f", value);
  return out.data();
}
std::string percent(double share) { return text(100 * share) + " %"; }
std::string over(const HealthRule& rule) { return " over the last " + std::to_string(rule.steps) + " steps"; }

std::string equal_rewards(const HealthRule& rule, const StageSteps& steps) {
  const auto share = steps.last("frac_reward_zero_std", rule.steps);
  const auto reward = steps.last("reward", rule.steps);
  if (share.empty() || reward.empty() || mean_of(share) < rule.limit) return "";
  return "all completions of a prompt earned the same in " + percent(mean_of(share)) + " of the groups" +
         over(rule) + ", which teaches nothing; the mean reward was " + text(mean_of(reward));
}

std::string no_reward(const HealthRule& rule, const StageSteps& steps) {
  const auto reward = steps.last("reward", rule.steps), spread = steps.last("reward_std", rule.steps);
  const auto is_zero = [](double value) { return value == 0.0; };
  if (reward.empty() || spread.empty()) return "";
  if (!std::ranges::all_of(reward, is_zero) || !std::ranges::all_of(spread, is_zero)) return "";
  return "every completion earned a reward of 0" + over(rule);
}

std::string entropy_collapse(const HealthRule& rule, const StageSteps& steps) {
  const auto entropy = steps.last("entropy", rule.steps);
  // A supervised stage has nothing to explore.
  if (entropy.empty() || steps.last("reward", rule.steps).empty()) return "";
  if (std::ranges::max(entropy) > rule.limit) return "";
  const auto before = steps.first("entropy");
  return "the entropy of the policy was " + text(mean_of(entropy)) + " nats a token" + over(rule) +
         (before.empty() ? "" : ", after " + text(mean_of(before)) + " in the first steps") +
         ": it hardly tries anything else any more";
}

std::string kl_blow_up(const HealthRule& rule, const StageSteps& steps) {
  const auto kl = steps.last("kl", rule.steps);
  if (kl.empty() || std::ranges::min(kl) < rule.limit) return "";
  return "the policy is " + text(kl.back()) + " nats a token away from its reference, and was " +
         text(std::ranges::min(kl)) + " or more" + over(rule);
}

std::string grad_norm_blow_up(const HealthRule& rule, const StageSteps& steps) {
  constexpr int64_t kBefore = 20;
  const auto norm = steps.last("grad_norm", rule.steps), all = steps.last("grad_norm", rule.steps + kBefore);
  if (norm.empty() || all.size() <= norm.size()) return "";
  const double before = median_of({all.begin(), all.end() - std::ssize(norm)});
  if (before <= 0 || std::ranges::min(norm) < rule.limit * before) return "";
  return "the gradient's norm is " + text(norm.back()) + " after a median of " + text(before) + " in the " +
         std::to_string(kBefore) + " steps before the last " + std::to_string(rule.steps);
}

std::string truncated(const HealthRule& rule, const StageSteps& steps) {
  const auto cut = steps.last("completions/clipped_ratio", rule.steps);
  if (cut.empty() || mean_of(cut) < rule.limit) return "";
  const auto length = steps.last("completions/max_length", rule.steps);
  return percent(mean_of(cut)) + " of the completions were cut" + over(rule) +
         (length.empty() ? "" : ", at " + text(std::ranges::max(length)) + " tokens");
}

// Longer answers that earn more are what some tasks are about.
std::string length_drift(const HealthRule& rule, const StageSteps& steps) {
  const auto length = steps.last("completions/mean_length", rule.steps),
             length_before = steps.first("completions/mean_length");
  const auto reward = steps.last("reward", rule.steps), reward_before = steps.first("reward");
  if (length.empty() || length_before.empty() || reward.empty() || reward_before.empty()) return "";
  const double now = mean_of(length), then = mean_of(length_before);
  if (now < rule.limit * then && then < rule.limit * now) return "";
  if (mean_of(reward) > mean_of(reward_before)) return "";
  return "completions have " + text(now) + " tokens on average, after " + text(then) +
         " in the first steps, and earn no more for it: " + text(mean_of(reward)) + " after " +
         text(mean_of(reward_before));
}

// How a scorer's mean moved within the rule's steps, in units of its spread.
struct Movement {
  std::string scorer;
  double from = 0, to = 0, spreads = 0;
};

std::vector<Movement> movements(const HealthRule& rule, const StageSteps& steps) {
  constexpr std::string_view kPrefix = "rewards/", kSuffix = "/mean";
  std::vector<Movement> found;
  for (const auto& [metric, value] : steps.newest().metrics) {
    if (!metric.starts_with(kPrefix) || !metric.ends_with(kSuffix)) continue;
    const auto scorer = metric.substr(kPrefix.size(), metric.size() - kPrefix.size() - kSuffix.size());
    const auto means = steps.last(metric, rule.steps),
               spreads = steps.last("rewards/" + scorer + "/std", rule.steps);
    const auto part = std::ssize(means) / 5;
    if (part == 0 || spreads.empty() || std::ranges::max(spreads) <= 0) continue;
    const double from = mean_of({means.begin(), means.begin() + part});
    const double to = mean_of({means.end() - part, means.end()});
    found.push_back({scorer, from, to, (to - from) / std::ranges::max(spreads)});
  }
  return found;
}

std::string scorers_apart(const HealthRule& rule, const StageSteps& steps) {
  const auto all = movements(rule, steps);
  if (all.size() < 2) return "";
  const auto [falls, rises] = std::ranges::minmax_element(all, {}, &Movement::spreads);
  if (rises->spreads < rule.limit || falls->spreads > -kBearable) return "";
  return "the reward " + rises->scorer + " rose from " + text(rises->from) + " to " + text(rises->to) +
         " while " + falls->scorer + " fell from " + text(falls->from) + " to " + text(falls->to) +
         over(rule);
}

// Which of the two is right is what the held-out prompts are for.
std::string held_out_falls(const HealthRule& rule, const StageSteps& steps) {
  constexpr double kRises = 0.1;  // of the spread of rewards
  const auto& all = steps.held_out();
  if (all.size() < 2) return "";
  const auto& now = all.back();
  const auto& best = *std::max_element(all.begin(), all.end() - 1,
                                       [](const auto& a, const auto& b) { return a.exact < b.exact; });
  const double share = std::clamp(best.exact, 0.0, 1.0), prompts = std::max(best.prompts, 1.0);
  const double error = std::sqrt(std::max(share * (1 - share), 1 / prompts) / prompts);
  if (best.exact - now.exact < rule.limit * std::numbers::sqrt2 * error) return "";
  if (now.reward - best.reward < kRises * now.spread || now.reward <= best.reward) return "";
  return "the training reward rose from " + text(best.reward) + " to " + text(now.reward) +
         " while right answers to " + text(now.prompts) + " held-out prompts fell from " +
         percent(best.exact) + " to " + percent(now.exact);
}

std::string canary_moved(const HealthRule& rule, const StageSteps& steps) {
  constexpr std::string_view kPrefix = "rewards/", kSuffix = "/canary_error";
  std::string seen;
  for (const auto& [metric, error] : steps.newest().metrics) {
    if (!metric.starts_with(kPrefix) || !metric.ends_with(kSuffix) || error <= rule.limit) continue;
    const auto scorer = metric.substr(kPrefix.size(), metric.size() - kPrefix.size() - kSuffix.size());
    seen += (seen.empty() ? "the reward " : ", and the reward ") + scorer +
            " is not what it was: a known score is off by " + text(error);
  }
  return seen;
}

std::string repetition(const HealthRule& rule, const StageSteps& steps) {
  const auto share = steps.last("completions/repetition", rule.steps),
             before = steps.first("completions/repetition");
  if (share.empty() || before.empty() || mean_of(share) < rule.limit) return "";
  if (mean_of(share) <= mean_of(before)) return "";
  const auto reward = steps.last("reward", rule.steps);
  return percent(mean_of(share)) + " of what completions say they had said before" + over(rule) + ", after " +
         percent(mean_of(before)) + " in the first steps" +
         (reward.empty() ? "" : "; the mean reward was " + text(mean_of(reward)));
}

std::string stale_queue(const HealthRule& rule, const StageSteps& steps) {
  constexpr double kOldS = 0.5;
  const auto age = steps.last("queue/age", rule.steps), time = steps.last("step_time", rule.steps);
  if (age.empty() || time.empty() || std::ranges::min(age) < kOldS) return "";
  if (std::ranges::min(age) < rule.limit * median_of(time)) return "";
  return "the oldest group in the queue has waited for " + text(age.back()) + " s, " +
         text(age.back() / std::max(median_of(time), 1e-3)) + " times as long as a step takes";
}

// The share of each step that went into waiting for its groups.
std::vector<double> shares_waited(const StageSteps& steps, int64_t count) {
  const auto wait = steps.last("time/wait", count), time = steps.last("step_time", count);
  if (wait.size() != time.size() || time.empty() || median_of(time) < kSlowStepS) return {};
  std::vector<double> shares;
  for (size_t i = 0; i < wait.size(); ++i) shares.push_back(wait[i] / std::max(time[i], 1e-3));
  return shares;
}

std::string starving_learner(const HealthRule& rule, const StageSteps& steps) {
  const auto shares = shares_waited(steps, rule.steps);
  if (shares.empty() || mean_of(shares) < rule.limit) return "";
  return "the actors are the bottleneck: the learner waited for groups in " + percent(mean_of(shares)) +
         " of the time" + over(rule) + ", steps of " + text(mean_of(steps.last("step_time", rule.steps))) +
         " s";
}

// They are ahead by the lag of the policy and can be no more: groups that have lain ready for as long, but
// for a small part of a step, were made in that part.
std::string starving_actors(const HealthRule& rule, const StageSteps& steps) {
  constexpr double kNoWait = 0.01;
  const auto shares = shares_waited(steps, rule.steps);
  const auto depth = steps.last("queue/depth", rule.steps), age = steps.last("queue/age", rule.steps),
             lag = steps.last("policy/lag", rule.steps);
  if (shares.empty() || depth.empty() || age.empty() || lag.empty()) return "";
  if (mean_of(shares) > kNoWait || std::ranges::min(depth) <= 0) return "";
  const double step_s = mean_of(steps.last("step_time", rule.steps));
  const double idle = 1 - (mean_of(lag) - mean_of(age) / step_s);
  if (idle < rule.limit) return "";
  return "the learner is the bottleneck: it trained for " + text(step_s) + " s a step" + over(rule) +
         ", and the actors had the groups of the next one ready in a small part of that and waited for new "
         "weights";
}

std::string logprob_mismatch(const HealthRule& rule, const StageSteps& steps) {
  const auto difference = steps.last("sampling/logp_diff_mean", rule.steps);
  if (difference.empty() || std::ranges::min(difference) < rule.limit) return "";
  const auto lag = steps.last("policy/lag", rule.steps);
  return "the learner's log-probs are " + text(difference.back()) +
         " off from those of the actors, on average" +
         (lag.empty() ? "" : ", at a lag of " + text(mean_of(lag)) + " versions");
}

std::string disk_low(const HealthRule& rule, const StageSteps& steps) {
  constexpr double kCheckpoints = 2;
  const auto left = steps.last("disk/free_mb", rule.steps),
             one = steps.last("disk/checkpoint_mb", rule.steps);
  if (left.empty()) return "";
  const double checkpoint = one.empty() ? 0 : one.back();
  if (left.back() >= std::max(rule.limit, kCheckpoints * checkpoint)) return "";
  return text(left.back()) + " MB are left on the disk of the run" +
         (checkpoint > 0 ? ", whose checkpoints take " + text(checkpoint) + " MB each" : "");
}

std::vector<HealthRule> make_rules() {
  return {
      {"equal_rewards", 0.95, 10, "`frac_reward_zero_std` is {limit} or more on average over {steps} steps",
       "Read some with `sluice rollouts RUN --step N`. Where all are wrong, easier prompts "
       "(data.min_pass_rate) or a cold start help; where all are right, harder ones (data.max_pass_rate) or "
       "an earlier end; else a larger rollout.group_size, a higher rollout.temperature or rollout.refills",
       equal_rewards},
      {"no_reward", 0, 20, "`reward` and `reward_std` are {limit} in {steps} steps in a row",
       "Try the scorers on answers that you know with `sluice reward test`, and read what the policy says "
       "with `sluice rollouts RUN --step N`: it may need a longer rollout.max_new_tokens, a cold start "
       "(sft), or a reward for getting closer",
       no_reward},
      {"entropy_collapse", 0.01, 10, "`entropy` is {limit} or less in {steps} steps in a row",
       "A lower optim.lr, an entropy bonus (algorithm.entropy_bonus), a higher algorithm.clip_high or "
       "rollout.temperature keep it trying",
       entropy_collapse},
      {"kl_blow_up", 2, 3, "`kl` is {limit} or more in {steps} steps in a row",
       "A larger algorithm.beta or a lower optim.lr hold it; guard.max_kl ends a run that goes too far",
       kl_blow_up},
      {"grad_norm_blow_up", 10, 3,
       "`grad_norm` is {limit} times its median of before in {steps} steps in a row",
       "A lower optim.lr, a smaller optim.max_grad_norm or a longer optim.warmup_steps calm it",
       grad_norm_blow_up},
      {"truncated", 0.8, 10, "`completions/clipped_ratio` is {limit} or more on average over {steps} steps",
       "Raise rollout.max_new_tokens, or give rollout.stop the text that ends an answer; a policy that never "
       "ends by itself was not trained to",
       truncated},
      {"length_drift", 2, 10,
       "`completions/mean_length` of {steps} steps is {limit} times as long or as short as in the first "
       "ones, "
       "and `reward` is no higher",
       "Read some with `sluice rollouts RUN --step N`: the reward may pay for length, which the rewards "
       "`length` and `soft_overlong` put a price on",
       length_drift},
      {"scorers_apart", 0.3, 50,
       "within {steps} steps the mean of one reward rises by {limit} of its spread while that of another "
       "falls as far",
       "The policy may have found how to please one of them: read completions that it likes best, and weigh "
       "the rewards anew",
       scorers_apart},
      {"held_out_falls", 3, 2,
       "`reward` rises while `eval_exact` (evaluation.every) falls by {limit} standard errors from its best "
       "of the stage",
       "The policy may have found how to please a reward without being right: read what it says with "
       "`sluice rollouts RUN --step N`, go back to the checkpoint where eval_exact was best "
       "(checkpoint.best_by), and weigh the rewards anew or give algorithm.beta a larger value",
       held_out_falls},
      {"canary_moved", 1e-6, 1, "`rewards/NAME/canary_error` (guard.canaries) is above {limit}",
       "See what changed behind it: a judge or a server that was updated, a file that was edited; "
       "`sluice reward test` asks it about answers that you know",
       canary_moved},
      {"repetition", 0.5, 10,
       "`completions/repetition` is {limit} or more on average over {steps} steps, and more than in the "
       "first "
       "ones",
       "Read some with `sluice rollouts RUN --step N`: the reward may pay for saying the same again, which "
       "the reward `repetition` puts a price on",
       repetition},
      {"stale_queue", 5, 5,
       "`queue/age` is as long as {limit} steps take, and 0.5 s or more, in {steps} steps in a row",
       "Fewer actors or a smaller rollout.staleness; see in the log of the learner what its steps wait for",
       stale_queue},
      {"starving_learner", 0.9, 20,
       "`time/wait` is {limit} of `step_time` or more on average over {steps} steps of 0.05 s or longer",
       "More actors (rollout.actors, or more machines), rollout.draft, or a shorter "
       "rollout.max_new_tokens; look for one slow scorer in rewards/NAME/seconds_p95",
       starving_learner},
      {"starving_actors", 0.8, 20,
       "over {steps} steps of 0.05 s or longer the learner waited for nothing, and the next groups lay ready "
       "for "
       "{limit} of a step (`queue/age` against `policy/lag`)",
       "Fewer actors do as well; more ranks (learner.ranks) or a larger batch.micro_batch_tokens make the "
       "learner faster",
       starving_actors},
      {"logprob_mismatch", 0.1, 5, "`sampling/logp_diff_mean` is {limit} or more in {steps} steps in a row",
       "A smaller rollout.staleness or optim.lr; exact weights of the actors (rollout.weights); "
       "importance weights that are cut (algorithm.correction)",
       logprob_mismatch},
      {"disk_low", 1024, 1, "`disk/free_mb` is below {limit}, or below two checkpoints",
       "Make room, or let checkpoint.keep_last and checkpoint.keep_every keep fewer; a checkpoint that does "
       "not fit ends the run",
       disk_low},
  };
}

void fill_in(std::string& words, const std::string& hole, const std::string& value) {
  for (size_t at = words.find(hole); at != std::string::npos; at = words.find(hole, at + value.size()))
    words.replace(at, hole.size(), value);
}

}  // namespace

const std::vector<HealthRule>& health_rules() {
  static const std::vector<HealthRule> rules = [] {
    auto made = make_rules();
    for (auto& rule : made) {
      for (auto* words : {&rule.when, &rule.suggestion}) {
        fill_in(*words, "{limit}", text(rule.limit));
        fill_in(*words, "{steps}", std::to_string(rule.steps));
      }
    }
    return made;
  }();
  return rules;
}

std::string health_reference() {
  std::string table = "| rule | raised when | what helps |\n|---|---|---|\n";
  for (const auto& rule : health_rules())
    table += "| `" + rule.name + "` | " + rule.when + " | " + rule.suggestion + " |\n";
  return table;
}

}  // namespace sluice::monitor
