// The command line: finds the subcommand, runs it, and makes an Error an exit status.
#include <ATen/Parallel.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "app/command.h"
#include "app/manual.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/nearest.h"
#include "base/terminal_text.h"

namespace sluice::app {
namespace {

struct Entry {
  const char* name;
  const char* help;
  Command (*add)(CLI::App&);
  const char* group;
};

constexpr const char *kBegin = "Begin", *kRun = "Run", *kUse = "Use a model";
constexpr Entry kCommands[] = {
    {"init", "Make a folder with a recipe, its data and what to type next", add_init, kBegin},
    {"data", "Check, show and split datasets; find rows that are held out, too", add_data, kBegin},
    {"reward", "List and explain the scorers, and try them on completions", add_reward, kBegin},
    {"check", "Read a recipe, or a model directory, and say what it would do and need", add_check, kBegin},
    {"doctor", "Say what this machine lacks, or what went wrong in a run", add_doctor, kBegin},
    {"help", "Explain a key of a recipe, a stage, a reward or a command", add_help, kBegin},
    {"run", "Run a recipe: supervise its stages and actors", add_run, kRun},
    {"top", "Watch a run: curves, queue, processes, where the time goes, alarms", add_top, kRun},
    {"rollouts", "Read what was sampled at a step, with rewards and advantages", add_rollouts, kRun},
    {"compare", "Set runs beside each other: a table, and curves in an SVG file", add_compare, kRun},
    {"eval", "Measure a model on the held-out prompts of a recipe", add_eval, kRun},
    {"audit", "Recount a run's rollouts from its files: nothing lost, nothing twice", add_audit, kMore},
    {"replay", "Take a recorded step again, and hold it against what the run wrote of it", add_replay, kMore},
    {"generate", "Complete prompts with a model directory", add_generate, kUse},
    {"score", "The log-probs that a model directory gives to text or ids", add_score, kUse},
    {"export", "Save a model directory, or a run's model, for other tools", add_export, kUse},
    {"tokenizer", "Train a tokenizer, or look at what one does", add_tokenizer, kMore},
    {"completion", "Print what lets a shell finish words: commands, options, keys", add_completion, kMore},
    {"bench", "Measure speed, as ratios within one run", add_bench, kMore},
    {"learner", "One role: run a stage of a run directory", add_learner, kMore},
    {"actor", "One role: generate rollouts for a run directory", add_actor, kMore},
    {"reward-worker", "One role: a reward's shared library, in a process of its own", add_reward_worker,
     kMore},
};

bool is_command(std::string_view word) {
  return std::ranges::any_of(kCommands, [&](const Entry& entry) { return word == entry.name; });
}

// A word that is no subcommand: the nearest one that is.
int refuse_command(const std::string& word) {
  std::vector<std::string> names;
  for (const auto& entry : kCommands) names.emplace_back(entry.name);
  std::cerr << "sluice: there is no command \"" << word << "\"" << did_you_mean(word, names, ";")
            << " `sluice --help` lists them\n";
  return static_cast<int>(ExitCode::Usage);
}

// The innermost command that the line names, and its name as it is typed.
std::pair<const CLI::App*, std::string> named_command(const CLI::App& app) {
  const CLI::App* command = &app;
  std::string name = "sluice";
  for (bool deeper = true; deeper;) {
    deeper = false;
    for (const auto* sub : command->get_subcommands()) {
      if (sub->get_name().empty()) continue;
      command = sub;
      name += " " + sub->get_name();
      deeper = true;
      break;
    }
  }
  return {command, name};
}

// A word that the command it stands behind does not know: the nearest one that it does.
int refuse_word(const CLI::App& app, const std::string& word) {
  const auto [command, name] = named_command(app);
  std::vector<std::string> known;
  for (const auto* option : options_of(*command)) known.push_back(option_name(*option));
  for (const auto* sub : subcommands_of(*command)) known.push_back(sub->get_name());
  std::cerr << name << ": \"" << inert(word) << "\" is not expected" << did_you_mean(word, known, ";") << " `"
            << name << " --help` says what it takes\n";
  return static_cast<int>(ExitCode::Usage);
}

// "shell: bsh not in {bash,zsh,fish}": the nearest of them, or how the sentence goes on.
std::string meant_instead(const std::string& why) {
  constexpr std::string_view kNotIn = " not in {";
  const auto at = why.find(kNotIn);
  if (at == std::string::npos || !why.ends_with('}')) return ";";
  const auto begin = why.rfind(' ', at - 1) + 1;
  std::istringstream list(why.substr(at + kNotIn.size(), why.size() - 1 - at - kNotIn.size()));
  std::vector<std::string> known;
  for (std::string word; std::getline(list, word, ',');) known.push_back(word);
  return did_you_mean(why.substr(begin, at - begin), known, ";");
}

// Something that is missing, or a value that an option does not take.
int refuse_line(const CLI::App& app, const std::string& why) {
  const auto [command, name] = named_command(app);
  std::cerr << name << ": " << inert(why) << meant_instead(why) << " `" << name
            << " --help` says what it takes\n";
  return static_cast<int>(ExitCode::Usage);
}

// Large blocks stay with the process when they are freed: to give each back to the system and to ask for new
// pages, full of zeros, costs a learner's step up to a tenth.
void keep_pages() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);  // never: a limit as large as it can be is below what a step frees
  ::mallopt(M_TOP_PAD, 64 << 20);
}

