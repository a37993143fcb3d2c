// A subcommand: one file each, joined in main.cc's table.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace sluice::app {

// Adds options to its subcommand and returns what runs once the line is parsed: the process's exit status.
using Command = std::function<int()>;

Command add_run(CLI::App& app);
Command add_check(CLI::App& app);
Command add_eval(CLI::App& app);
Command add_generate(CLI::App& app);
Command add_score(CLI::App& app);
Command add_export(CLI::App& app);
Command add_top(CLI::App& app);
Command add_rollouts(CLI::App& app);
Command add_compare(CLI::App& app);
Command add_audit(CLI::App& app);
Command add_replay(CLI::App& app);
Command add_init(CLI::App& app);
Command add_data(CLI::App& app);
Command add_reward(CLI::App& app);
Command add_tokenizer(CLI::App& app);
Command add_doctor(CLI::App& app);
Command add_completion(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_help(CLI::App& app);
Command add_learner(CLI::App& app);
Command add_actor(CLI::App& app);
Command add_reward_worker(CLI::App& app);

}  // namespace sluice::app
