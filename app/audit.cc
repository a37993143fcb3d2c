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

Json to_json(const buffers::LedgerCounts& law) {
  return {{"issued", law.issued}, {"trained", law.trained}, {"queued", law.queued},
          {"leased", law.leased}, {"dropped", law.dropped}, {"quarantined", law.quarantined}};
}

Json to_json(const StageAudit& stage) {
  Json groups = Json::array();
  for (const auto& group : stage.groups) {
    Json line = {{"group", group.group}, {"state", group.state}};
    if (group.state == "trained") line["step"] = group.step;
    if (!group.reason.empty()) line["reason"] = group.reason;
    groups.push_back(std::move(line));
  }
  return {{"stage", stage.stage},           {"finished", stage.finished}, {"law", to_json(stage.law)},
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

}  // namespace

Command add_audit(CLI::App& app) {
  struct Arguments {
    std::string run;
    bool groups = false, json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory, alive, stopped or finished")->required();
  app.add_flag("--groups", arguments->groups, "Say of each group how it ended");
  app.add_flag("--json", arguments->json, "Print it all as JSON, every group too");
  return [arguments] {
    const auto stages = recipes::audit(recipes::RunDirectory(arguments->run));
    bool sound = true;
    Json report = Json::array();
    for (const auto& stage : stages) {
      sound = sound && stage.problems.empty();
      if (arguments->json) {
        report.push_back(to_json(stage));
      } else {
        print(stage, arguments->groups);
      }
    }
    if (arguments->json) std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    if (!arguments->json && stages.empty()) std::cout << "no stage of this run has rollouts yet\n";
    return sound ? 0 : 1;
  };
}

}  // namespace sluice::app
