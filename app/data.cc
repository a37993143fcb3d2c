#include <algorithm>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/data_files.h"
#include "app/recipe_options.h"
#include "base/error.h"
#include "base/terminal.h"
#include "text/dataset.h"
#include "text/preference_rows.h"

namespace sluice::app {
namespace {

constexpr int64_t kShown = 5;

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
    for (size_t i = 0; i < std::min<size_t>(kShown, leak.leaked.size()); ++i) {
      std::cout << "  " << leak.leaked[i].where() << ": " << leak.leaked[i].asked() << '\n';
    }
  }
  if (json) std::cout << report.dump(2) << '\n';
  return leaks ? 1 : 0;
}

void show_preferences(const recipes::StageSpec& stage, int64_t count) {
  const auto rows = text::read_preferences(stage.data.path, stage.preference.columns);
  std::cout << stage.name << ": " << format_count(static_cast<int64_t>(rows.size())) << " rows\n";
  for (size_t i = 0; i < std::min(static_cast<size_t>(count), rows.size()); ++i) {
    std::cout << "  " << rows[i].where() << ": " << rows[i].prompt.dump();
    for (const auto& completion : rows[i].completions) std::cout << " -> " << completion.dump();
    std::cout << '\n';
  }
}

int show_datasets(const recipes::Recipe& recipe, int64_t count) {
  for (const auto* stage : distinct_datasets(recipe)) {
    if (compares(*stage)) {
      show_preferences(*stage, count);
      continue;
    }
    const auto split = stage->split();
    const auto rows = stage->role == recipes::StageRole::Supervised ? text::read_examples(stage->data, split)
                                                                    : text::read_prompts(stage->data, split);
    std::cout << stage->name << ": " << format_count(static_cast<int64_t>(rows.size())) << " rows\n";
    for (size_t i = 0; i < std::min(static_cast<size_t>(count), rows.size()); ++i) {
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
    std::string file, output, folder;
    int64_t count = kShown;
    double test_share = 0.1;
    uint64_t seed = 0;
  };
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* help) { return app.add_subcommand(name, help); };
  auto* check = add("check", "Read a file of JSON lines: every row that is wrong, and how a recipe reads it");
  auto* show = add("show", "The first rows of a file, or of each dataset of a recipe");
  auto* dedup = add("dedup", "Leave out rows that ask what an earlier one asks");
  auto* split = add("split", "Put rows aside as a held-out file; what asks the same stays together");
  auto* leak = add("leak", "Training rows that are among the held-out ones; exit 1 when there are any");
  for (auto* sub : {check, dedup, split}) sub->add_option("file", arguments->file, "JSON lines")->required();
  for (auto* sub : {leak, show}) {
    sub->add_option("recipe", arguments->recipe.file, "A .toml or .json recipe, or a file of JSON lines")
        ->required();
    sub->add_option(
        "overrides", arguments->recipe.overrides,
        sub == leak ? "Of a recipe KEY=VALUE; of a training file the held-out one" : "KEY=VALUE of a recipe");
  }
  show->add_option("-n,--rows", arguments->count, "How many rows")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  dedup->add_option("--output", arguments->output, "The file to write; it must not be there")->required();
  split->add_option("--test", arguments->test_share, "The share that is put aside")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  split->add_option("--seed", arguments->seed, "Another number puts other rows aside")->capture_default_str();
  split->add_option("--folder", arguments->folder,
                    "Where STEM_train.jsonl and STEM_test.jsonl go (default: beside it)");
  for (auto* sub : {check, leak}) sub->add_flag("--json", arguments->json, "Print what was found as JSON");
  return [=] {
    const auto& recipe = arguments->recipe;
    if (check->parsed()) return check_rows(arguments->file, arguments->json);
    if (dedup->parsed()) return dedup_rows(arguments->file, arguments->output);
    if (split->parsed())
      return split_rows(arguments->file, arguments->test_share, arguments->seed, arguments->folder);
    if (!is_rows_file(recipe.file))
      return leak->parsed() ? report_leaks(recipe.load(), arguments->json)
                            : show_datasets(recipe.load(), arguments->count);
    if (show->parsed()) return show_rows(recipe.file, arguments->count);
    require<UsageError>(recipe.overrides.size() == 1,
                        "data leak: of files, name two: sluice data leak train.jsonl test.jsonl");
    return leaked_rows(recipe.file, recipe.overrides.front(), arguments->json);
  };
}

}  // namespace sluice::app
