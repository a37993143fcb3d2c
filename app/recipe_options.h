// The arguments of every command that takes a recipe: its file and overrides.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "recipes/recipe.h"

namespace sluice::app {

struct RecipeArguments {
  std::string file;
  std::vector<std::string> overrides;

  recipes::Recipe load() const { return recipes::load_recipe(file, overrides); }
};

inline void add_recipe_arguments(CLI::App& app, RecipeArguments& arguments) {
  app.add_option("recipe", arguments.file, "A .toml or .json recipe")->required();
  app.add_option("overrides", arguments.overrides, "KEY=VALUE for all stages, STAGE.KEY=VALUE for one");
}

}  // namespace sluice::app
