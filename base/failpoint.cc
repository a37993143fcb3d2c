#include "base/failpoint.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice {
namespace {

constexpr FailpointInfo kFailpoints[] = {
    {Failpoint::JournalBeforeWrite, "journal.before_write", "the learner has a record for its journal"},
    {Failpoint::JournalAfterWrite, "journal.after_write", "it is written and not yet on the disk"},
    {Failpoint::JournalAfterSync, "journal.after_sync", "it is on the disk and nobody was told"},
    {Failpoint::SpoolBeforeWrite, "spool.before_write", "an actor has finished a group"},
    {Failpoint::SpoolAfterWrite, "spool.after_write", "the group is written and not yet on the disk"},
    {Failpoint::SpoolAfterSync, "spool.after_sync", "the group is on the disk and was not sent"},
    {Failpoint::BatchJournalled, "step.after_batch", "the groups of a step are fixed, nothing is learned"},
    {Failpoint::StepLearned, "step.after_update", "the weights have moved, the journal does not know"},
    {Failpoint::StepTrained, "step.after_trained", "the journal knows, no actor has the new weights"},
    {Failpoint::VersionPublished, "step.after_publish", "the new weights are there for the actors"},
    {Failpoint::CheckpointWritten, "checkpoint.after_write", "a checkpoint is on the disk without its name"},
    {Failpoint::CheckpointNamed, "checkpoint.after_rename", "it has its name, `latest` is another"},
    {Failpoint::CheckpointPointedAt, "checkpoint.after_latest", "older ones are still to be removed"},
    {Failpoint::JournalTrimmed, "checkpoint.after_trim",
     "the journal has lost what older steps were made of"},
    {Failpoint::StageResult, "stage.after_result", "a stage has its result, the run goes on to the next"},
    {Failpoint::Reward, "reward.score", "a scorer gave the first score of a group", true},
    {Failpoint::Logprob, "actor.logprob", "an actor records the log-prob of a token", true},
    {Failpoint::Ratio, "learner.ratio", "the ratios of a micro-batch that are clipped", true},
    {Failpoint::Loss, "learner.loss", "the loss of a micro-batch of a policy stage", true},
    {Failpoint::Gradient, "optimizer.gradient", "the gradient of an update, before it is clipped", true},
    {Failpoint::Weight, "optimizer.weight", "the weights after an update", true},
    {Failpoint::RanksSum, "ranks.sum", "a rank has begun a sum of gradients, and given nothing", false, true},
    {Failpoint::RanksBroadcast, "ranks.broadcast",
     "a rank is to give what it has, or to take it, and did not", false, true},
};

enum class Action { Kill, Stop, Slow, Error, Nan, Inf };
constexpr std::array<std::pair<const char*, Action>, 6> kActions{{{"kill", Action::Kill},
                                                                  {"stop", Action::Stop},
                                                                  {"slow", Action::Slow},
                                                                  {"error", Action::Error},
                                                                  {"nan", Action::Nan},
                                                                  {"inf", Action::Inf}}};

constexpr std::chrono::seconds kSlow{8};

struct Armed {
  FailpointInfo point;
  std::optional<int64_t> rank = {};  // this one alone
  int64_t time = 0;                  // the first is 1
  Action action = Action::Kill;
};

[[noreturn]] void refuse(const std::string& value, const std::string& why) {
  fail<UsageError>(
      kFailVariable, "=", value, ": ", why,
      "; it is PLACE:TIME:ACTION, as in "
      "journal.after_write:3:kill, with an action of kill, stop, slow, error, and nan or inf where there is "
      "a number, and PLACE@RANK where there are ranks; `sluice doctor --failpoints` lists the places");
}

FailpointInfo named(const std::string& name, const std::string& value) {
  std::set<std::string> known;
  for (const auto& info : kFailpoints) {
    if (name == info.name) return info;
    known.insert(info.name);
  }
  refuse(value, "there is no place " + name + did_you_mean(name, known));
}

// A number from `least`.
int64_t number_in(const std::string& text, int64_t least, const std::string& value) {
  int64_t number = -1;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data(), end, number).ptr != end || number < least) {
    refuse(value, "\"" + text + "\" is no number from " + std::to_string(least));
  }
  return number;
}

std::optional<Armed> parse() {
  const char* variable = std::getenv(kFailVariable);
  if (variable == nullptr || *variable == '\0') return std::nullopt;
  const std::string value = variable;
  const auto first = value.find(':'), second = value.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) refuse(value, "it has no three parts");
  const auto place = value.substr(0, first);
  const auto at = place.find('@');
  Armed armed{.point = named(place.substr(0, at), value)};
  if (at != std::string::npos) {
    if (!armed.point.has_ranks) refuse(value, std::string("there are no ranks at ") + armed.point.name);
    armed.rank = number_in(place.substr(at + 1), 0, value);
  }
  armed.time = number_in(value.substr(first + 1, second - first - 1), 1, value);
  const auto action = value.substr(second + 1);
  const auto found =
      std::ranges::find(kActions, action, [](const auto& known) { return std::string(known.first); });
  if (found == kActions.end()) refuse(value, "there is no action " + action);
  armed.action = found->second;
  if (!armed.point.has_number && (armed.action == Action::Nan || armed.action == Action::Inf)) {
    refuse(value, std::string("there is no number at ") + armed.point.name);
  }
  return armed;
}

const std::optional<Armed>& armed() {
  static const std::optional<Armed> found = parse();
  return found;
}

// What is to happen at this place, this time.
std::optional<Action> due(Failpoint point) {
  static std::atomic<int64_t> times = 0;
  if (!armed() || armed()->point.point != point || ++times != armed()->time) return std::nullopt;
  return armed()->action;
}

}  // namespace

std::span<const FailpointInfo> failpoints() { return kFailpoints; }

void check_failpoint() { armed(); }

void reach(Failpoint point) { injected(point); }

void reach(Failpoint point, int64_t rank) {
  if (armed() && armed()->rank.value_or(rank) == rank) injected(point);
}

std::optional<double> injected(Failpoint point) {
  const auto action = due(point);
  if (!action) return std::nullopt;
  switch (*action) {
    case Action::Kill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Action::Stop:
      ::kill(::getpid(), SIGSTOP);
      break;
    case Action::Slow:
      std::this_thread::sleep_for(kSlow);
      break;
    case Action::Error:
      fail<EnvironmentError>(armed()->point.name, ": told to fail by ", kFailVariable);
    case Action::Nan:
      return std::numeric_limits<double>::quiet_NaN();
    case Action::Inf:
      return std::numeric_limits<double>::infinity();
  }
  return std::nullopt;
}

}  // namespace sluice
