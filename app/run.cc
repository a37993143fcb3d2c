#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "app/command.h"
#include "app/recipe_options.h"
#include "base/signals.h"
#include "base/state_dump.h"
#include "recipes/inputs.h"
#include "recipes/run_directory.h"
#include "recipes/supervisor.h"

namespace sluice::app {
namespace {

struct RunArguments {
  RecipeArguments recipe;
  std::string name;
  std::string runs = "runs";
  bool resume = false;
};

// The line that goes on with a stopped run.
std::string resume_command(const RunArguments& arguments) {
  std::string line = "sluice run " + arguments.recipe.file;
  if (!arguments.name.empty()) line += " --name " + arguments.name;
  if (arguments.runs != "runs") line += " --runs " + arguments.runs;
  line += " --resume";
  for (const auto& text : arguments.recipe.overrides) line += " '" + text + "'";
  return line;
}

}  // namespace

Command add_run(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_option("--name", arguments->name, "Name of the run directory (default: the recipe's name)");
  app.add_option("--runs", arguments->runs, "Where run directories live")->capture_default_str();
  app.add_flag("--resume", arguments->resume, "Continue the run of this name, or start it");
  return [arguments] {
    StopSignals signals;
    const StateDump state_dump("supervisor");
    auto overrides = arguments->recipe.overrides;
    if (!arguments->name.empty()) overrides.push_back("name=" + Json(arguments->name).dump());
    const auto recipe = recipes::load_recipe(arguments->recipe.file, overrides);
    // Bad input must not use up the name of the run; one that is there has been checked.
    if (!std::filesystem::exists(std::filesystem::path(arguments->runs) / recipe.name / "run.json")) {
      recipes::check_inputs(recipe);
      recipes::check_machine(recipe);
    }
    const auto run = recipes::open_run(arguments->runs, recipe, arguments->resume);
    const int status = recipes::supervise(run, recipe, signals);
    if (signals.received() != 0)
      std::cout << "stopped; continue with: " << resume_command(*arguments) << std::endl;
    return status;
  };
}

}  // namespace sluice::app
