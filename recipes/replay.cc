#include "recipes/replay.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "base/subprocess.h"
#include "base/temporary_folder.h"
#include "buffers/group_id.h"
#include "buffers/journal.h"
#include "recipes/checkpoint.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

// The stage that takes a step, and the optimizer steps of the run before it.
struct Place {
  const StageSpec& stage;
  int64_t first_step = 0;
};

Place find_place(const RunDirectory& run, const Recipe& recipe, int64_t step) {
  int64_t steps = 0;
  for (const auto& stage : recipe.stages) {
    if (!stage.trains()) continue;
    if (step > steps && step <= steps + stage.steps) return {stage, steps};
    steps += stage.steps;
  }
  fail<UsageError>("replay: the recipe of ", run.root().string(), " has the steps 1 to ", steps,
                   ", there is no step ", step);
}

// The lines of metrics.jsonl that are of the stage, by step of the run.
std::map<int64_t, Json> read_lines(const RunDirectory& run, const std::string& stage) {
  std::map<int64_t, Json> lines;
  for_each_whole_json_line(run.metrics(), [&](int64_t number, Json line) {
    const auto where = run.metrics().string() + ":" + std::to_string(number);
    if (json_member<std::string>(line, "stage", where) != stage) return;
    const auto step = json_member<int64_t>(line, "step", where);
    lines[step] = std::move(line);
  });
  return lines;
}

// What a journal holds of the steps of its stage, which count from 0 here.
struct Batches {
  std::map<int64_t, std::vector<uint64_t>> groups;  // as they were taken last
  std::set<uint64_t> present;                       // groups whose completions are there
};

Batches read_batches(const fs::path& journal) {
  Batches found;
  if (!fs::exists(journal)) return found;
  buffers::Journal::read(
      journal,
      {.group = [&](const buffers::RolloutGroup& group) { found.present.insert(group.group); },
       .batch = [&](int64_t step, const std::vector<uint64_t>& groups) { found.groups[step] = groups; },
       .restore =
           [&](int64_t step) { found.groups.erase(found.groups.lower_bound(step), found.groups.end()); }});
  return found;
}

// Checks that a run can serve, before anything is computed.
class Sources {
 public:
  Sources(const RunDirectory& run, const Place& place, int64_t step)
      : run_(run), place_(place), step_(step), lines_(read_lines(run, place.stage.name)) {
    if (place.stage.has_actors()) batches_ = read_batches(run.journal(place.stage.name));
    find_checkpoints();
    if (!lines_.contains(step)) {
      refuse(run.metrics().string(), " has no line of it: the run has not come so far, or did not write it");
    }
    if (checkpoints_.empty() || !is_of_the_stage(checkpoints_.front().state)) {
      refuse("no whole checkpoint of stage ", place.stage.name,
             " before it is there, nor what it began with");
    }
    for (int64_t s = start().step + 1; s <= step; ++s) {
      if (const auto what = missing(s); !what.empty()) refuse(what);
    }
    if (ranks() == 0)
      refuse("the number of ranks changed between the steps ", start().step + 1, " and ", step);
  }

  // Those before the step, newest first; the first is whole, and the one to begin with.
  const std::vector<Checkpoint>& checkpoints() const { return checkpoints_; }
  const CheckpointState& start() const { return checkpoints_.front().state; }
  const std::map<int64_t, Json>& lines() const { return lines_; }
  const Batches& batches() const { return batches_; }
  // That took the steps: how many there are is a part of what they computed. 0 where it changed on the way.
  int64_t ranks() const {
    std::set<int64_t> found;
    for (int64_t s = start().step + 1; s <= step_; ++s) {
      const auto line = lines_.find(s);
      if (line != lines_.end()) found.insert(static_cast<int64_t>(line->second.value("ranks", 1.0)));
    }
    return found.size() == 1 ? *found.begin() : 0;
  }

 private:
  void find_checkpoints() {
    for (const auto& directory : checkpoints_in(run_.checkpoints())) {
      try {
        auto checkpoint = open_checkpoint(directory);
        if (checkpoint.state.step >= step_) continue;
        if (checkpoints_.empty() && !check_directory(directory).empty()) continue;
        checkpoints_.push_back(std::move(checkpoint));
      } catch (const DataError&) {
        // Damaged: nothing can begin with it.
      }
    }
  }

  bool is_of_the_stage(const CheckpointState& state) const {
    return state.stage == place_.stage.name || state.step == place_.first_step;
  }

  // What of a step the journal does not have, or "".
  std::string missing(int64_t step) const {
    if (!place_.stage.has_actors()) return "";
    const auto journal = run_.journal(place_.stage.name).string();
    const auto batch = batches_.groups.find(step - place_.first_step - 1);
    if (batch == batches_.groups.end()) return journal + " has no batch of step " + std::to_string(step);
    std::vector<uint64_t> gone;
    std::ranges::copy_if(batch->second, std::back_inserter(gone),
                         [&](uint64_t group) { return !batches_.present.contains(group); });
    if (gone.empty()) return "";
    const size_t more = gone.size() - 1;
    return journal + " does not hold what step " + std::to_string(step) + " was trained on: group " +
           buffers::group_name(gone.front()) +
           (more > 0 ? " and " + std::to_string(more) + " more are" : " is") + " missing";
  }

