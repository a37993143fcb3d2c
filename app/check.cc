#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "app/command.h"
#include "app/memory_report.h"
#include "app/model_arguments.h"
#include "app/recipe_options.h"
#include "base/error.h"
#include "base/terminal.h"
#include "model/memory_plan.h"
#include "model/model_directory.h"
#include "model/weight_files.h"
#include "recipes/inputs.h"

namespace sluice::app {
namespace {

// What most numbers of a directory are stored in; nothing where the weights are not there (yet).
std::optional<std::string> stored_type(const std::filesystem::path& directory) {
  if (!model::has_weight_files(directory)) return std::nullopt;
  std::map<std::string, int64_t> numbers;
  const model::WeightFiles files(directory);
  for (const auto& entry : files.entries()) {
    int64_t count = 1;
    for (const int64_t size : entry.shape) count *= size;
    numbers[model::dtype_name(entry.type)] += count;
  }
  const auto most = std::ranges::max_element(numbers, {}, [](const auto& item) { return item.second; });
  return most == numbers.end() ? "nothing" : most->first;
}

// Activations depend on how many rows are computed together, which a directory does not say.
Json directory_json(model::MemoryPlan plan, int64_t cache_16_bits) {
  plan.activations = 0;
  Json json = memory_json(plan);
  json.erase("activations");
  json["kv_cache_per_token_16_bits"] = cache_16_bits;
  return json;
}

int check_directory(const std::filesystem::path& directory, bool json) {
  const auto config = model::read_model_config(directory);
  const auto served = model::plan_memory(config, {});
  const auto trained = model::plan_memory(config, {.trains = true});
  const int64_t cache_16_bits = model::plan_memory(config, {.cache_type = at::kBFloat16}).cache_per_token;
  const auto stored = stored_type(directory);
  if (json) {
    const Json report = {{"model", directory.string()},
                         {"family", config.family_name()},
                         {"parameters", served.parameters},
                         {"dtype", stored ? Json(*stored) : Json(nullptr)},
                         {"memory",
                          {{"served", directory_json(served, cache_16_bits)},
                           {"trained", directory_json(trained, cache_16_bits)}}}};
    std::cout << report.dump(2) << '\n';
    return 0;
  }
  const auto bytes = [](int64_t count) { return format_bytes(static_cast<uint64_t>(count)); };
  std::cout << directory.string() << "\n  family      " << config.family_name() << ", " << config.num_layers()
            << " layers of width " << config.hidden_size << ", " << config.max_position
            << " positions\n  parameters  " << format_count(served.parameters)
            << (stored ? ", stored as " + *stored : ", weights are not there") << "\n  weights     "
            << bytes(served.weights) << " in float32\n  KV cache    " << format_count(served.cache_per_token)
            << " bytes a token in float32, " << format_count(cache_16_bits) << " in 16 bits\n  training    "
            << bytes(trained.total() - trained.activations) << " and activations: gradients "
            << bytes(trained.gradients) << ", optimizer " << bytes(trained.optimizer) << '\n';
  return 0;
}

void print_rows(const recipes::Recipe& recipe, const recipes::InputsFound& inputs) {
  std::cout << "data:\n";
  for (size_t i = 0; i < inputs.stages.size(); ++i) {
    const auto& stage = recipe.stages[i];
    if (!stage.data_from.empty()) {
      std::cout << "  " << stage.name << ": what " << stage.data_from << " keeps\n";
      continue;
    }
    std::cout << "  " << stage.name << ": " << format_count(inputs.stages[i].rows)
              << (stage.role == recipes::StageRole::Supervised    ? " examples\n"
                  : stage.role == recipes::StageRole::Preference  ? " preferences\n"
                  : stage.role == recipes::StageRole::RewardModel ? " pairs\n"
                                                                  : " prompts\n");
  }
}

int check_recipe(const RecipeArguments& arguments, bool json) {
  const auto recipe = arguments.load();
  if (!json) std::cout << describe(recipe);
  const auto inputs = recipes::check_inputs(recipe);
  const auto memory = plan_stages(recipe, inputs);
  if (json) {
    Json report = recipe.resolved;
    report["memory"] = memory_json(recipe, memory);
    std::cout << report.dump(2) << '\n';
    recipes::check_machine(recipe);
    return 0;
  }
  print_rows(recipe, inputs);
  print_memory(std::cout, recipe, memory);
  recipes::check_machine(recipe);
  std::cout << "ok; start it with: sluice run " << arguments.file << '\n';
  return 0;
}

}  // namespace

Command add_check(CLI::App& app) {
  struct Arguments {
    RecipeArguments recipe;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_flag("--json", arguments->json, "Print the resolved recipe and its memory plan instead");
  app.footer("A model directory, checkpoint or run instead of a recipe: its family, size and memory");
  return [arguments] {
    const auto& recipe = arguments->recipe;
    if (!std::filesystem::is_directory(recipe.file)) return check_recipe(recipe, arguments->json);
    require<UsageError>(recipe.overrides.empty(), "check: a model directory takes no overrides");
    return check_directory(find_model(recipe.file), arguments->json);
  };
}

}  // namespace sluice::app
