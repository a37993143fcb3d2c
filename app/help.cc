#include <iostream>
#include <memory>

#include "app/command.h"
#include "recipes/schema.h"
#include "rewards/reward.h"
#include "rewards/tools.h"

namespace sluice::app {
namespace {

template <class Entries>
void print_entries(const Entries& entries) {
  for (const auto& entry : entries) {
    std::cout << entry.name << ": " << entry.summary << '\n';
    for (const auto& option : entry.options) std::cout << "    " << option << '\n';
  }
}

}  // namespace

Command add_help(CLI::App& app) {
  app.require_subcommand(0, 1);
  auto* recipe = app.add_subcommand("recipe", "Every key of a recipe (docs/recipe_reference.md)");
  auto* rewards = app.add_subcommand("rewards", "Every reward and the keys it understands");
  auto* tools = app.add_subcommand("tools", "Every tool that completions may call (docs/tools.md)");
  return [recipe, rewards, tools] {
    if (recipe->parsed()) {
      std::cout << recipes::schema_reference();
    } else if (rewards->parsed()) {
      print_entries(rewards::reward_entries());
    } else if (tools->parsed()) {
      print_entries(rewards::tool_entries());
    } else {
      std::cout << "sluice help recipe     every key of a recipe\n"
                   "sluice help rewards    every reward and the keys it understands\n"
                   "sluice help tools      every tool that completions may call\n"
                   "sluice COMMAND --help  what a command takes; sluice --help lists them\n";
    }
    return 0;
  };
}

}  // namespace sluice::app
