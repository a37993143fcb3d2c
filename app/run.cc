#include <memory>

#include "app/command.h"
#include "app/recipe_options.h"
#include "base/signals.h"
#include "recipes/run_directory.h"
#include "recipes/supervisor.h"

namespace sluice::app {

Command add_run(CLI::App& app) {
  struct Arguments {
    RecipeArguments recipe;
    std::string name;
    std::string runs = "runs";
    bool resume = false;
  };
  auto arguments = std::make_shared<Arguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_option("--name", arguments->name, "Name of the run directory (default: the recipe's name)");
  app.add_option("--runs", arguments->runs, "Where run directories live")->capture_default_str();
  app.add_flag("--resume", arguments->resume, "Continue the run of this name, or start it");
  return [arguments] {
    StopSignals signals;
    auto overrides = arguments->recipe.overrides;
    if (!arguments->name.empty()) overrides.push_back("name=" + Json(arguments->name).dump());
    const auto recipe = recipes::load_recipe(arguments->recipe.file, overrides);
    const auto run = recipes::open_run(arguments->runs, recipe, arguments->resume);
    return recipes::supervise(run, recipe, signals);
  };
}

}  // namespace sluice::app
