#include "rewards/plugins/protocol.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/json_text.h"
#include "base/utf8.h"

namespace sluice::rewards::plugins {
namespace {

constexpr size_t kReplyBytes = 1u << 20;
constexpr size_t kReplyBytesPerSample = 4u << 10;
constexpr size_t kMaxReasonBytes = 500;
constexpr size_t kMaxParts = 64;
constexpr const char* kHello = "hello";
constexpr const char* kReply = "reply";

// Never in the middle of a character.
std::string shortened(std::string text) {
  if (text.size() <= kMaxReasonBytes) return text;
  return std::string(whole_characters(text, kMaxReasonBytes)) + "...";
}

RewardOutcome bad_output(const std::string& why) { return RewardOutcome::unscored("bad output: " + why); }

std::string described(const Json& value) {
  return value.is_number() || value.is_boolean() ? value.dump() : std::string(value.type_name());
}

// A list of the reply that has one entry for each sample where it is there at all.
const Json* per_sample(const Json& reply, const char* key, size_t num_samples, std::string& problem) {
  const auto found = reply.find(key);
  if (found == reply.end() || !problem.empty()) return nullptr;
  if (!found->is_array()) {
    problem = std::string("\"") + key + "\" is no list, saw " + described(*found);
  } else if (found->size() != num_samples) {
    problem = std::to_string(found->size()) + " " + key + " for " + std::to_string(num_samples) + " samples";
  }
  return &*found;
}

std::optional<std::string> read_parts(const Json& given, std::map<std::string, double>& parts) {
  if (given.is_null()) return std::nullopt;
  if (!given.is_object()) return "parts are an object of numbers, saw " + described(given);
  if (given.size() > kMaxParts) return std::to_string(given.size()) + " parts, at most 64 are taken";
  for (const auto& [name, value] : given.items()) {
    if (!value.is_number()) return "the part " + shortened(name) + " is no number, saw " + described(value);
    parts[shortened(name)] = value.get<double>();
  }
  return std::nullopt;
}

RewardOutcome read_outcome(const Json& score, const Json* reason, const Json* parts) {
  if (score.is_null()) {
    if (reason == nullptr || !reason->is_string()) return RewardOutcome::unscored("the worker gave no score");
    return RewardOutcome::unscored(shortened(reason->get<std::string>()));
  }
  if (!score.is_number()) return bad_output("a score is a number or null, saw " + described(score));
  std::map<std::string, double> named;
  if (parts != nullptr) {
    if (const auto problem = read_parts(*parts, named)) return bad_output(*problem);
  }
  return RewardOutcome::scored(score.get<double>(), std::move(named));
}

// What the keys of a reply that can be trusted are; a slip of the pen in one would be ignored for ever.
void check_keys(const Json& reply) {
  for (const auto& item : reply.items()) {
    const auto& key = item.key();
    require<DataError>(key == "id" || key == "scores" || key == "reasons" || key == "parts" || key == "error",
                       kReply, ": there is no key \"", shortened(key),
                       "\"; there are id, scores, reasons, parts and error");
  }
}

// What a policy writes may end in the middle of a character.
std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

void append_columns(std::string& line, const Json& columns) {
  line += '{';
  for (const auto& [name, value] : columns.items()) {
    if (line.back() != '{') line += ',';
    append_json_text(line, name);
    line += ':';
    if (value.is_string()) {
      append_json_text(line, value.get_ref<const std::string&>());
    } else {
      line += dump(value);
    }
  }
  line += '}';
}

void append_sample(std::string& line, const RewardRequest& request) {
  const text::Row& row = *request.row;
  line += "{\"prompt\":";
  append_json_text(line, row.prompt);
  line += ",\"completion\":";
  append_json_text(line, request.completion);
  if (!row.messages.is_null()) line += ",\"messages\":" + dump(row.messages);
  line += ",\"tokens\":" + Json(request.tokens).dump();
  line += request.truncated ? ",\"truncated\":true" : ",\"truncated\":false";
  line += ",\"columns\":";
  append_columns(line, row.columns);
  line += '}';
}

}  // namespace

size_t max_reply_bytes(size_t num_samples) { return kReplyBytes + kReplyBytesPerSample * num_samples; }

std::string read_hello(std::string_view line) {
  const Json hello = parse_json(line, kHello, {.max_bytes = kMaxHelloBytes, .max_depth = 4});
  const auto protocol = json_member<int64_t>(hello, "sluice_reward", kHello);
  require<DataError>(protocol == kProtocol, kHello, ": the worker speaks protocol ", protocol,
                     ", this is protocol ", kProtocol);
  const auto error = json_member_or<std::string>(hello, "error", "", kHello);
  require<DataError>(error.empty(), shortened(error));
  return shortened(json_member<std::string>(hello, "name", kHello));
}

std::string request_line(uint64_t id, std::span<const RewardRequest> samples) {
  const uint64_t group = samples.empty() ? 0 : samples.front().group;
  std::string line =
      "{\"id\":" + std::to_string(id) + ",\"group\":" + std::to_string(group) + ",\"samples\":[";
  for (const auto& sample : samples) {
    if (&sample != &samples.front()) line += ',';
    append_sample(line, sample);
  }
  return line + "]}";
}

std::vector<RewardOutcome> outcomes_of(const Json& reply, const char* key, size_t num_samples) {
  std::string problem;
  const Json* scores = per_sample(reply, key, num_samples, problem);
  const Json* reasons = per_sample(reply, "reasons", num_samples, problem);
  const Json* parts = per_sample(reply, "parts", num_samples, problem);
  if (scores == nullptr) problem = std::string("there are no ") + key;
  if (!problem.empty()) return std::vector(num_samples, bad_output(problem));
  std::vector<RewardOutcome> outcomes;
  outcomes.reserve(num_samples);
  for (size_t i = 0; i < num_samples; ++i) {
    outcomes.push_back(read_outcome((*scores)[i], reasons == nullptr ? nullptr : &(*reasons)[i],
                                    parts == nullptr ? nullptr : &(*parts)[i]));
  }
  return outcomes;
}

std::vector<RewardOutcome> read_reply(std::string_view line, uint64_t id, size_t num_samples) {
  const Json reply = parse_json(line, kReply, {.max_bytes = max_reply_bytes(num_samples), .max_depth = 4});
  const auto answers = json_member<int64_t>(reply, "id", kReply);
  require<DataError>(answers >= 0 && static_cast<uint64_t>(answers) == id, kReply, ": it is to request ",
                     answers, ", request ", id, " was asked");
  check_keys(reply);
  if (const auto error = reply.find("error"); error != reply.end()) {
    const auto why = error->is_string() ? shortened(error->get<std::string>()) : described(*error);
    return std::vector(num_samples, RewardOutcome::unscored("error: " + why));
  }
  return outcomes_of(reply, "scores", num_samples);
}

std::string json_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : dump(value);
}

}  // namespace sluice::rewards::plugins
