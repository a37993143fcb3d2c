// What became of every group of a run, recomputed from its files.
#include "recipes/audit.h"

#include <iostream>
#include <memory>

#include "app/command.h"
#include "base/quoted_name.h"
#include "base/terminal.h"
#include "buffers/group_id.h"

namespace sluice::app {
namespace {

using recipes::StageAudit;

Json to_json(const StageAudit& stage) {
  Json groups = Json::array();
  for (const auto& group : stage.groups) {
    Json line = {{"group", group.group}, {"state", group.state}};
    if (group.state == "trained") line["step"] = group.step;
    if (!group.reason.empty()) line["reason"] = group.reason;
    groups.push_back(std::move(line));
  }
  return {
      {"stage", stage.stage},           {"finished", stage.finished}, {"law", recipes::to_json(stage.law)},
      {"holds", stage.law.holds()},     {"reasons", stage.reasons},   {"batches", stage.batches},
      {"torn_bytes", stage.torn_bytes}, {"problems", stage.problems}, {"groups", std::move(groups)}};
}

void print(const StageAudit& stage, bool each_group) {
  std::cout << stage.stage << (stage.finished ? "" : ", not finished") << ": " << describe(stage.law) << '\n';
  for (const auto& [reason, count] : stage.reasons) {
    std::cout << "  " << format_count(count) << " groups: " << quoted_name(reason) << '\n';
  }
  if (stage.torn_bytes > 0) {
    std::cout << "  the journal's last record is not whole (" << stage.torn_bytes
              << " bytes): being written, or cut by a crash; nobody was told that it is safe\n";
  }
  for (const auto& group : stage.groups) {
    if (!each_group) break;
    std::cout << "  group " << buffers::group_name(group.group) << ": " << group.state
              << (group.state == "trained" ? " at step " + std::to_string(group.step) : "")
              << (group.reason.empty() ? "" : ", " + quoted_name(group.reason)) << '\n';
  }
  for (const auto& problem : stage.problems) std::cout << "  PROBLEM: " << problem << '\n';
}

// How it is printed, and whether everything holds.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void add(const StageAudit& stage, bool each_group) {
    sound_ = sound_ && stage.problems.empty();
    if (json_) {
      report_["stages"].push_back(to_json(stage));
    } else {
      print(stage, each_group);
    }
  }
  void add(const recipes::AuditedCheckpoint& checkpoint) {
    sound_ = sound_ && checkpoint.damage.empty();
    if (json_) {
      report_["checkpoints"].push_back({{"name", checkpoint.name}, {"damage", checkpoint.damage}});
    } else {
      std::cout << checkpoint.name << ": "
                << (checkpoint.damage.empty() ? "whole" : "DAMAGED: " + checkpoint.damage) << '\n';
    }
  }
  int finish() const {
    if (json_) std::cout << report_.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return sound_ ? 0 : 1;
  }

 private:
  const bool json_;
  bool sound_ = true;
  Json report_ = {{"stages", Json::array()}};
};

}  // namespace

Command add_audit(CLI::App& app) {
  struct Arguments {
    std::string run;
    bool groups = false, checkpoints = false, json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory, alive, stopped or finished")->required();
  app.add_flag("--groups", arguments->groups, "Say of each group how it ended");
  app.add_flag("--checkpoints", arguments->checkpoints,
               "Hold every file of every checkpoint against its manifest too");
  app.add_flag("--json", arguments->json, "Print it all as JSON, every group too");
  return [arguments] {
    const recipes::RunDirectory run(arguments->run);
    Report report(arguments->json);
    const auto stages = recipes::audit(run);
    for (const auto& stage : stages) report.add(stage, arguments->groups);
    if (!arguments->json && stages.empty())
      std::cout << "no stage of this run has begun that learns from rollouts\n";
    if (arguments->checkpoints) {
      for (const auto& checkpoint : recipes::audit_checkpoints(run)) report.add(checkpoint);
    }
    return report.finish();
  };
}

}  // namespace sluice::app
