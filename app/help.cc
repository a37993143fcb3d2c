#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/manual.h"
#include "base/error.h"
#include "base/nearest.h"
#include "recipes/schema.h"
#include "recipes/schema_help.h"
#include "rewards/reward.h"
#include "rewards/tools.h"

namespace sluice::app {
namespace {

struct Arguments {
  std::vector<std::string> words;
  bool man = false, json = false;
};

template <class Entries>
void print_entries(const Entries& entries) {
  for (const auto& entry : entries) {
    std::cout << entry.name << ": " << entry.summary << '\n';
    for (const auto& option : entry.options) std::cout << "    " << option << '\n';
  }
}

bool print_command_help(const CLI::App& root, const std::string& topic) {
  for (const auto& page : command_pages(root)) {
    if (page.path != topic || topic.empty()) continue;
    std::cout << HelpFormatter().make_help(page.app, "sluice " + topic, CLI::AppFormatMode::Normal);
    return true;
  }
  return false;
}

bool print_reward(const std::string& topic) {
  for (const auto& entry : rewards::reward_entries()) {
    if (entry.name != topic) continue;
    std::cout << entry.name << ", a reward\n  " << entry.summary << "\n`sluice reward explain " << entry.name
              << "` shows it at work\n";
    return true;
  }
  return false;
}

[[noreturn]] void refuse(const CLI::App& root, const std::string& topic) {
  auto known = recipes::recipe_words();
  for (const auto& page : command_pages(root)) known.push_back(page.path);
  for (const auto& entry : rewards::reward_entries()) known.push_back(entry.name);
  fail<UsageError>("help: there is no command, key or reward \"", topic, "\"",
                   did_you_mean(topic, known, "; `sluice --help` lists commands, `sluice help recipe` keys"));
}

int explain_topic(const CLI::App& root, const std::string& topic) {
  if (topic == "recipe") {
    std::cout << recipes::schema_reference();
  } else if (topic == "rewards") {
    print_entries(rewards::reward_entries());
  } else if (topic == "tools") {
    print_entries(rewards::tool_entries());
  } else if (const auto page = recipes::explain(topic)) {
    std::cout << *page;
  } else if (!print_command_help(root, topic) && !print_reward(topic)) {
    refuse(root, topic);
  }
  return 0;
}

}  // namespace

Command add_help(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("topic", arguments->words, "A key of a recipe, a stage, a reward or a command")
      ->expected(0, -1);
  app.add_flag("--man", arguments->man, "Print the manual page: sluice help --man | man -l -");
  app.add_flag("--json", arguments->json, "Print every command with its options and an example");
  return [&app, arguments] {
    const CLI::App& root = *app.get_parent();
    if (arguments->man) {
      std::cout << man_page(root);
      return 0;
    }
    if (arguments->json) {
      std::cout << manual_json(root).dump(2) << '\n';
      return 0;
    }
    std::string topic;
    for (const auto& word : arguments->words) topic += (topic.empty() ? "" : " ") + word;
    if (!topic.empty()) return explain_topic(root, topic);
    std::cout << "sluice help optim.lr   what a key of a recipe means, and when to change it\n"
                 "sluice help optim      the keys of a table; `sluice help grpo` a kind of stage\n"
                 "sluice help recipe     every key of a recipe\n"
                 "sluice help rewards    every reward and the keys it understands\n"
                 "sluice help tools      every tool that completions may call\n"
                 "sluice help --man      the manual page\n"
                 "sluice COMMAND --help  what a command takes; sluice --help lists them\n";
    return 0;
  };
}

}  // namespace sluice::app
