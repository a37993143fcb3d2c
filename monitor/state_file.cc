#include "monitor/state_file.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/replace_file.h"

namespace sluice::monitor {
namespace {

constexpr double kShare = 0.0002;  // of the time: who reads it takes twenty times as long
constexpr double kLongestS = 1;    // that somebody who looks is behind

// Of a thousand actors the objects of Json would take three times as long as their text.
void append_object(std::string& json, const std::map<std::string, std::string>& members) {
  json += '{';
  for (bool first = true; const auto& [name, text] : members) {
    if (!std::exchange(first, false)) json += ',';
    append_json_text(json, name);
    json += ':';
    append_json_text(json, text);
  }
  json += '}';
}

}  // namespace

std::string StateFile::write(const std::map<std::string, std::string>& state,
                             const std::vector<ActorState>& actors, bool last) {
  if (since_.seconds() < rest_s_ && !last) return "";
  const Stopwatch writing;
  std::string json = "{\"schema\":1,\"wall_time\":" + Json(wall_seconds()).dump() + ",\"state\":";
  append_object(json, state);
  json += ",\"actors\":{";
  for (const auto& actor : actors) {
    if (&actor != actors.data()) json += ',';
    append_json_text(json, actor.name);
    json += ':';
    append_object(json, actor.fields);
  }
  const auto error = replace_file(file_, json + "}}\n");
  rest_s_ = std::min(writing.seconds() / kShare, kLongestS);
  since_ = writing;
  const auto problem = error ? "cannot write " + file_.string() + ": " + error.message() : std::string();
  return std::exchange(problem_, problem) == problem ? "" : problem;
}

}  // namespace sluice::monitor
