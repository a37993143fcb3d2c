#include <stdlib.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "app/command.h"
#include "app/manual.h"
#include "app/recipe_options.h"
#include "base/error.h"
#include "base/files.h"
#include "base/shell_word.h"
#include "base/signals.h"
#include "base/state_dump.h"
#include "base/trace.h"
#include "recipes/inputs.h"
#include "recipes/run_directory.h"
#include "recipes/supervisor.h"

namespace sluice::app {
namespace {

struct RunArguments {
  RecipeArguments recipe;
  std::string name;
  std::string runs = "runs";
  bool resume = false, trace = false;
};

constexpr size_t kTracedStep = 3;  // the first ones differ from those that follow

// What the processes kept while the run lasted becomes one file; none is no fault of the run.
void write_trace(const std::filesystem::path& parts, const std::filesystem::path& file) {
  try {
    write_file_atomically(file, join_traces(parts, "step ", kTracedStep).dump());
    std::cout << "trace: " << file.string() << std::endl;
  } catch (const Error& error) {
    std::cerr << "sluice: no trace was written: " << error.what() << '\n';
  }
  std::filesystem::remove_all(parts);
}

// The line that goes on with a stopped run.
std::string resume_command(const RunArguments& arguments) {
  std::string line = "sluice run " + shell_word(arguments.recipe.file);
  if (!arguments.name.empty()) line += " --name " + shell_word(arguments.name);
  if (arguments.trace) line += " --trace";
  if (arguments.runs != "runs") line += " --runs " + shell_word(arguments.runs);
  line += " --resume";
  for (const auto& text : arguments.recipe.overrides) line += " " + shell_quoted(text);
  return line;
}

}  // namespace

Command add_run(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  add_recipe_arguments(app, arguments->recipe);
  app.add_option("--name", arguments->name, "Name of the run directory (default: the recipe's name)");
  app.add_option("--runs", arguments->runs, "Where run directories live")->capture_default_str();
  app.add_flag("--resume", arguments->resume, "Continue the run of this name, or start it");
  app.add_flag("--trace", arguments->trace,
               "Write what every role did in the third step of each stage that trains, or in its last, to "
               "trace.json of the run, for chrome://tracing or ui.perfetto.dev")
      ->group(kMore);
  return [arguments] {
    StopSignals signals;
    const StateDump state_dump("supervisor");
    auto overrides = arguments->recipe.overrides;
    if (!arguments->name.empty()) overrides.push_back("name=" + Json(arguments->name).dump());
    const auto recipe = recipes::load_recipe(arguments->recipe.file, overrides);
    // Bad input must not use up the name of the run; one that is there has been checked.
    if (!std::filesystem::exists(std::filesystem::path(arguments->runs) / recipe.name / "run.json")) {
      recipes::check_inputs(recipe);
      recipes::check_machine(recipe);
    }
    const auto run = recipes::open_run(arguments->runs, recipe, arguments->resume);
    if (arguments->resume && !run.resumed)
      std::cout << "there is no run " << recipe.name << " in " << arguments->runs
                << " to go on with: it begins" << std::endl;
    const auto traces = std::filesystem::absolute(run.directory.root() / "traces");
    if (arguments->trace) {
      std::filesystem::remove_all(traces);  // of a run that was killed
      ::setenv(kTraceVariable, traces.c_str(), 1);
    }
    const int status = recipes::supervise(run, recipe, signals, resume_command(*arguments));
    if (arguments->trace) write_trace(traces, run.directory.root() / "trace.json");
    if (signals.received() != 0)
      std::cout << "stopped; continue with: " << resume_command(*arguments) << std::endl;
    return status;
  };
}

}  // namespace sluice::app
