// `sluice reward`: which scorers there are, what they mean, and what they say of completions.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/reward_init.h"
#include "app/reward_report.h"
#include "app/reward_trial.h"
#include "base/error.h"
#include "base/nearest.h"
#include "rewards/plugin.h"
#include "rewards/reward_guide.h"

namespace sluice::app {
namespace {

using rewards::RewardEntry;
using rewards::RewardGuide;

const RewardGuide* guide_of(const RewardEntry& entry) {
  const auto& guides = rewards::reward_guides();
  const auto guide = std::ranges::find(guides, entry.name, &RewardGuide::name);
  return guide == guides.end() ? nullptr : &*guide;
}

Json to_json(const RewardEntry& entry) {
  return {{"name", entry.name}, {"summary", entry.summary}, {"options", entry.options}};
}

Json to_json(const RewardEntry& entry, const RewardGuide& guide) {
  Json report = {{"name", entry.name}, {"summary", entry.summary}, {"recipe", guide.recipe}};
  for (const auto& option : guide.options) {
    report["options"].push_back({{"key", option.key},
                                 {"default", option.fallback.empty() ? Json() : Json(option.fallback)},
                                 {"meaning", option.meaning}});
  }
  report["cases"] = Json::array();
  for (const auto& one : guide.cases) {
    report["cases"].push_back({{"completion", one.completion},
                               {"columns", one.columns},
                               {"options", one.options},
                               {"score", one.score ? Json(*one.score) : Json()},
                               {"because", one.because}});
  }
  return report;
}

int list(bool json) {
  const auto& entries = rewards::reward_entries();
  if (json) {
    Json report = Json::array();
    for (const auto& entry : entries) report.push_back(to_json(entry));
    std::cout << report.dump(2) << '\n';
    return 0;
  }
  const auto width =
      std::ranges::max(entries, {}, [](const auto& entry) { return entry.name.size(); }).name.size();
  for (const auto& entry : entries) {
    std::cout << entry.name << std::string(width + 2 - entry.name.size(), ' ') << entry.summary << '\n';
  }
  std::cout << "`sluice reward explain NAME` says more of one\n";
  return 0;
}

int explain_one(const std::string& name, bool json) {
  const auto& entries = rewards::reward_entries();
  const auto entry = std::ranges::find(entries, name, &RewardEntry::name);
  if (entry == entries.end()) {
    std::vector<std::string> names;
    for (const auto& known : entries) names.push_back(known.name);
    fail<UsageError>("reward explain: there is no scorer \"", name, "\"",
                     did_you_mean(name, names, "; `sluice reward list` names them"));
  }
  const RewardGuide* guide = guide_of(*entry);
  if (json) {
    std::cout << (guide != nullptr ? to_json(*entry, *guide) : to_json(*entry)).dump(2) << '\n';
  } else if (guide != nullptr) {
    std::cout << to_markdown(*guide, entry->summary);
  } else {
    std::cout << entry->name << ": " << entry->summary << '\n';
    for (const auto& option : entry->options) std::cout << "    " << option << '\n';
  }
  return 0;
}

// What docs/rewards.md has of them.
int explain_all() {
  bool first = true;
  for (const auto& entry : rewards::reward_entries()) {
    const RewardGuide* guide = guide_of(entry);
    if (guide == nullptr) continue;
    std::cout << (first ? "" : "\n") << to_markdown(*guide, entry.summary);
    first = false;
  }
  return 0;
}

struct Arguments {
  std::string name;
  TrialArguments trial;
  ReportOptions report;
  bool json = false;
};

// What a plug-in says of a file is asked for by programs as well, which read lines of JSON.
bool is_for_a_program(const TrialArguments& arguments, const Trial& trial) {
  const bool by_itself = trial.scorers.size() == 1 && trial.scorers.front().where.empty();
  return by_itself && !arguments.file.empty() && rewards::is_plugin(trial.scorers.front().use) &&
         ::isatty(STDOUT_FILENO) == 0;
}

CLI::App* add_test(CLI::App& app, Arguments& arguments) {
  auto* sub = app.add_subcommand("test", "Score a few completions: every part, the total and the time");
  auto& trial = arguments.trial;
  sub->add_option("tested", trial.tested,
                  "A recipe, the NAME of a scorer, or a plug-in: my.py, my.py:function, judge.so, "
                  "http://..., a program")
      ->required();
  sub->add_option("settings", trial.settings, "KEY=VALUE: overrides of the recipe, or options of the scorer");
  sub->add_option("-n,--rows", trial.rows, "How many rows (default: all of a file, 4 of a recipe's dataset)")
      ->check(CLI::PositiveNumber);
  sub->add_option("--file", trial.file,
                  "JSON lines with `completion`, and `prompt`, `answer` and what else a scorer reads");
  sub->add_option("--stage", trial.stage,
                  "Of a recipe, whose data and rewards (default: the first with rewards)");
  sub->add_option("--group", arguments.report.group,
                  "So many rows at a time are scored together, as a group is (default 1; with --profile 64)")
      ->check(CLI::PositiveNumber);
  sub->add_flag("--profile", arguments.report.profile, "Measure how many samples a second each scorer takes");
  sub->add_flag("--json", arguments.json,
                "A JSON line for each row; a plug-in that is tried on a file into a pipe gives them anyway");
  return sub;
}

}  // namespace

Command add_reward(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(1);
  auto* listing = app.add_subcommand("list", "Every scorer with one sentence");
  auto* explaining =
      app.add_subcommand("explain", "What a scorer's options mean, and what it says of examples");
  explaining->add_option("name", arguments->name,
                         "The scorer (default: all of them, as docs/rewards.md has them)");
  for (auto* sub : {listing, explaining}) sub->add_flag("--json", arguments->json, "Print JSON");
  auto* testing = add_test(app, *arguments);
  auto* beginning = app.add_subcommand("init", "Write a reward of your own to begin with, and its test");
  return [arguments, listing, testing, beginning, begin = add_reward_init(*beginning)] {
    if (listing->parsed()) return list(arguments->json);
    if (beginning->parsed()) return begin();
    if (!testing->parsed())
      return arguments->name.empty() ? explain_all() : explain_one(arguments->name, arguments->json);
    const auto trial = open_trial(arguments->trial);
    arguments->report.json =
        arguments->json || (!arguments->report.profile && is_for_a_program(arguments->trial, trial));
    return report_trial(trial, arguments->report);
  };
}

}  // namespace sluice::app