  // "1 to 6 and 11 to 26", of the steps of the stage that can be taken again.
  std::string possible() const {
    std::set<int64_t> whole;
    for (const auto& directory : checkpoints_in(run_.checkpoints())) {
      if (!check_directory(directory).empty()) continue;
      const auto state = open_checkpoint(directory).state;
      if (is_of_the_stage(state)) whole.insert(state.step);
    }
    std::vector<std::pair<int64_t, int64_t>> ranges;
    bool served = false;  // every step behind the last whole checkpoint so far
    for (int64_t s = place_.first_step + 1; s <= place_.first_step + place_.stage.steps; ++s) {
      served = (served || whole.contains(s - 1)) && missing(s).empty();
      if (!served || !lines_.contains(s)) continue;
      if (ranges.empty() || ranges.back().second != s - 1) ranges.emplace_back(s, s);
      ranges.back().second = s;
    }
    std::string words;
    for (const auto& [first, last] : ranges) {
      words += (words.empty() ? "" : " and ") + std::to_string(first);
      if (last > first) words += " to " + std::to_string(last);
    }
    return words;
  }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... why) const {
    const std::string can = possible();
    fail<DataError>("replay: step ", step_, " cannot be taken again: ", why..., "; steps of stage ",
                    place_.stage.name, " that can: ", can.empty() ? "none" : can);
  }

  const RunDirectory& run_;
  const Place& place_;
  const int64_t step_;
  const std::map<int64_t, Json> lines_;
  Batches batches_;
  std::vector<Checkpoint> checkpoints_;
};

// A run as it stood before a step, in a folder that goes with the object.
class PastRun {
 public:
  PastRun(const RunDirectory& run, const StageSpec& stage, const std::vector<Checkpoint>& checkpoints,
          int64_t ranks)
      : folder_("replay"), original_(run.root()) {
    try {
      for (const char* name :
           {"checkpoints", "journal", "logs", "pulse", "quarantine", "rollouts", "stages"}) {
        fs::create_directory(root() / name);
      }
      for (const auto& checkpoint : checkpoints) link(checkpoint);
      if (stage.has_actors()) copy(fs::path("journal") / run.journal(stage.name).filename());
      for (const char* name : {"run.json", "stages", "samples", "reference"}) {
        if (fs::exists(original_ / name)) copy(name);
      }
    } catch (const fs::filesystem_error& error) {
      fail<EnvironmentError>("replay: ", error.what(), "; TMPDIR names another place for temporary files");
    }
    write_file_atomically(root() / "recipe.resolved.json",
                          alone(read_json(original_ / "recipe.resolved.json"), ranks).dump(2) + "\n");
    run_.emplace(root());
  }

  const RunDirectory& run() const { return *run_; }

  // What is said of its files, said of those that they stand for.
  std::string of_the_original(std::string message) const {
    const std::string name = root().string();
    for (size_t at = 0; (at = message.find(name, at)) != std::string::npos;) {
      message.replace(at, name.size(), original_.string());
      at += original_.string().size();
    }
    return message;
  }

 private:
  const fs::path& root() const { return folder_.path(); }

  void copy(const fs::path& name) const {
    fs::copy(original_ / name, root() / name, fs::copy_options::recursive);
  }

  // The folder is its own and what is in it is linked to: nobody writes into the files of a checkpoint, and
  // who removes one removes the links.
  void link(const Checkpoint& checkpoint) const {
    const fs::path directory = root() / "checkpoints" / checkpoint.name();
    fs::create_directory(directory);
    for (const auto& entry : fs::directory_iterator(checkpoint.directory)) {
      fs::create_symlink(entry.path(), directory / entry.path().filename());
    }
  }

  // Nobody watches it, and no actor finds it.
  static Json alone(Json recipe, int64_t ranks) {
    recipe["monitor"]["redis"] = "off";
    recipe["monitor"]["tensorboard"] = false;
    for (auto& stage : recipe["stages"]) {
      if (stage.contains("learner")) stage["learner"]["ranks"] = ranks;
      if (stage.contains("rollout")) stage["rollout"]["address"] = nullptr;
    }
    return recipe;
  }

  const TemporaryFolder folder_;
  const fs::path original_;
  std::optional<RunDirectory> run_;
};

// All but the first of them, which is this process.
std::vector<Subprocess> start_other_ranks(const RunDirectory& run, const std::string& stage, int64_t count) {
  std::vector<Subprocess> others;
  for (int64_t rank = 1; rank < count; ++rank) {
    others.push_back(Subprocess::start({.command = {own_executable().string(), "learner", run.root().string(),
                                                    "--stage", stage, "--rank", std::to_string(rank)},
                                        .output = run.log("learner", rank)}));
  }
  return others;
}

