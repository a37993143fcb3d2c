#include "monitor/prometheus.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "monitor/health.h"

namespace sluice::monitor {
namespace {

constexpr double kMega = 1 << 20;

struct Family {
  std::string_view name, type, help;
};
constexpr Family kRun = {"sluice_run_info", "gauge", "1, with the run's name and id and the stage it is in."};
constexpr Family kSteps = {"sluice_steps_total", "counter", "Steps of the run that are done."};
constexpr Family kStageStep = {"sluice_stage_step", "gauge", "Steps of the stage that are done."};
constexpr Family kStageSteps = {"sluice_stage_steps", "gauge", "Steps of the stage in all."};
constexpr Family kStepTime = {"sluice_last_step_timestamp_seconds", "gauge", "When the last step was done."};
constexpr Family kAlarm = {"sluice_alarm", "gauge", "1 while the rule's alarm stands, else 0."};
constexpr Family kScorer = {"sluice_scorer_reward", "gauge", "Mean score of one reward."};
constexpr Family kScorerTime = {"sluice_scorer_duration_seconds", "gauge",
                                "Time a group took one reward, by quantile."};
constexpr Family kPart = {"sluice_step_part_duration_seconds", "gauge", "Where the time of the step went."};
constexpr Family kFates = {"sluice_groups_ended_total", "counter", "Groups of the stage by how they ended."};
constexpr Family kPlaces = {"sluice_groups", "gauge", "Groups of the stage that are under way."};
constexpr Family kActorTokens = {"sluice_actor_tokens_total", "counter", "Tokens an actor has generated."};

// A metric that is a family by itself.
struct Plain {
  std::string_view metric;
  Family family;
  double scale = 1;
};
constexpr std::array kPlain = {
    Plain{"reward", {"sluice_reward", "gauge", "Mean reward of the step's completions."}},
    Plain{"reward_std", {"sluice_reward_stddev", "gauge", "Spread of the reward."}},
    Plain{"frac_reward_zero_std",
          {"sluice_groups_equal_rewards_ratio", "gauge", "Groups whose completions all earned the same."}},
    Plain{"loss", {"sluice_loss", "gauge", "The loss of the step."}},
    Plain{"kl", {"sluice_kl_nats", "gauge", "Distance of the policy from its reference, a token."}},
    Plain{"entropy", {"sluice_entropy_nats", "gauge", "Entropy of the policy, a token."}},
    Plain{"grad_norm", {"sluice_gradient_norm", "gauge", "Norm of the gradient before it is clipped."}},
    Plain{"learning_rate", {"sluice_learning_rate", "gauge", "Learning rate of the step."}},
    Plain{"clip_ratio/region_mean",
          {"sluice_clipped_tokens_ratio", "gauge", "Tokens whose ratio was clipped."}},
    Plain{"completions/mean_length",
          {"sluice_completion_tokens", "gauge", "Mean length of the completions, in tokens."}},
    Plain{"completions/clipped_ratio",
          {"sluice_completions_truncated_ratio", "gauge", "Completions that were cut."}},
    Plain{"num_tokens", {"sluice_trained_tokens_total", "counter", "Tokens the stage has trained on."}},
    Plain{"tokens_per_s", {"sluice_tokens_per_second", "gauge", "Tokens of the step over its time."}},
    Plain{"skipped_steps",
          {"sluice_skipped_steps_total", "counter", "Steps of the stage that moved no weight."}},
    Plain{"step_time", {"sluice_step_duration_seconds", "gauge", "Time of the step."}},
    Plain{"policy/version", {"sluice_policy_version", "gauge", "Version of the weights."}},
    Plain{"policy/lag",
          {"sluice_policy_lag_versions", "gauge", "Versions between sampling and training, on average."}},
    Plain{"sampling/logp_diff_mean",
          {"sluice_logprob_difference_nats", "gauge", "Log-probs of the learner and the actors apart."}},
    Plain{"queue/duplicates",
          {"sluice_duplicate_groups_total", "counter", "Groups that came a second time."}},
    Plain{"queue/rejected", {"sluice_rejected_frames_total", "counter", "Frames that were refused."}},
    Plain{"queue/journal_mb", {"sluice_journal_bytes", "gauge", "Size of the journal."}, kMega},
    Plain{"law/issued", {"sluice_groups_issued_total", "counter", "Groups of the stage leased so far."}},
    Plain{"disk/free_mb", {"sluice_disk_free_bytes", "gauge", "Room on the disk of the run."}, kMega},
    Plain{"disk/checkpoint_mb", {"sluice_checkpoint_bytes", "gauge", "Size of a checkpoint."}, kMega},
};

// A field of state.json, newer than the step.
struct Live {
  std::string_view field;
  Family family;
};
constexpr std::array kLive = {
    Live{"queue_depth", {"sluice_queue_groups", "gauge", "Groups in the queue."}},
    Live{"credits", {"sluice_queue_credits", "gauge", "Leases that actors could take on."}},
    Live{"age_s", {"sluice_queue_age_seconds", "gauge", "How long the oldest group has waited."}},
    Live{"actors", {"sluice_actors", "gauge", "Actors that are connected."}},
};

std::string number(double value) {
  std::array<char, 32> text{};
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? "\\n" : std::string(1, c);
  }
  return out;
}

using Labels = std::vector<std::pair<std::string, std::string>>;

// Collects the samples of one family after another.
class Text {
 public:
  void begin(const Family& family) { family_ = family, begun_ = false; }
  void sample(double value, const Labels& labels = {}) {
    const std::string name(family_.name);
    if (!begun_) {
      out_ += "# HELP " + name + " " + std::string(family_.help) + "\n# TYPE " + name + " " +
              std::string(family_.type) + "\n";
    }
    begun_ = true;
    out_ += name;
    for (const auto& [key, text] : labels)
      out_ += (&key == &labels.front().first ? "{" : ",") + key + "=\"" + escaped(text) + "\"";
    out_ += (labels.empty() ? " " : "} ") + number(value) + "\n";
  }
  void one(const Family& family, double value, const Labels& labels = {}) {
    begin(family);
    sample(value, labels);
  }
  std::string take() { return std::move(out_); }

