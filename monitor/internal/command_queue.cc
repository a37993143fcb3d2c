#include "monitor/internal/command_queue.h"

#include <utility>

namespace sluice::monitor::internal {
namespace {

constexpr const char* kAtOnce = "16";  // commands of one look

// The field `do` of an entry; "" without one.
std::string text_of(const RedisReply& entry) {
  const auto& fields = entry.elements[1].elements;
  for (size_t i = 0; i + 1 < fields.size(); i += 2) {
    if (fields[i].text == "do") return fields[i + 1].text;
  }
  return "";
}

// By this reply or an earlier one that was lost on the way: an id is taken once.
bool is_said(const RedisReply& reply) {
  return !reply.is_error() || reply.text.find("equal or smaller") != std::string::npos;
}

}  // namespace

std::vector<RedisCommand> CommandQueue::look() const {
  std::vector<RedisCommand> out;
  for (const auto& answer : answers_) out.push_back(answer.command);
  RedisCommand remove = {"XDEL", prefix_ + "commands", "0-1"};  // an id that no command has
  for (const auto& id : answered_) remove.push_back(to_string(id));
  out.push_back(std::move(remove));
  out.push_back({"XRANGE", prefix_ + "commands", "-", "+", "COUNT", kAtOnce});
  return out;
}

std::string CommandQueue::looked(const std::vector<RedisReply>& replies) {
  std::string error;
  const auto num_answers = replies.size() - 2;
  const auto &removed = replies[num_answers], &entries = replies[num_answers + 1];
  if (!removed.is_error()) {
    for (const auto& id : std::exchange(answered_, {})) open_.erase(id);
  }
  for (size_t i = 0; i < num_answers; ++i) {
    auto answer = std::move(answers_.front());
    answers_.pop_front();
    if (is_said(replies[i])) {
      answered_.push_back(answer.id);
    } else {
      error = replies[i].text;
      answers_.push_back(std::move(answer));
    }
  }
  if (removed.is_error()) error = removed.text;
  if (entries.is_error()) return entries.text;
  const bool listened = last_seen_.has_value();
  if (!listened) last_seen_ = StreamId{};
  for (const auto& entry : entries.elements) meet(entry, listened);
  return error;
}

void CommandQueue::meet(const RedisReply& entry, bool listened) {
  const auto id =
      entry.elements.size() == 2 ? parse_stream_id(entry.elements[0].text) : std::optional<StreamId>();
  if (!id || !open_.insert(*id).second) return;
  const RunCommand command{entry.elements[0].text, text_of(entry)};
  if (*id <= *last_seen_) {
    answer(command, "refused",
           "it was taken before by a process that ended without an answer, and is not done again");
    return;
  }
  last_seen_ = *id;
  if (listened) {
    arrived_.push_back(command);
  } else {
    answer(command, "refused", "it was sent before this run listened");
  }
}

std::vector<RunCommand> CommandQueue::take() { return std::exchange(arrived_, {}); }

void CommandQueue::answer(const RunCommand& command, const std::string& result, const std::string& text) {
  answers_.push_back({*parse_stream_id(command.id),
                      {"XADD", prefix_ + "replies", "MAXLEN", "~", std::to_string(kRepliesKept), command.id,
                       "do", command.text, "result", result, "text", text}});
}

}  // namespace sluice::monitor::internal
