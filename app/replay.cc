// A recorded step, taken again: does it come out as it did?
#include "recipes/replay.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "app/command.h"
#include "base/signals.h"
#include "recipes/run_directory.h"

namespace sluice::app {
namespace {

using recipes::Replay;
using recipes::ReplayedStep;
using recipes::ReplayedValue;

// What a stage prints of its steps is progress here; the report alone goes to stdout.
class StagesPrintToStderr {
 public:
  StagesPrintToStderr() : stdout_(std::cout.rdbuf(std::cerr.rdbuf())) {}
  StagesPrintToStderr(const StagesPrintToStderr&) = delete;
  ~StagesPrintToStderr() { std::cout.rdbuf(stdout_); }

 private:
  std::streambuf* const stdout_;
};

int64_t num_different(const std::vector<ReplayedValue>& values) {
  return std::ssize(values) - std::ranges::count_if(values, &ReplayedValue::equal);
}

Json to_json(const std::vector<ReplayedValue>& values) {
  Json json = Json::object();
  for (const auto& value : values) {
    json[value.name] = {
        {"recorded", value.recorded}, {"recomputed", value.recomputed}, {"equal", value.equal()}};
  }
  return json;
}

Json to_json(const Replay& replay) {
  Json steps = Json::array();
  for (const auto& step : replay.steps) {
    steps.push_back(
        {{"step", step.step}, {"equal", num_different(step.values) == 0}, {"values", to_json(step.values)}});
  }
  Json json = {{"stage", replay.stage},
               {"from", replay.from},
               {"equal", replay.equal()},
               {"steps", std::move(steps)},
               {"tensors", to_json(replay.tensors)}};
  if (!replay.no_tensors.empty()) json["no_tensors"] = replay.no_tensors;
  return json;
}

std::string cell(const ReplayedStep& step, const std::string& name) {
  const auto found = std::ranges::find(step.values, name, &ReplayedValue::name);
  return found == step.values.end() ? "-" : found->recorded.dump();
}

void print_difference(const ReplayedValue& value) {
  const auto& [name, was, is] = value;
  std::cout << "        " << name << ": " << (was.is_null() ? "not" : was.dump()) << " recorded, "
            << (is.is_null() ? "not" : is.dump()) << " recomputed";
  if (was.is_number() && is.is_number()) {
    std::cout << ", differs by " << std::abs(is.get<double>() - was.get<double>());
  }
  std::cout << '\n';
}

void print(const std::vector<ReplayedStep>& steps) {
  constexpr int kNumber = 24;  // the longest double
  std::cout << "  step  " << std::left << std::setw(kNumber) << "loss" << std::setw(kNumber) << "grad_norm"
            << "recorded and recomputed\n";
  bool explained = false;  // what comes behind the first step that differs follows from it
  for (const auto& step : steps) {
    const auto of_all = " of " + std::to_string(step.values.size()) + " values";
    const int64_t different = num_different(step.values);
    std::cout << std::right << std::setw(6) << step.step << "  " << std::left << std::setw(kNumber)
              << cell(step, "loss") << std::setw(kNumber) << cell(step, "grad_norm")
              << (different == 0 ? "equal, all" : "DIFFERENT, " + std::to_string(different)) << of_all
              << '\n';
    if (different == 0 || std::exchange(explained, true)) continue;
    for (const auto& value : step.values) {
      if (!value.equal()) print_difference(value);
    }
  }
}

void print_tensors(const Replay& replay) {
  const auto step = std::to_string(replay.steps.back().step);
  if (!replay.no_tensors.empty()) {
    std::cout << "weights of step " << step << ": not compared, " << replay.no_tensors << '\n';
    return;
  }
  std::cout << "weights of step " << step << ", SHA-256:\n";
  for (const auto& file : replay.tensors) {
    std::cout << "  " << file.name << ": ";
    if (file.equal()) {
      std::cout << "equal, " << file.recorded.get<std::string>() << '\n';
    } else {
      std::cout << "DIFFERENT, " << file.recorded.dump() << " recorded, " << file.recomputed.dump()
                << " recomputed\n";
    }
  }
}

// What differs first, and what may have brought it about.
std::string explain(const Replay& replay, const recipes::RunDirectory& run) {
  const auto differs = [](const ReplayedStep& step) { return num_different(step.values) > 0; };
  const auto first = std::ranges::find_if(replay.steps, differs);
  const bool in_a_line = first != replay.steps.end();
  std::vector<std::string> names;
  for (const auto& value : in_a_line ? first->values : replay.tensors) {
    if (!value.equal()) names.push_back(value.name);
  }
  std::string words = "not equal: of step " +
                      std::to_string(in_a_line ? first->step : replay.steps.back().step) + " " +
                      names.front();
  if (names.size() > 1) words += " and " + std::to_string(names.size() - 1) + " more";
  words += std::ssize(names) == 1 ? " does not come out as recorded" : " do not come out as recorded";
  if (std::ranges::count(names, "groups") > 0) {
    return words + "; the batch is another one than the step was trained on";
  }
  words +=
      "; small differences come of another build of sluice or LibTorch, or of a processor with other "
      "kernels, "
      "others of a file that was changed: see sluice audit " +
      run.root().string() + " --checkpoints";
  if (run.recipe().device != "cpu") words += "; on a GPU sums need not be taken in the same order twice";
  return words;
}

}  // namespace

Command add_replay(CLI::App& app) {
  struct Arguments {
    std::string run;
    int64_t step = 0;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory, alive, stopped or finished")->required();
  app.add_option("--step", arguments->step, "Which step, as metrics.jsonl and checkpoints count them")
      ->required();
  app.add_flag("--json", arguments->json, "Print every number, recorded and recomputed, as JSON");
  return [arguments] {
    StopSignals signals;
    const recipes::RunDirectory run(arguments->run);
    std::optional<Replay> replay;
    {
      const StagesPrintToStderr redirected;
      replay = recipes::replay(run, arguments->step, [&signals] { return signals.received(); });
    }
    if (!replay) return 128 + signals.received();
    if (arguments->json) {
      std::cout << to_json(*replay).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    } else {
      std::cout << replay->stage << " from " << replay->from << '\n';
      print(replay->steps);
      print_tensors(*replay);
      if (!replay->equal()) std::cout << explain(*replay, run) << '\n';
    }
    return replay->equal() ? 0 : 1;
  };
}

}  // namespace sluice::app
