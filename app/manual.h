// What the commands are, read off the tree of the command line: help pages, the man page, completion.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sluice::app {

// The group of options and subcommands that `--help` only names and `--help-all` explains.
inline constexpr const char* kMore = "More";

struct CommandPage {
  std::string path;     // "reward test"; "" for sluice itself
  std::string example;  // a whole line, "sluice reward test larger.toml"
  const CLI::App* app = nullptr;
};

// Every command that a person may type, parents before their subcommands.
std::vector<CommandPage> command_pages(const CLI::App& root);

// Its options, positionals or subcommands that are not hidden; of options without `--help` and `--help-all`.
std::vector<const CLI::Option*> options_of(const CLI::App& app);
std::vector<const CLI::Option*> positionals_of(const CLI::App& app);
std::vector<const CLI::App*> subcommands_of(const CLI::App& app);

// An option's long name (or its short one), and what it takes: "TEXT", "N", "{a,b}"; "" for a flag.
std::string option_name(const CLI::Option& option);
std::string option_value(const CLI::Option& option);

// What `--help` prints: at most 100 columns, an example at its end.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

Json manual_json(const CLI::App& root);
std::string man_page(const CLI::App& root);

}  // namespace sluice::app
