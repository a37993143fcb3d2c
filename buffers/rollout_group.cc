#include "buffers/rollout_group.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "base/byte_codec.h"
#include "base/error.h"

namespace sluice::buffers {
namespace {

using rewards::RewardOutcome;

constexpr uint8_t kVersion = 5;         // 5: what came of calls
constexpr uint32_t kMaxOutcomes = 256;  // scorers of one recipe, and parts of one outcome

void encode_outcome(ByteWriter& out, const RewardOutcome& outcome) {
  out.u8(outcome.score ? 1 : 0);
  if (!outcome.score) {
    out.bytes(outcome.unscored_reason);
    return;
  }
  out.f64(*outcome.score);
  out.u32(static_cast<uint32_t>(outcome.parts.size()));
  for (const auto& [name, value] : outcome.parts) {
    out.bytes(name);
    out.f64(value);
  }
}

void encode_outcomes(ByteWriter& out, const std::vector<RewardOutcome>& outcomes) {
  out.u32(static_cast<uint32_t>(outcomes.size()));
  for (const auto& outcome : outcomes) encode_outcome(out, outcome);
}

void encode_scorers(ByteWriter& out, const std::vector<ScorerWatch>& scorers) {
  out.u32(static_cast<uint32_t>(scorers.size()));
  for (const auto& scorer : scorers) {
    out.f64(scorer.seconds);
    out.u8(scorer.canary_error ? 1 : 0);
    if (scorer.canary_error) out.f64(*scorer.canary_error);
    out.i64(scorer.cached);
  }
}

void encode_tools(ByteWriter& out, const std::optional<ToolWatch>& tools) {
  out.u8(tools ? 1 : 0);
  if (!tools) return;
  out.i64(tools->calls);
  out.i64(tools->failed);
  out.f64(tools->seconds);
}

void encode_completion(ByteWriter& out, const Completion& completion) {
  out.i32s(completion.tokens);
  out.u8s(completion.mask);
  out.f32s(completion.logprobs);
  out.f32s(completion.kept_mass);
  out.i64s(completion.versions);
  out.u8(static_cast<uint8_t>(completion.finish));
  out.bytes(completion.text);
  encode_outcomes(out, completion.outcomes);
}

// Reads one group; every message names it and, inside a completion, which one.
class GroupDecoder {
 public:
  GroupDecoder(std::string_view bytes, const GroupLimits& limits)
      : in_(bytes, "rollout group"), limits_(limits) {}

  RolloutGroup decode() {
    const auto version = in_.u8();
    require<DataError>(version == kVersion, where_, ": format ", int{version}, ", this program reads ",
                       int{kVersion});
    RolloutGroup group;
    group.group = in_.u64();
    where_ += " " + std::to_string(group.group);
    group.attempt = static_cast<int32_t>(in_.u32());
    group.step = in_.i64();
    check(group.attempt >= 0, "attempt ", group.attempt);
    check(group.step >= 0, "step ", group.step);
    group.prompt = in_.i32s();
    check_ids("prompt", group.prompt);
    group.prompt_text = in_.bytes();
    const auto num_samples = in_.u32();
    check(num_samples >= 1 && num_samples <= limits_.max_samples, num_samples, " completions, 1 to ",
          limits_.max_samples, " are allowed");
    const std::string group_where = where_;
    for (uint32_t i = 0; i < num_samples; ++i) {
      where_ = group_where + ", completion " + std::to_string(i);
      group.completions.push_back(completion());
    }
    where_ = group_where;
    group.greedy = outcomes();
    group.scorers = scorers();
    group.tools = tools();
    group.actor = in_.bytes();
    group.incarnation = in_.u64();
    group.sequence = in_.u64();
    group.ttft_s = in_.f64();
    group.tpot_s = in_.f64();
    check(
        std::isfinite(group.ttft_s) && group.ttft_s >= 0 && std::isfinite(group.tpot_s) && group.tpot_s >= 0,
        "first tokens after ", group.ttft_s, " s, then ", group.tpot_s, " s each");
    in_.finish();
    return group;
  }

