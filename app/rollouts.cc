// What was sampled at a step, completions of a group side by side.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "app/command.h"
#include "app/rollout_view.h"
#include "base/error.h"
#include "base/json_lines.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "recipes/rollout_files.h"
#include "recipes/run_directory.h"
#include "text/tokenizer.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  int64_t step = 0, group = -1;
  bool all = false, full = false, json = false;
};

constexpr int64_t kShownGroups = 3;
constexpr JsonLimits kLimits = {.max_bytes = size_t{1} << 31};

int64_t chosen_step(const Arguments& arguments, const recipes::RunDirectory& run) {
  const auto steps = recipes::rollout_steps(run);
  require<DataError>(!steps.empty(), arguments.run, ": no step has rollouts yet; `sluice top ", arguments.run,
                     "` says how far the run is");
  if (arguments.step == 0) return steps.back();
  require<UsageError>(std::ranges::binary_search(steps, arguments.step), "rollouts: step ", arguments.step,
                      " has none; ", arguments.run, " has them of steps ", steps.front(), " to ",
                      steps.back());
  return arguments.step;
}

// The names of the rewards of the stage that took the step; none where metrics.jsonl does not say which.
RolloutNames names_of(const recipes::RunDirectory& run, int64_t step) {
  RolloutNames names;
  for_each_whole_json_line(run.metrics(), [&](int64_t, const Json& line) {
    if (line.value("step", int64_t{0}) == step) names.stage = line.value("stage", "");
  });
  for (const auto& stage : run.recipe().stages) {
    if (stage.name != names.stage) continue;
    for (const auto& reward : stage.rewards) names.rewards.push_back(reward.name);
  }
  return names;
}

std::unique_ptr<text::Tokenizer> tokenizer_of(const recipes::RunDirectory& run) {
  try {
    return text::load_tokenizer(run.checkpoints() / "latest" / "hf");
  } catch (const Error&) {
    return nullptr;  // then texts go without colours
  }
}

int show(const Arguments& arguments) {
  const recipes::RunDirectory run(arguments.run);
  const int64_t step = chosen_step(arguments, run);
  const auto names = names_of(run, step);
  const auto tokenizer = arguments.json ? nullptr : tokenizer_of(run);
  const RolloutStyle style{.columns = std::max<size_t>(terminal_size(STDOUT_FILENO).columns, 20),
                           .colour = use_colour(STDOUT_FILENO),
                           .full = arguments.full};
  const auto file = run.rollouts(step);
  std::ifstream in(file, std::ios::binary);
  require<DataError>(in.is_open(), file.string(), ": cannot be opened");
  if (!arguments.json) std::cout << rollouts_head(arguments.run, step, names, style);
  Json report = {
      {"step", step}, {"stage", names.stage}, {"rewards", names.rewards}, {"groups", Json::array()}};
  int64_t line = 0, shown = 0;
  for (std::string text; std::getline(in, text);) {
    const Json group = parse_json(text, file.string() + ":" + std::to_string(++line), kLimits);
    if (arguments.group >= 0 && group.at("group") != arguments.group) continue;
    ++shown;
    if (arguments.json) {
      report["groups"].push_back(group);
    } else if (arguments.all || arguments.group >= 0 || shown <= kShownGroups) {
      std::cout << '\n' << group_view(group, names, tokenizer.get(), style);
    }
  }
  require<UsageError>(arguments.group < 0 || shown > 0, "rollouts: step ", step, " has no group ",
                      arguments.group, "; `sluice rollouts ", arguments.run, " --step ", step,
                      " --all` shows those it has");
  if (arguments.json) {
    std::cout << report.dump(2, ' ', true, Json::error_handler_t::replace) << '\n';
  } else if (!arguments.all && arguments.group < 0 && shown > kShownGroups) {
    const auto more = std::to_string(shown - kShownGroups) + " more groups; --all shows them, --group ID one";
    std::cout << '\n';
    for (const auto& line : wrapped(glyphs(more), style.columns, SIZE_MAX)) std::cout << line << '\n';
  }
  return 0;
}

}  // namespace

Command add_rollouts(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory, alive, stopped or finished")->required();
  app.add_option("--step", arguments->step, "As metrics.jsonl counts them (default: the last one)")
      ->check(CLI::PositiveNumber);
  app.add_option("--group", arguments->group, "The group of this id alone")->check(CLI::NonNegativeNumber);
  app.add_flag("--all", arguments->all, "Every group of the step, not the first three");
  app.add_flag("--full", arguments->full, "Texts in full length");
  app.add_flag("--json", arguments->json, "Print the groups as JSON");
  return [arguments] { return show(*arguments); };
}

}  // namespace sluice::app
