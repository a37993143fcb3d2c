#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "app/command.h"
#include "base/error.h"
#include "base/pulse.h"
#include "base/signals.h"
#include "base/state_dump.h"
#include "base/trace.h"
#include "recipes/run_directory.h"
#include "recipes/stages.h"
#include "transport/launchers.h"

namespace sluice::app {
namespace {

struct RoleArguments {
  std::string run, stage;
  int64_t index = 0;
};

std::shared_ptr<RoleArguments> add_role(CLI::App& app) {
  auto arguments = std::make_shared<RoleArguments>();
  app.add_option("run", arguments->run, "The run directory")->required();
  app.add_option("--stage", arguments->stage, "Name of the stage")->required();
  return arguments;
}

// A role stopped by a signal ends with 128 plus its number, as a shell would say it.
int exit_status(int signal) { return signal == 0 ? 0 : 128 + signal; }

// What the first rank says goes to the terminal; why it ended is to be found afterwards, too.
void keep_last_words(const std::filesystem::path& log, const std::string& words) {
  std::ofstream(log, std::ios::app) << "sluice: " << words << '\n';
}

}  // namespace

Command add_learner(CLI::App& app) {
  auto arguments = add_role(app);
  auto rank = std::make_shared<std::optional<int64_t>>();
  app.add_option(
      "--rank", *rank,
      "Which of the stage's learner.ranks this is, all on this machine; without it what torchrun or "
      "Slurm says in the environment, or 0");
  return [arguments, rank] {
    StopSignals signals;
    const recipes::RunDirectory run(arguments->run);
    const auto options = transport::rank_options(*rank, run.meeting());
    transport::keep_own_gpu(options);
    const std::string name = "learner-" + std::to_string(options.rank);
    const StateDump state_dump(name);
    const Trace trace(arguments->stage + " " + name);
    keep_pulse(run.pulse("learner", options.rank));
    const auto stopped = [&signals] { return signals.received(); };
    try {
      return exit_status(recipes::run_stage(run, arguments->stage, stopped, options));
    } catch (const Error& error) {
      if (options.rank == 0) keep_last_words(run.log("learner", 0), error.what());
      throw;
    }
  };
}

Command add_actor(CLI::App& app) {
  auto arguments = add_role(app);
  app.add_option("--index", arguments->index, "Which actor this is: actor-INDEX")->capture_default_str();
  return [arguments] {
    StopSignals signals;
    const auto name = "actor-" + std::to_string(arguments->index);
    const StateDump state_dump(name);
    const Trace trace(arguments->stage + " " + name);
    const recipes::RunDirectory run(arguments->run);
    keep_pulse(run.pulse("actor", arguments->index));
    return exit_status(recipes::run_actor(run, arguments->stage, arguments->index,
                                          [&signals] { return signals.received(); }));
  };
}

}  // namespace sluice::app
