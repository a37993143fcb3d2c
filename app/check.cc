#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/recipe_options.h"
#include "base/terminal.h"
#include "recipes/inputs.h"

namespace sluice::app {

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
    const auto counts = recipes::check_inputs(recipe);
    for (size_t i = 0; i < counts.size(); ++i) {
      const auto& stage = recipe.stages[i];
      std::cout << "  " << stage.name << ": " << format_count(counts[i])
                << (stage.use == "sft" ? " examples\n" : " prompts\n");
    }
    std::cout << "ok; start it with: sluice run " << arguments->recipe.file << '\n';
    return 0;
  };
}

}  // namespace sluice::app