 private:
  Family family_ = kRun;
  bool begun_ = false;
  std::string out_;
};

// What stands between the two in the name of a metric; empty where it is another.
std::string between(const std::string& metric, std::string_view prefix, std::string_view suffix) {
  if (!metric.starts_with(prefix) || !metric.ends_with(suffix)) return "";
  if (metric.size() <= prefix.size() + suffix.size()) return "";
  return metric.substr(prefix.size(), metric.size() - prefix.size() - suffix.size());
}

void add_parts(Text& text, const std::map<std::string, double>& metrics) {
  text.begin(kScorer);
  for (const auto& [name, value] : metrics) {
    if (const auto scorer = between(name, "rewards/", "/mean"); !scorer.empty())
      text.sample(value, {{"scorer", scorer}});
  }
  text.begin(kScorerTime);
  for (const auto& [name, value] : metrics) {
    for (const auto& [suffix, quantile] : {std::pair{"/seconds_p50", "0.5"}, {"/seconds_p95", "0.95"}}) {
      if (const auto scorer = between(name, "rewards/", suffix); !scorer.empty())
        text.sample(value, {{"scorer", scorer}, {"quantile", quantile}});
    }
  }
  text.begin(kPart);
  for (const auto& [name, value] : metrics) {
    if (const auto part = between(name, "time/", ""); !part.empty()) text.sample(value, {{"part", part}});
  }
}

void add_law(Text& text, const std::map<std::string, double>& metrics) {
  const auto add = [&](const Family& family, const char* label, std::vector<std::string> names) {
    text.begin(family);
    for (const auto& name : names) {
      const auto found = metrics.find("law/" + name);
      if (found != metrics.end()) text.sample(found->second, {{label, name}});
    }
  };
  add(kFates, "fate", {"trained", "dropped", "quarantined"});
  add(kPlaces, "place", {"queued", "leased"});
}

void add_step(Text& text, const StepReport& last) {
  text.one(kSteps, static_cast<double>(last.step));
  text.one(kStageStep, static_cast<double>(last.stage_step));
  text.one(kStageSteps, static_cast<double>(last.stage_steps));
  text.one(kStepTime, last.wall_time);
  for (const auto& plain : kPlain) {
    const auto found = last.metrics.find(std::string(plain.metric));
    if (found != last.metrics.end()) text.one(plain.family, found->second * plain.scale);
  }
  add_parts(text, last.metrics);
  add_law(text, last.metrics);
}

}  // namespace

std::string prometheus_text(const RunStatus& status) {
  Text text;
  const std::string stage = status.last ? status.last->stage : "";
  text.one(kRun, 1, {{"run", status.name}, {"id", status.id}, {"stage", stage}});
  if (status.last) add_step(text, *status.last);
  for (const auto& live : kLive) {
    const auto found = status.state.find(std::string(live.field));
    if (found == status.state.end()) continue;
    if (const auto value = as_number(found->second)) text.one(live.family, *value);
  }
  text.begin(kActorTokens);
  for (const auto& [actor, fields] : status.actors) {
    const auto found = fields.find("tokens");
    if (found == fields.end()) continue;
    if (const auto value = as_number(found->second)) text.sample(*value, {{"actor", actor}});
  }
  text.begin(kAlarm);
  for (const auto& rule : health_rules()) {
    const bool stands = status.last && std::ranges::any_of(status.last->alarms, [&](const Alarm& alarm) {
                          return alarm.rule == rule.name;
                        });
    text.sample(stands ? 1 : 0, {{"rule", rule.name}});
  }
  return text.take();
}

std::vector<std::string> prometheus_names() {
  std::vector<std::string> names;
  for (const auto& family : {kRun, kSteps, kStageStep, kStageSteps, kStepTime, kAlarm, kScorer, kScorerTime,
                             kPart, kFates, kPlaces, kActorTokens})
    names.emplace_back(family.name);
  for (const auto& plain : kPlain) names.emplace_back(plain.family.name);
  for (const auto& live : kLive) names.emplace_back(live.family.name);
  return names;
}

}  // namespace sluice::monitor
