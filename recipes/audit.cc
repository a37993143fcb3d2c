#include "recipes/audit.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "buffers/journal.h"
#include "recipes/checkpoint.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using buffers::Ledger;
using buffers::LedgerCounts;

LedgerCounts read_counts(const Json& json, const std::string& prefix, const std::string& where) {
  LedgerCounts counts;
  for (const auto& [name, member] : buffers::kLedgerCounts) {
    counts.*member = static_cast<int64_t>(json_member<double>(json, prefix + name, where));
  }
  return counts;
}

AuditedGroup audited(const Ledger& ledger, uint64_t group) {
  const auto fate = ledger.fate(group);
  if (!fate) return {.group = group, .state = ledger.is_queued(group) ? "queued" : "leased"};
  switch (fate->kind) {
    case buffers::FateKind::Trained:
      return {.group = group, .state = "trained", .step = fate->step + 1};
    case buffers::FateKind::Dropped:
      return {.group = group, .state = "dropped", .reason = fate->reason};
    case buffers::FateKind::Quarantined:
      return {.group = group, .state = "quarantined", .reason = fate->reason};
  }
  fail("audit: group ", group, " ended in no known way");
}

std::vector<AuditedGroup> all_groups(const Ledger& ledger) {
  std::vector<AuditedGroup> groups;
  for (int64_t refill = 0; refill <= ledger.options().refills; ++refill) {
    for (int64_t slot = 0; slot < ledger.num_slots(); ++slot) {
      const auto group = buffers::group_id(static_cast<uint64_t>(slot), refill);
      if (ledger.was_issued(group)) groups.push_back(audited(ledger, group));
    }
  }
  return groups;
}

// One stage of a run, held against its journal.
class StageAuditor {
 public:
  StageAuditor(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage)
      : run_(run), recipe_(recipe), stage_(stage) {}

  StageAudit audit() {
    audit_.stage = stage_.name;
    // What says that more is done is read before what says how: a run that goes on writes in the other order.
    attempt([this] { result_ = run_.stage_result(stage_.name); });
    attempt([this] { saved_ = newest_saved_step(); });
    audit_.finished = result_.has_value();
    attempt([this] { read_journal(); });
    attempt([this] { count_groups(); });
    attempt([this] { check_metrics(); });
    attempt([this] { check_rollouts(); });
    attempt([this] { check_result(); });
    return std::move(audit_);
  }

 private:
  template <class... Parts>
  void expect(bool condition, const Parts&... parts) {
    if (condition) return;
    std::ostringstream sentence;
    (sentence << ... << parts);
    audit_.problems.push_back(sentence.str());
  }

  template <class Check>
  void attempt(Check check) {
    try {
      check();
    } catch (const DataError& error) {
      audit_.problems.emplace_back(error.what());
    }
  }

  // The last step of the stage that a checkpoint holds; the newest may be removed while it is looked at.
  int64_t newest_saved_step() const {
    for (const auto& directory : checkpoints_in(run_.checkpoints())) {
      if (!fs::exists(directory / "state" / "state.json")) continue;
      const auto state = open_checkpoint(directory).state;
      if (state.stage == stage_.name) return state.stage_step;
    }
    return 0;
  }

  void read_journal() {
    if (!fs::exists(run_.journal(stage_.name))) {
      expect(!result_ && saved_ == 0, run_.journal(stage_.name).string(), " is missing");
      return;
    }
    const auto replayed = buffers::replay_ledger(ledger_options(recipe_, stage_), run_.journal(stage_.name),
                                                 &audit_.torn_bytes);
    audit_.law = replayed.counts();
    audit_.reasons = replayed.reasons();
    audit_.groups = all_groups(replayed);
    audit_.batches = replayed.trained_steps();
    expect(audit_.law.holds(), stage_.name, ": the law is broken: ", describe(audit_.law));
    expect(audit_.batches >= saved_, stage_.name, ": a checkpoint is of step ", saved_,
           ", the journal knows of training up to step ", audit_.batches);
  }