// Lets the stage go on to the end of the step, of which a checkpoint is then there. False when `stop` ended
// it before.
bool take_again(const PastRun& past, const std::string& stage, int64_t step, int64_t ranks,
                const StopRequest& stop) {
  const auto done = [&] { return read_lines(past.run(), stage).contains(step); };
  const StopRequest at_the_step = [&] {
    const int signal = stop();
    return signal == 0 && done() ? SIGTERM : signal;
  };
  const auto others = start_other_ranks(past.run(), stage, ranks);
  try {
    run_stage(past.run(), stage, at_the_step,
              {.meeting = past.run().meeting(), .size = ranks, .timeout_ms = 0});
  } catch (const DataError& error) {
    fail<DataError>(past.of_the_original(error.what()));
  } catch (const HealthError&) {  // a step that ended the run ends its replay, once it is reported
    if (!done()) throw;
  } catch (const BeginAgain&) {
    if (!done()) throw;
  }
  return done();
}

bool is_of_the_moment(const std::string& name) {
  // An alarm is of the steps before, which are not all taken again.
  constexpr std::array<std::string_view, 5> kNames{"wall_time", "step_time", "tokens_per_s", "note",
                                                   "alarms"};
  constexpr std::array<std::string_view, 5> kFamilies{"time/", "queue/", "law/", "logprob_diff/", "disk/"};
  return std::ranges::count(kNames, name) > 0 ||
         std::ranges::any_of(kFamilies, [&](std::string_view family) { return name.starts_with(family); });
}

// By name, in the order of the recorded ones; those it does not have come behind.
std::vector<ReplayedValue> side_by_side(const Json& recorded, const Json& recomputed) {
  std::vector<ReplayedValue> values;
  for (const auto& [name, value] : recorded.items()) {
    values.push_back({name, value, recomputed.value(name, Json())});
  }
  for (const auto& [name, value] : recomputed.items()) {
    if (!recorded.contains(name)) values.push_back({name, Json(), value});
  }
  return values;
}

// By name, the SHA-256 of the files of a checkpoint that hold tensors.
Json tensor_files(const fs::path& checkpoint) {
  const auto manifest = checkpoint / "manifest.json";
  const auto files = json_member<Json>(read_json(manifest), "files", manifest.string());
  Json hashes = Json::object();
  for (const auto& [name, file] : files.items()) {
    if (name.ends_with(".safetensors")) hashes[name] = file.at("sha256");
  }
  return hashes;
}

// Why there is nothing to compare, or "".
std::string compare_tensors(const RunDirectory& run, const PastRun& past, int64_t step,
                            std::vector<ReplayedValue>& tensors) {
  const auto recomputed = checkpoints_in(past.run().checkpoints()).front();
  if (open_checkpoint(recomputed).state.step != step) return "a step that ends the run leaves no checkpoint";
  const auto recorded = run.checkpoints() / recomputed.filename();
  if (!fs::exists(recorded)) return "the run keeps no checkpoint of step " + std::to_string(step);
  if (const auto damage = check_directory(recorded); !damage.empty()) return damage;
  tensors = side_by_side(tensor_files(recorded), tensor_files(recomputed));
  return "";
}

}  // namespace

bool Replay::equal() const {
  return std::ranges::all_of(
             steps, [](const auto& s) { return std::ranges::all_of(s.values, &ReplayedValue::equal); }) &&
         std::ranges::all_of(tensors, &ReplayedValue::equal);
}

std::optional<Replay> replay(const RunDirectory& run, int64_t step, const StopRequest& stop) {
  const Recipe recipe = run.recipe();
  const Place place = find_place(run, recipe, step);
  const StageSpec& stage = place.stage;
  const Sources sources(run, place, step);
  const PastRun past(run, stage, sources.checkpoints(), sources.ranks());
  if (!take_again(past, stage.name, step, sources.ranks(), stop)) return std::nullopt;

  Replay replay{.stage = stage.name, .from = sources.checkpoints().front().name()};
  const auto recomputed = read_lines(past.run(), stage.name);
  const auto batches = read_batches(past.run().journal(stage.name));
  for (int64_t s = sources.start().step + 1; s <= step; ++s) {
    const auto line = [s](const std::map<int64_t, Json>& lines) {
      const auto found = lines.find(s);
      return found == lines.end() ? Json::object() : found->second;
    };
    ReplayedStep again{.step = s, .values = side_by_side(line(sources.lines()), line(recomputed))};
    std::erase_if(again.values, [](const auto& value) { return is_of_the_moment(value.name); });
    if (stage.has_actors()) {
      const int64_t of_the_stage = s - place.first_step - 1;
      again.values.push_back(
          {"groups", sources.batches().groups.at(of_the_stage), batches.groups.at(of_the_stage)});
    }
    replay.steps.push_back(std::move(again));
  }
  replay.no_tensors = compare_tensors(run, past, step, replay.tensors);
  return replay;
}

}  // namespace sluice::recipes