 private:
  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    require<DataError>(condition, where_, ": ", parts...);
  }

  void check_ids(const char* what, const std::vector<int32_t>& ids) const {
    check(std::ssize(ids) <= limits_.max_tokens, what, " of ", ids.size(), " tokens, at most ",
          limits_.max_tokens, " are allowed");
    for (const int32_t id : ids) {
      check(id >= 0 && id < limits_.vocab_size, what, " holds token ", id, ", the vocabulary has ",
            limits_.vocab_size);
    }
  }

  Completion completion() {
    Completion out;
    out.tokens = in_.i32s();
    check_ids("completion", out.tokens);
    out.mask = in_.u8s();
    out.logprobs = in_.f32s();
    out.kept_mass = in_.f32s();
    out.versions = in_.i64s();
    const auto n = out.tokens.size();
    check(out.mask.size() == n && out.logprobs.size() == n && out.kept_mass.size() == n &&
              out.versions.size() == n,
          n, " tokens, ", out.mask.size(), " mask entries, ", out.logprobs.size(), " log-probs, ",
          out.kept_mass.size(), " kept masses, ", out.versions.size(), " versions");
    for (size_t t = 0; t < n; ++t) {
      check(out.mask[t] <= 1, "mask[", t, "] is ", int{out.mask[t]});
      check(out.versions[t] >= 0, "version[", t, "] is ", out.versions[t]);
    }
    const auto finish = in_.u8();
    check(finish <= static_cast<uint8_t>(FinishReason::StopString), "finish reason ", int{finish});
    out.finish = static_cast<FinishReason>(finish);
    out.text = in_.bytes();
    out.outcomes = outcomes();
    return out;
  }

  std::vector<RewardOutcome> outcomes() {
    std::vector<RewardOutcome> out;
    const auto num_outcomes = count("outcomes");
    for (uint32_t k = 0; k < num_outcomes; ++k) out.push_back(outcome());
    return out;
  }

  RewardOutcome outcome() {
    const auto scored = in_.u8();
    check(scored <= 1, "an outcome starts with ", int{scored});
    if (scored == 0) {
      std::string reason(in_.bytes());
      check(!reason.empty(), "an outcome has neither a score nor a reason");
      return RewardOutcome::unscored(std::move(reason));
    }
    const double score = in_.f64();
    check(std::isfinite(score), "a score is ", score);
    std::map<std::string, double> parts;
    const auto num_parts = count("parts of a score");
    for (uint32_t i = 0; i < num_parts; ++i) {
      std::string name(in_.bytes());
      const double value = in_.f64();
      check(std::isfinite(value), "part \"", name, "\" of a score is ", value);
      check(parts.emplace(std::move(name), value).second, "a part of a score comes twice");
    }
    return RewardOutcome::scored(score, std::move(parts));
  }

  std::vector<ScorerWatch> scorers() {
    std::vector<ScorerWatch> out(count("scorers"));
    for (auto& scorer : out) {
      scorer.seconds = in_.f64();
      const auto canaries = in_.u8();
      check(canaries <= 1, "canaries of a scorer start with ", int{canaries});
      if (canaries == 1) scorer.canary_error = in_.f64();
      scorer.cached = in_.i64();
      check(scorer.cached >= 0, "a scorer had ", scorer.cached, " scores already");
      check(std::isfinite(scorer.seconds) && scorer.seconds >= 0, "a scorer took ", scorer.seconds, " s");
      check(std::isfinite(scorer.canary_error.value_or(0)) && scorer.canary_error.value_or(0) >= 0,
            "a known score is off by ", scorer.canary_error.value_or(0));
    }
    return out;
  }

  std::optional<ToolWatch> tools() {
    const auto there = in_.u8();
    check(there <= 1, "tools start with ", int{there});
    if (there == 0) return std::nullopt;
    ToolWatch tools;
    tools.calls = in_.i64();
    tools.failed = in_.i64();
    tools.seconds = in_.f64();
    check(tools.failed >= 0 && tools.failed <= tools.calls, tools.failed, " of ", tools.calls,
          " calls failed");
    check(std::isfinite(tools.seconds) && tools.seconds >= 0, "calls took ", tools.seconds, " s");
    return tools;
  }

