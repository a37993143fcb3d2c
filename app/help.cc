#include <iostream>
#include <memory>

#include "app/command.h"
#include "recipes/schema.h"
#include "rewards/reward.h"

namespace sluice::app {

Command add_help(CLI::App& app) {
  app.require_subcommand(0, 1);
  auto* recipe = app.add_subcommand("recipe", "Every key of a recipe (docs/recipe_reference.md)");
  auto* rewards = app.add_subcommand("rewards", "Every reward and the keys it understands");
  return [recipe, rewards] {
    if (!recipe->parsed() && !rewards->parsed()) {
      std::cout << "sluice help recipe     every key of a recipe\n"
                   "sluice help rewards    every reward and the keys it understands\n"
                   "sluice COMMAND --help  what a command takes; sluice --help lists them\n";
      return 0;
    }
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
