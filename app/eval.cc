#include <algorithm>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/model_arguments.h"
#include "app/recipe_options.h"
#include "base/error.h"
#include "recipes/evaluation.h"

namespace sluice::app {
namespace {

const recipes::StageSpec& evaluation_stage(const recipes::Recipe& recipe, const std::string& name) {
  if (!name.empty()) return recipe.stage(name);
  for (const auto& stage : recipe.stages) {
    if (stage.role == recipes::StageRole::Evaluation) return stage;
  }
  fail<UsageError>("eval: the recipe ", recipe.name,
                   " has no stage of kind eval; add one with its data and rewards");
}

}  // namespace

Command add_eval(CLI::App& app) {
  struct Arguments {
    RecipeArguments recipe;
    std::string model, reference, stage;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_option("--model", arguments->model,
                 "A model directory, a checkpoint, or a run (its latest checkpoint)")
      ->required();
  app.add_option("--reference", arguments->reference, "Such a one, to measure the KL against");
  app.add_option("--stage", arguments->stage, "Which evaluation of the recipe (default: its first)");
  app.add_flag("--json", arguments->json, "Print figures and samples as JSON");
  return [arguments] {
    const auto recipe = arguments->recipe.load();
    const auto& stage = evaluation_stage(recipe, arguments->stage);
    require<UsageError>(stage.role == recipes::StageRole::Evaluation, "eval: stage ", stage.name,
                        " is of kind ", stage.use, ", not eval");
    const std::string reference =
        arguments->reference.empty() ? "" : find_model(arguments->reference).string();
    const auto result =
        recipes::evaluate_model(recipe, stage, find_model(arguments->model), reference, [] { return 0; });
    if (arguments->json) {
      std::cout << result->dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
      return 0;
    }
    for (const auto& line : recipes::evaluation_lines(*result)) std::cout << line << '\n';
    return 0;
  };
}

}  // namespace sluice::app