  uint32_t count(const char* what) {
    const auto n = in_.u32();
    check(n <= kMaxOutcomes, n, " ", what, ", at most ", kMaxOutcomes, " are allowed");
    return n;
  }

  ByteReader in_;
  const GroupLimits limits_;
  std::string where_ = "rollout group";
};

}  // namespace

std::string sampling_fault(const SamplingParams& sampling) {
  struct Range {
    const char* name;
    double value, low, high;
    // NaN lies in no range.
    std::string fault() const {
      if (value >= low && value <= high) return {};
      std::ostringstream out;
      out << name << ' ' << value << "; it goes from " << low << " to " << high;
      return out.str();
    }
  };
  using Limits = std::numeric_limits<double>;
  for (const Range& range :
       {Range{"temperature", sampling.temperature, 0, Limits::max()},
        Range{"top_k", static_cast<double>(sampling.top_k), 0, Limits::max()},
        Range{"top_p", sampling.top_p, Limits::min(), 1}, Range{"min_p", sampling.min_p, 0, 1},
        Range{"repetition_penalty", sampling.repetition_penalty, kMinRepetitionPenalty,
              kMaxRepetitionPenalty},
        Range{"frequency_penalty", sampling.frequency_penalty, -kMaxPenalty, kMaxPenalty},
        Range{"presence_penalty", sampling.presence_penalty, -kMaxPenalty, kMaxPenalty},
        Range{"biases", static_cast<double>(sampling.logit_bias.size()), 0, kMaxLogitBiases},
        Range{"stop strings", static_cast<double>(sampling.stop_strings.size()), 0, kMaxStopStrings}}) {
    if (auto fault = range.fault(); !fault.empty()) return fault;
  }
  const auto last_token = static_cast<double>(GroupLimits().vocab_size - 1);
  for (const auto& [token, bias] : sampling.logit_bias) {
    if (auto fault = Range{"bias for token", static_cast<double>(token), 0, last_token}.fault();
        !fault.empty())
      return fault;
    if (auto fault = Range{"bias", bias, -kMaxLogitBias, kMaxLogitBias}.fault(); !fault.empty()) return fault;
  }
  for (const auto& stop : sampling.stop_strings) {
    if (auto fault =
            Range{"bytes of a stop string", static_cast<double>(stop.size()), 1, kMaxStopStringBytes}.fault();
        !fault.empty())
      return fault;
  }
  return {};
}

int64_t RolloutGroup::oldest_version() const {
  std::optional<int64_t> oldest;
  for (const auto& completion : completions) {
    for (size_t t = 0; t < completion.tokens.size(); ++t) {
      if (completion.mask[t] == 0) continue;
      oldest = oldest ? std::min(*oldest, completion.versions[t]) : completion.versions[t];
    }
  }
  return oldest.value_or(0);
}

int64_t RolloutGroup::num_tokens() const {
  int64_t count = 0;
  for (const auto& completion : completions) {
    count += std::count_if(completion.mask.begin(), completion.mask.end(),
                           [](uint8_t chosen) { return chosen != 0; });
  }
  return count;
}

std::string encode_group(const RolloutGroup& group) {
  ByteWriter out;
  out.u8(kVersion);
  out.u64(group.group);
  out.u32(static_cast<uint32_t>(group.attempt));
  out.i64(group.step);
  out.i32s(group.prompt);
  out.bytes(group.prompt_text);
  out.u32(static_cast<uint32_t>(group.completions.size()));
  for (const auto& completion : group.completions) encode_completion(out, completion);
  encode_outcomes(out, group.greedy);
  encode_scorers(out, group.scorers);
  encode_tools(out, group.tools);
  out.bytes(group.actor);
  out.u64(group.incarnation);
  out.u64(group.sequence);
  out.f64(group.ttft_s);
  out.f64(group.tpot_s);
  return out.take();
}

RolloutGroup decode_group(std::string_view bytes, const GroupLimits& limits) {
  return GroupDecoder(bytes, limits).decode();
}

}  // namespace sluice::buffers
