// `sluice audit` on real runs: finished, cut off, and damaged in every file that it reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/files.h"
#include "buffers/group_id.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// A run with refills, ten steps of four prompts.
const std::vector<std::string> kRun{"run",
                                    "recipe.toml",
                                    "--resume",
                                    "grpo.steps=10",
                                    "rewards=[{use='length', max=12}]",
                                    "rollout.stop=['e']",
                                    "rollout.group_size=2",
                                    "grpo.rollout.refills=2"};

Finished audit(const Workspace& workspace, const std::string& option = "--json") {
  return sluice(workspace, {"audit", workspace.run().string(), option});
}

Json stage_of(const Finished& audit) { return parse_json(audit.out, "audit").at("stages").at(0); }

// A finished run; what a test breaks, it breaks in a copy.
const Workspace& finished() {
  static const Workspace workspace;
  static const Finished run = sluice(workspace, kRun);
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  return workspace;
}

class Copy : public RunCopy {
 public:
  Copy() : RunCopy(finished()) {}

  void replace(const std::string& name, const std::string& text, const std::string& with) const {
    std::string bytes = read_file(*this / name);
    const auto at = bytes.find(text);
    ASSERT_NE(at, std::string::npos) << name << " has no " << text;
    write_plain(*this / name, bytes.replace(at, text.size(), with));
  }
  Finished audit(const std::string& option) const { return sluice::app::audit(workspace_, option); }
  void expect_problem(const std::string& sentence) const {
    const auto done = audit("--json");
    EXPECT_EQ(done.code, 1);
    EXPECT_THAT(stage_of(done).at("problems").dump(), HasSubstr(sentence));
    EXPECT_THAT(audit("--groups").out, HasSubstr("PROBLEM"));
  }
};

TEST(Audit, NamesTheEndOfEveryGroupOfAFinishedRun) {
  const auto done = audit(finished());
  ASSERT_EQ(done.code, 0) << done.out << done.err;
  const Json stage = stage_of(done);
  EXPECT_EQ(stage.at("stage"), "grpo");
  EXPECT_EQ(stage.at("finished"), true);
  EXPECT_EQ(stage.at("batches"), 10);
  EXPECT_TRUE(law_closes(stage.at("law"), ""));
  EXPECT_EQ(stage.at("law"), read_json(finished().run() / "stages" / "grpo.json").at("law"));
  EXPECT_GT(stage.at("reasons").at("no spread"), 0);

  std::map<std::string, int64_t> states;
  for (const auto& group : stage.at("groups")) {
    const std::string state = group.at("state");
    ++states[state];
    if (state != "trained") continue;
    // In order, a slot is of its own step.
    EXPECT_EQ(group.at("step"), static_cast<int64_t>(buffers::slot_of(group.at("group"))) / 4 + 1);
  }
  EXPECT_EQ(states["trained"], stage.at("law").at("trained"));
  EXPECT_EQ(states["dropped"], stage.at("law").at("dropped"));
  EXPECT_EQ(std::ssize(stage.at("groups")), stage.at("law").at("issued").get<int64_t>());
}

TEST(Audit, SaysItInWords) {
  const auto brief = audit(finished(), "--groups");
  EXPECT_EQ(brief.code, 0);
  EXPECT_THAT(brief.out, HasSubstr("grpo: issued "));
  EXPECT_THAT(brief.out, HasSubstr(" groups: \"no spread\""));
  EXPECT_THAT(brief.out, HasSubstr(": trained at step 10"));
}

TEST(Audit, HoldsForARunThatWasKilled) {
  const Workspace workspace;
  sluice_until(workspace, kRun, "grpo", 6, SIGKILL);
  const auto done = audit(workspace);
  ASSERT_EQ(done.code, 0) << done.out << done.err;
  const Json stage = stage_of(done);
  EXPECT_EQ(stage.at("finished"), false);
  EXPECT_GE(stage.at("batches"), 6);
  EXPECT_TRUE(law_closes(stage.at("law"), ""));
}

TEST(Audit, FindsAJournalThatLostItsEnd) {
  const Copy copy;
  fs::resize_file(copy / "journal/grpo.log", fs::file_size(copy / "journal/grpo.log") / 2);
  copy.expect_problem("grpo ended with ");
}

TEST(Audit, MissesAJournal) {
  const Copy copy;
  fs::remove(copy / "journal/grpo.log");
  copy.expect_problem("journal/grpo.log is missing");
}

TEST(Audit, FindsThatTheJournalIsBehindACheckpoint) {
  const Copy copy;
  fs::remove(copy / "stages/grpo.json");  // as if it had been killed
  fs::resize_file(copy / "journal/grpo.log", fs::file_size(copy / "journal/grpo.log") / 2);
  copy.expect_problem("grpo: a checkpoint is of step 10, the journal knows of training up to step ");
}

TEST(Audit, FindsADamagedRecord) {
  const Copy copy;
  std::string journal = read_file(copy / "journal/grpo.log");
  journal[journal.size() / 2] = static_cast<char>(journal[journal.size() / 2] ^ 1);
  write_plain(copy / "journal/grpo.log", journal);
  copy.expect_problem("journal/grpo.log");
}

TEST(Audit, FindsABatchThatIsNotTheJournals) {
  const Copy copy;
  // Step 7 of the run is the first of the stage, with groups 0 to 3 or refills of them.
  const fs::path first = copy / "rollouts/step_000007.jsonl";
  fs::copy_file(copy / "rollouts/step_000008.jsonl", first, fs::copy_options::overwrite_existing);
  copy.expect_problem("is not of the batch that the journal has for step 1");
  copy.expect_problem("trained at step 1 as the journal has it, is not there");
}

TEST(Audit, FindsALineOfMetricsWhereTheLawIsBroken) {
  const Copy copy;
  copy.replace("metrics.jsonl", "\"law/quarantined\":0", "\"law/quarantined\":1");
  copy.expect_problem("the law is broken");
}

TEST(Audit, FindsADamagedCheckpointWhenItIsAsked) {
  const Copy copy;
  copy.replace("checkpoints/step_000016/state/state.json", "\"stage_seconds\": ", "\"stage_seconds\": 1");
  EXPECT_EQ(copy.audit("--groups").code, 0);
  const auto done = copy.audit("--checkpoints");
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.out, HasSubstr("step_000006: whole"));
  EXPECT_THAT(done.out, HasSubstr("step_000016: DAMAGED: "));
  EXPECT_EQ(sluice::app::audit(finished(), "--checkpoints").code, 0);
}

TEST(Audit, RefusesWhatIsNoRun) {
  const auto done = sluice(finished(), {"audit", (finished() / "runs").string()});
  EXPECT_EQ(done.code, 3) << done.err;
}

}  // namespace
}  // namespace sluice::app
