#include <algorithm>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/recipe_options.h"
#include "base/terminal.h"
#include "text/dataset.h"
#include "text/preference_rows.h"

namespace sluice::app {
namespace {

constexpr size_t kShown = 5;

// Stages of one dataset are reported once.
std::vector<const recipes::StageSpec*> distinct_datasets(const recipes::Recipe& recipe) {
  std::vector<const recipes::StageSpec*> stages;
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    if (!recipe.stages[i].data_from.empty()) continue;  // a run makes them
    const auto same = [&](const recipes::StageSpec* other) {
      const size_t j = static_cast<size_t>(other - recipe.stages.data());
      return recipe.resolved["stages"][j]["data"] == recipe.resolved["stages"][i]["data"];
    };
    if (std::none_of(stages.begin(), stages.end(), same)) stages.push_back(&recipe.stages[i]);
  }
  return stages;
}

bool compares(const recipes::StageSpec& stage) {
  return stage.role == recipes::StageRole::Preference || stage.role == recipes::StageRole::RewardModel;
}

int report_leaks(const recipes::Recipe& recipe, bool json) {
  bool leaks = false;
  Json report = Json::array();
  for (const auto* stage : distinct_datasets(recipe)) {
    if (compares(*stage)) continue;  // rows of a kind of their own
    const auto leak = text::find_leaks(stage->data);
    leaks = leaks || !leak.leaked.empty();
    report.push_back({{"stage", stage->name},
                      {"train_rows", leak.train_rows},
                      {"test_rows", leak.test_rows},
                      {"leaked", leak.leaked.size()}});
    if (json) continue;
    std::cout << stage->name << ": " << format_count(static_cast<int64_t>(leak.leaked.size())) << " of "
              << format_count(leak.train_rows) << " training rows have a prompt that is among the "
              << format_count(leak.test_rows) << " held-out ones\n";
    for (size_t i = 0; i < std::min(kShown, leak.leaked.size()); ++i) {
      std::cout << "  " << leak.leaked[i].where() << ": " << leak.leaked[i].asked() << '\n';
    }
  }
  if (json) std::cout << report.dump(2) << '\n';
  return leaks ? 1 : 0;
}

void show_preferences(const recipes::StageSpec& stage) {
  const auto rows = text::read_preferences(stage.data.path, stage.preference.columns);
  std::cout << stage.name << ": " << format_count(static_cast<int64_t>(rows.size())) << " rows\n";
  for (size_t i = 0; i < std::min(kShown, rows.size()); ++i) {
    std::cout << "  " << rows[i].where() << ": " << rows[i].prompt.dump();
    for (const auto& completion : rows[i].completions) std::cout << " -> " << completion.dump();
    std::cout << '\n';
  }
}

int show_rows(const recipes::Recipe& recipe) {
  for (const auto* stage : distinct_datasets(recipe)) {
    if (compares(*stage)) {
      show_preferences(*stage);
      continue;
    }
    const auto split = stage->split();
    const auto rows = stage->role == recipes::StageRole::Supervised ? text::read_examples(stage->data, split)
                                                                    : text::read_prompts(stage->data, split);
    std::cout << stage->name << ": " << format_count(static_cast<int64_t>(rows.size())) << " rows\n";
    for (size_t i = 0; i < std::min(kShown, rows.size()); ++i) {
      std::cout << "  " << rows[i].where() << ": " << Json(rows[i].asked()).dump() << " -> "
                << Json(rows[i].completion).dump() << '\n';
    }
  }
  return 0;
}

}  // namespace

Command add_data(CLI::App& app) {
  struct Arguments {
    RecipeArguments recipe;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(1);
  auto* leak =
      app.add_subcommand("leak", "Training rows that are among the held-out ones; exit 1 when there are any");
  auto* show = app.add_subcommand("show", "The first rows of each dataset");
  for (auto* sub : {leak, show}) add_recipe_arguments(*sub, arguments->recipe);
  leak->add_flag("--json", arguments->json, "Print counts as JSON");
  return [arguments, leak] {
    const auto recipe = arguments->recipe.load();
    return leak->parsed() ? report_leaks(recipe, arguments->json) : show_rows(recipe);
  };
}

}  // namespace sluice::app