int run(int argc, char** argv) {
  keep_pages();
  at::set_num_threads(1);  // more would change the order of its sums, and spin beside our own
  CLI::App app("Sluice: reinforcement-learning post-training of language models", "sluice");
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_all_flag("--help-all", "What `--help` leaves out too, and the same of every subcommand");
  app.set_version_flag("--version", SLUICE_VERSION, "Print the version");
  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const auto& entry : kCommands) {
    CLI::App* sub = app.add_subcommand(entry.name, entry.help);
    commands.emplace_back(sub, entry.add(*sub));
    sub->group(entry.group);  // last, since its own subcommands would take that over
  }
  if (argc > 1 && argv[1][0] != '-' && !is_command(argv[1])) return refuse_command(argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const auto unknown = app.remaining(/*recurse=*/true);
    const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
    if (!unknown.empty() && (kind == CLI::ExitCodes::ExtrasError || kind == CLI::ExitCodes::RequiredError))
      return refuse_word(app, unknown.front());
    return kind == CLI::ExitCodes::Success ? app.exit(error) : refuse_line(app, error.what());
  }
  for (const auto& [sub, command] : commands) {
    if (sub->parsed()) return command();
  }
  return static_cast<int>(ExitCode::Usage);
}

// Any error as the words and the exit code that a person gets of it.
int run_or_say_why(int argc, char** argv) {
  try {
    check_failpoint();
    return run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "sluice: " << error.what() << '\n';
    return static_cast<int>(error.code());
  } catch (const std::filesystem::filesystem_error& error) {  // which names the files and the cause
    std::cerr << "sluice: " << error.what() << '\n';
    return static_cast<int>(ExitCode::Environment);
  } catch (const std::exception& error) {
    std::cerr << "sluice: " << error.what() << '\n';
    return static_cast<int>(ExitCode::Failed);
  }
}

}  // namespace
}  // namespace sluice::app

int main(int argc, char** argv) {
  const int code = sluice::app::run_or_say_why(argc, argv);
  std::cout.flush();
  std::fflush(nullptr);
#ifdef __SANITIZE_ADDRESS__
  return code;  // leaks are looked for behind it
#else
  // Without the destructors of globals: LibTorch takes back each of its operators there, which was 0.08 of
  // the 0.28 s that `sluice --version` took of a core.
  ::_exit(code);
#endif
}
