#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/recipe_options.h"
#include "base/terminal.h"
#include "recipes/stages.h"
#include "text/dataset.h"

namespace sluice::app {
namespace {

// Opens what the recipe names, so that what is missing is said before an hour is spent.
void check_stage(const recipes::StageSpec& stage) {
  std::cout << "  " << stage.name << ": ";
  if (stage.use == "sft") {
    std::cout << format_count(
                     static_cast<int64_t>(text::read_examples(stage.data, text::Split::Train).size()))
              << " examples\n";
    return;
  }
  const auto split = stage.use == "eval" ? text::Split::Test : text::Split::Train;
  const auto rewards = recipes::make_rewards(stage);
  std::cout << format_count(static_cast<int64_t>(text::read_prompts(stage.data, split).size()))
            << " prompts\n";
}

}  // namespace

Command add_check(CLI::App& app) {
  struct Arguments {
    RecipeArguments recipe;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_flag("--json", arguments->json, "Print the resolved recipe instead");
  return [arguments] {
    const auto recipe = arguments->recipe.load();
    if (arguments->json) {
      std::cout << recipe.resolved.dump(2) << '\n';
      return 0;
    }
    std::cout << describe(recipe) << "data:\n";
    for (const auto& stage : recipe.stages) check_stage(stage);
    std::cout << "ok; start it with: sluice run " << arguments->recipe.file << '\n';
    return 0;
  };
}

}  // namespace sluice::app
