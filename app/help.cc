#include <iostream>
#include <memory>

#include "app/command.h"
#include "recipes/schema.h"
#include "rewards/reward.h"

namespace sluice::app {

Command add_help(CLI::App& app) {
  app.require_subcommand(1);
  auto* recipe = app.add_subcommand("recipe", "Every key of a recipe (docs/recipe_reference.md)");
  app.add_subcommand("rewards", "Every reward and the keys it understands");
  return [recipe] {
    if (recipe->parsed()) {
      std::cout << recipes::schema_reference();
      return 0;
    }
    for (const auto& entry : rewards::reward_entries()) {
      std::cout << entry.name << ": " << entry.summary << '\n';
      for (const auto& option : entry.options) std::cout << "    " << option << '\n';
    }
    return 0;
  };
}

}  // namespace sluice::app
