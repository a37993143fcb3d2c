#include "recipes/run_directory.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/socket_path.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
constexpr Millis kLockWaitMs = 10'000;

std::string random_id() {
  std::array<unsigned char, 8> bytes{};
  require<EnvironmentError>(RAND_bytes(bytes.data(), bytes.size()) == 1, "run: no random bytes to be had");
  std::string id;
  for (const unsigned char byte : bytes) {
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", byte);
    id += hex.data();
  }
  return id;
}

// The first place where two recipes differ, as a path of keys.
std::string difference(const Json& was, const Json& is, const std::string& path = {}) {
  if (was == is) return {};
  if (was.is_object() && is.is_object()) {
    for (const auto& [key, value] : was.items()) {
      const std::string inside =
          difference(value, is.contains(key) ? is[key] : Json(), path.empty() ? key : path + "." + key);
      if (!inside.empty()) return inside;
    }
  }
  if (was.is_array() && is.is_array() && was.size() == is.size()) {
    for (size_t i = 0; i < was.size(); ++i) {
      const std::string name = was[i].is_object() && was[i].contains("name")
                                   ? was[i]["name"].get<std::string>()
                                   : std::to_string(i);
      const std::string inside = difference(was[i], is[i], path + "." + name);
      if (!inside.empty()) return inside;
    }
  }
  return path + " was " + was.dump() + " and is now " + is.dump();
}

// A run goes on with other processes than it began with: a checkpoint is the same for any number of them.
Json without_ranks(Json recipe) {
  for (auto& stage : recipe["stages"]) {
    stage.erase("learner");
    if (stage.contains("optim")) stage["optim"].erase("shard");
  }
  return recipe;
}

void write_recipe(const fs::path& root, const Recipe& recipe) {
  write_file_atomically(root / "recipe.resolved.json", recipe.resolved.dump(2) + "\n");
}

void check_name(const std::string& name) {
  require<UsageError>(!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos,
                      "run: \"", name, "\" is no name for a directory; pass --name NAME");
}

void create(const fs::path& root, const Recipe& recipe) {
  for (const char* folder : {"checkpoints", "journal", "logs", "pulse", "quarantine", "rollouts", "stages"}) {
    fs::create_directories(root / folder);
  }
  write_recipe(root, recipe);
  const Json run = {{"schema", 1}, {"id", random_id()}, {"name", recipe.name}, {"started", wall_seconds()}};
  write_file_atomically(root / "run.json", run.dump(2) + "\n");
}

// The runs that lie beside `root`, for a name that was mistyped.
std::vector<std::string> runs_beside(const fs::path& root) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root.parent_path(), ignored)) {
    if (fs::exists(entry.path() / "run.json", ignored)) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

RunDirectory::RunDirectory(const fs::path& root)
    : root_((fs::absolute(root) / "").lexically_normal().parent_path()) {
  require<DataError>(fs::exists(root_ / "run.json"), root_.string(),
                     " is no run directory: it has no run.json",
                     did_you_mean(root_.filename().string(), runs_beside(root_)));
  id_ = json_member<std::string>(read_json(root_ / "run.json"), "id", (root_ / "run.json").string());
}

Recipe RunDirectory::recipe() const {
  Recipe recipe = recipe_from_resolved(read_json(root_ / "recipe.resolved.json"));
  for (auto& stage : recipe.stages) {
    if (!stage.data_from.empty()) stage.data.path = samples(stage.data_from);
  }
  return recipe;
}

fs::path RunDirectory::rollouts(int64_t step) const {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step_%06lld.jsonl", static_cast<long long>(step));
  return root_ / "rollouts" / name.data();
}

fs::path RunDirectory::log(const std::string& role, int64_t index) const {
  return root_ / "logs" / (role + "-" + std::to_string(index) + ".log");
}

std::string RunDirectory::rollout_address(const StageSpec& stage) const {
  if (!stage.rollout.address.empty()) return stage.rollout.address;
  return "ipc://" + short_socket_path(root_ / "rollouts.sock").string();
}

std::optional<Json> RunDirectory::stage_result(const std::string& stage) const {
  const fs::path file = root_ / "stages" / (stage + ".json");
  if (!fs::exists(file)) return std::nullopt;
  return read_json(file);
}

void RunDirectory::write_stage_result(const std::string& stage, const Json& result) const {
  // A completion in it may be cut within a character.
  write_file_atomically(root_ / "stages" / (stage + ".json"),
                        result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  reach(Failpoint::StageResult);
}

std::optional<std::string> RunDirectory::next_stage(const Recipe& recipe) const {
  for (const auto& stage : recipe.stages) {
    if (!stage_result(stage.name)) return stage.name;
  }
  return std::nullopt;
}

OpenedRun open_run(const fs::path& runs, const Recipe& recipe, bool resume) {
  check_name(recipe.name);
  const fs::path root = fs::absolute(runs / recipe.name).lexically_normal();
  const auto used = [&root] { return fs::exists(root / "run.json"); };
  const auto refuse_used = [&] {
    fail<UsageError>("run: ", root.string(),
                     " is used; continue it with --resume, or choose another with --name NAME");
  };
  if (used() && !resume) refuse_used();
  std::error_code error;
  fs::create_directories(root, error);
  require<EnvironmentError>(!error, "run: cannot make ", root.string(), ": ", error.message());
  auto lock = FileLock::acquire(root / "lock", kLockWaitMs);
  require<EnvironmentError>(lock.has_value(), "run: ", root.string(),
                            " is in use by another process; waited ", kLockWaitMs / 1000, " s for it to end");
  if (used() && !resume) refuse_used();
  const bool resumed = used();
  if (resumed) {
    const Json was = read_json(root / "recipe.resolved.json");
    require<UsageError>(without_ranks(was) == without_ranks(recipe.resolved),
                        "run: the recipe is not the one ", root.string(),
                        " was started with: ", difference(without_ranks(was), without_ranks(recipe.resolved)),
                        "; resume with the same recipe and overrides, or choose another --name");
    if (was != recipe.resolved) write_recipe(root, recipe);
  } else {
    create(root, recipe);
  }
  return {RunDirectory(root), std::move(*lock), resumed};
}

}  // namespace sluice::recipes
