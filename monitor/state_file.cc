#include "monitor/state_file.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/replace_file.h"

namespace sluice::monitor {
namespace {

constexpr double kShare = 0.005;  // of the time
constexpr double kLongestS = 1;   // that somebody who looks is behind

}  // namespace

std::string StateFile::write(const std::map<std::string, std::string>& state,
                             const std::vector<ActorState>& actors, bool last) {
  if (since_.seconds() < rest_s_ && !last) return "";
  const Stopwatch writing;
  Json all = Json::object();
  auto& members = all.get_ref<Json::object_t&>();  // its operator[] looks through all that are there
  members.reserve(actors.size());
  for (const auto& actor : actors) members.emplace_back(actor.name, actor.fields);
  const Json json = {{"schema", 1}, {"wall_time", wall_seconds()}, {"state", state}, {"actors", all}};
  const auto error = replace_file(file_, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  rest_s_ = std::min(writing.seconds() / kShare, kLongestS);
  since_ = writing;
  const auto problem = error ? "cannot write " + file_.string() + ": " + error.message() : std::string();
  return std::exchange(problem_, problem) == problem ? "" : problem;
}

}  // namespace sluice::monitor
