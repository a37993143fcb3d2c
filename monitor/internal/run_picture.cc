#include "monitor/internal/run_picture.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>
#include <unordered_set>
#include <utility>

namespace sluice::monitor::internal {
namespace {

constexpr const char* kGroup = "learner";
constexpr const char* kConsumer = "learner";

std::string number_text(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

void append_fields(RedisCommand& command, const std::map<std::string, std::string>& fields) {
  for (const auto& [name, value] : fields) {
    command.push_back(name);
    command.push_back(value);
  }
}

}  // namespace

std::string to_string(const StreamId& id) {
  return std::to_string(id.ms) + "-" + std::to_string(id.sequence);
}

std::optional<StreamId> parse_stream_id(const std::string& text) {
  StreamId id;
  const char* const end = text.data() + text.size();
  const auto [dash, ms_error] = std::from_chars(text.data(), end, id.ms);
  if (ms_error != std::errc() || dash == end || *dash != '-') return std::nullopt;
  const auto [rest, error] = std::from_chars(dash + 1, end, id.sequence);
  if (error != std::errc() || rest != end) return std::nullopt;
  return id;
}

RunPicture::RunPicture(const std::string& run, size_t max_waiting, const Clock& clock)
    : run_(run), prefix_("sluice:{" + run + "}:"), max_waiting_(max_waiting), clock_(clock) {}

void RunPicture::add(RedisCommand command) {
  if (!following_) return;
  if (waiting_.size() >= max_waiting_) {
    waiting_.pop_front();
    ++num_dropped_;
    whole_due_ = true;
  }
  waiting_.push_back(std::move(command));
}

// Times as every other tool shows them, made here so that the mirror knows an entry's id before the server
// does.
StreamId RunPicture::next_id() {
  const auto now = static_cast<uint64_t>(wall_seconds() * 1000);
  last_id_ = now > last_id_.ms ? StreamId{now, 0} : StreamId{last_id_.ms, last_id_.sequence + 1};
  return last_id_;
}

std::vector<RedisCommand> RunPicture::state_commands() const {
  // The run's name is there from the start, so the key's absence means that it was taken away.
  RedisCommand set = {"HSET", key("state"), "run", run_};
  append_fields(set, state_);
  return {{"DEL", key("state")}, std::move(set)};
}

void RunPicture::state(RunState state) {
  state_ = std::move(state.fields);
  for (auto& command : state_commands()) add(std::move(command));
}

// Fields that are no more go with the key.
std::vector<RedisCommand> RunPicture::actor_commands(const std::string& name, const Actor& actor,
                                                     bool fields_differ) const {
  const auto actor_key = key("actor:" + name);
  RedisCommand set = {"HSET", actor_key, "name", name};
  append_fields(set, actor.fields);
  const Millis left = kActorTtlMs - (clock_.now_ms() - actor.seen_ms);
  std::vector<RedisCommand> out;
  if (fields_differ) out.push_back({"DEL", actor_key});
  out.push_back(std::move(set));
  out.push_back({"PEXPIRE", actor_key, std::to_string(left)});
  return out;
}

void RunPicture::forget_silent_actors() {
  const Millis now = clock_.now_ms();
  looked_for_silent_ms_ = now;
  std::erase_if(actors_, [&](const auto& entry) { return now - entry.second.seen_ms >= kActorTtlMs; });
}

void RunPicture::actor(ActorState actor) {
  const Millis now = clock_.now_ms();
  if (now - looked_for_silent_ms_ >= kActorEveryMs) forget_silent_actors();
  auto& kept = actors_[actor.name];
  const bool fields_differ =
      !std::ranges::equal(std::views::keys(kept.fields), std::views::keys(actor.fields));
  kept.seen_ms = now;
  if (kept.shown_ms && now - *kept.shown_ms < kActorEveryMs && !fields_differ) return;
  kept.fields = std::move(actor.fields);
  if (following_) kept.shown_ms = now;
  for (auto& command : actor_commands(actor.name, kept, fields_differ)) add(std::move(command));
}

RedisCommand RunPicture::entry(const std::string& name, const StreamId& id,
                               const std::map<std::string, std::string>& fields, bool trimmed) const {
  RedisCommand command = {"XADD", key(name)};
  if (trimmed) command.insert(command.end(), {"MAXLEN", "~", std::to_string(kMetricsKept)});
  command.push_back(to_string(id));
  append_fields(command, fields);
  return command;
}

void RunPicture::write(const StepReport& report) {
  std::map<std::string, std::string> fields;
  for (const auto& [name, value] : report.metrics) fields[name] = number_text(value);
  fields["stage"] = report.stage;
  fields["step"] = std::to_string(report.step);
  fields["stage_step"] = std::to_string(report.stage_step);
  fields["stage_steps"] = std::to_string(report.stage_steps);
  fields["wall_time"] = number_text(report.wall_time);
  if (!report.note.empty()) fields["note"] = report.note;

  metrics_.push_back({next_id(), std::move(fields)});
  if (metrics_.size() > kMetricsKept) metrics_.pop_front();
  add(entry("metrics", metrics_.back().id, metrics_.back().fields, true));
}

void RunPicture::event(const std::string& text) { add({"PUBLISH", key("events"), text}); }

void RunPicture::queued(std::vector<QueuedRollout> groups) {
  for (auto& group : groups) {
    if (by_group_.contains(group.group)) continue;
    group.fields["group"] = std::to_string(group.group);
    const auto at = queued_.insert(queued_.end(), Rollout{std::move(group), next_id()});
    by_group_[at->group.group] = at;
    add(entry("rollouts", at->id, at->group.fields, false));
    ++num_added_;
  }
}

RedisCommand RunPicture::read_command(size_t count) const {
  return {"XREADGROUP",          "GROUP",   kGroup,          kConsumer, "COUNT",
          std::to_string(count), "STREAMS", key("rollouts"), ">"};
}

// What is read up to `last`, since a server that reads past a removed entry loses count.
RedisCommand RunPicture::count_command(const StreamId& last) const {
  return {"XGROUP",
          "SETID",
          key("rollouts"),
          kGroup,
          to_string(last),
          "ENTRIESREAD",
          std::to_string(num_added_ - queued_.size())};
}

// Whether reading on would read just these, in whatever order.
bool RunPicture::next_in_line(const std::vector<Rollouts::iterator>& chosen) const {
  std::unordered_set<uint64_t> wanted;
  for (const auto& at : chosen) wanted.insert(at->group.group);
  auto next = queued_.begin();
  for (size_t i = 0; i < chosen.size(); ++i, ++next) {
    if (next == queued_.end() || !wanted.contains(next->group.group)) return false;
  }
  return true;
}

void RunPicture::batched(const std::vector<uint64_t>& groups) {
  std::vector<Rollouts::iterator> chosen;
  for (const uint64_t group : groups) {
    const auto found = by_group_.find(group);
    if (found == by_group_.end() || found->second->in_batch) continue;
    found->second->in_batch = true;
    chosen.push_back(found->second);
  }
  if (chosen.empty()) return;
  // A stream is read in its order only: a batch that jumps the queue needs the stream written anew.
  const bool in_line = next_in_line(chosen);
  StreamId last;
  for (const auto& at : chosen) {
    last = std::max(last, at->id);
    in_batch_.splice(in_batch_.end(), queued_, at);
  }
  if (!in_line) {
    whole_due_ = true;
    return;
  }
  add(read_command(chosen.size()));
  if (!hole_ || last < *hole_) return;
  add(count_command(last));
  hole_.reset();
}

void RunPicture::ended(const std::vector<uint64_t>& groups) {
  RedisCommand acknowledge = {"XACK", key("rollouts"), kGroup};
  RedisCommand remove = {"XDEL", key("rollouts")};
  bool any_read = false;
  bool any = false;
  for (const uint64_t group : groups) {
    const auto found = by_group_.find(group);
    if (found == by_group_.end()) continue;
    const auto at = found->second;
    by_group_.erase(found);
    any = true;
    remove.push_back(to_string(at->id));
    if (at->in_batch) {
      acknowledge.push_back(to_string(at->id));
      any_read = true;
    } else {
      hole_ = std::max(hole_.value_or(at->id), at->id);
    }
    (at->in_batch ? in_batch_ : queued_).erase(at);
  }
  if (any_read) add(std::move(acknowledge));
  if (any) add(std::move(remove));
}

std::vector<RedisCommand> RunPicture::take_changes() {
  std::vector<RedisCommand> out = {{"MULTI"}, {"EXISTS", key("state"), key("rollouts")}};
  for (auto& command : waiting_) out.push_back(std::move(command));
  waiting_.clear();
  out.push_back({"EXEC"});
  return out;
}

std::vector<RedisCommand> RunPicture::take_whole(std::optional<StreamId> last_metric) {
  std::vector<RedisCommand> out = {{"MULTI"}, {"DEL", key("rollouts")}};
  const auto append = [&out](std::vector<RedisCommand> commands) {
    for (auto& command : commands) out.push_back(std::move(command));
  };
  append(state_commands());

  if (last_metric) last_id_ = std::max(last_id_, *last_metric);
  out.push_back({"XGROUP", "CREATE", key("rollouts"), kGroup, "0", "MKSTREAM"});
  for (auto* list : {&in_batch_, &queued_}) {
    for (auto& rollout : *list) {
      rollout.id = next_id();
      out.push_back(entry("rollouts", rollout.id, rollout.group.fields, false));
    }
  }
  num_added_ = in_batch_.size() + queued_.size();
  hole_.reset();
  if (!in_batch_.empty()) out.push_back(read_command(in_batch_.size()));

  forget_silent_actors();
  for (const auto& [name, actor] : actors_) append(actor_commands(name, actor));

  for (auto& metric : metrics_) {
    // What an earlier run of this name wrote tells nothing about this one's entries.
    if (shown_ && last_metric && metric.id <= *last_metric) continue;
    if (!shown_) metric.id = next_id();
    out.push_back(entry("metrics", metric.id, metric.fields, true));
  }

  // An event is no part of the picture: it is still to be heard.
  for (auto& command : waiting_) {
    if (command.front() == "PUBLISH") out.push_back(std::move(command));
  }
  waiting_.clear();
  out.push_back({"EXEC"});
  following_ = true;
  shown_ = true;
  whole_due_ = false;
  return out;
}

void RunPicture::stop_following() {
  following_ = false;
  waiting_.clear();
}

}  // namespace sluice::monitor::internal