  // The ledger's sums against its groups one by one.
  void count_groups() {
    LedgerCounts counts{.issued = std::ssize(audit_.groups)};
    for (const auto& group : audit_.groups) {
      for (const auto& [name, member] : buffers::kLedgerCounts) counts.*member += group.state == name ? 1 : 0;
      if (group.state == "trained") trained_[group.step].insert(group.group);
      if (group.state == "quarantined") quarantined_.insert(group.group);
    }
    for (const auto& [name, member] : buffers::kLedgerCounts) {
      expect(counts.*member == audit_.law.*member, stage_.name, ": ", counts.*member, " groups are ", name,
             ", the ledger counts ", audit_.law.*member);
    }
  }

  void check_metrics() {
    for_each_whole_json_line(run_.metrics(), [&](int64_t number, const Json& line) {
      const auto where = run_.metrics().string() + ":" + std::to_string(number);
      if (json_member<std::string>(line, "stage", where) != stage_.name) return;
      const auto law = read_counts(line, "law/", where);
      expect(law.holds(), where, ": the law is broken: ", describe(law));
    });
  }

  // What a step was trained on, as it was written for people: of steps that the journal holds, since those
  // after it may be of a history that a crash ended.
  void check_rollouts() {
    for (int64_t step = 1; step <= audit_.batches; ++step) {
      const auto file = run_.rollouts(first_step() + step);
      std::set<uint64_t> groups;
      for_each_whole_json_line(file, [&](int64_t number, const Json& line) {
        const auto where = file.string() + ":" + std::to_string(number);
        const auto group = static_cast<uint64_t>(json_member<int64_t>(line, "group", where));
        expect(groups.insert(group).second, where, ": group ", group, " is there twice");
        expect(trained_[step].contains(group) || quarantined_.contains(group), where, ": group ", group,
               " is not of the batch that the journal has for step ", step);
      });
      for (const auto group : trained_[step]) {
        expect(groups.empty() || groups.contains(group), file.string(), ": group ", group,
               ", trained at step ", step, " as the journal has it, is not there");
      }
    }
  }

  void check_result() {
    if (!result_) return;
    const auto where = stage_.name + ".json";
    const auto law = read_counts(json_member<Json>(*result_, "law", where), "", where);
    for (const auto& [name, member] : buffers::kLedgerCounts) {
      expect(law.*member == audit_.law.*member, stage_.name, " ended with ", law.*member, " ", name,
             ", the journal has ", audit_.law.*member);
    }
    expect(audit_.batches == stage_.steps, stage_.name, " has ended after ", stage_.steps,
           " steps, the journal has ", audit_.batches);
  }

  // Optimizer steps of the run before the stage.
  int64_t first_step() const {
    int64_t steps = 0;
    for (const auto& earlier : recipe_.stages) {
      if (earlier.name == stage_.name) break;
      if (earlier.trains()) steps += earlier.steps;
    }
    return steps;
  }

  const RunDirectory& run_;
  const Recipe& recipe_;
  const StageSpec& stage_;
  StageAudit audit_;
  std::map<int64_t, std::set<uint64_t>> trained_;  // by step of the stage, from 1
  std::set<uint64_t> quarantined_;
  std::optional<Json> result_;
  int64_t saved_ = 0;  // steps of the stage that a checkpoint holds
};

}  // namespace

Json to_json(const buffers::LedgerCounts& law) {
  Json json = Json::object();
  for (const auto& [name, member] : buffers::kLedgerCounts) json[name] = law.*member;
  return json;
}

std::vector<StageAudit> audit(const RunDirectory& run) {
  const Recipe recipe = run.recipe();
  std::vector<StageAudit> stages;
  for (const auto& stage : recipe.stages) {
    if (!stage.has_actors()) continue;
    auto audited = StageAuditor(run, recipe, stage).audit();
    const bool begun = fs::exists(run.journal(stage.name)) || !audited.problems.empty();
    if (begun) stages.push_back(std::move(audited));
  }
  return stages;
}

std::vector<AuditedCheckpoint> audit_checkpoints(const RunDirectory& run) {
  std::vector<AuditedCheckpoint> checkpoints;
  for (const auto& directory : checkpoints_in(run.checkpoints())) {
    auto damage = check_directory(directory);
    if (!fs::exists(directory)) continue;  // a run that goes on has removed it
    checkpoints.push_back({.name = directory.filename(), .damage = std::move(damage)});
  }
  std::ranges::reverse(checkpoints);
  return checkpoints;
}

}  // namespace sluice::recipes
