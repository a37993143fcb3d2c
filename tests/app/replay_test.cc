// `sluice replay` on real runs: steps that come out as they did, those that do not, and those that cannot be
// taken again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/files.h"
#include "buffers/journal.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// Steps 1 to 6 are of sft, 7 to 26 of grpo. There are checkpoints of 0, 5, 6, 11, 16, 21 and 26.
const Workspace& finished() {
  static const Workspace workspace;
  static const Finished run = sluice(workspace, {"run", "recipe.toml", "grpo.rollout.refills=2",
                                                 "rollout.group_size=2", "grpo.checkpoint.keep_last=9"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  return workspace;
}

// Asks for a step, with a place for temporary files that has to be empty behind it.
Finished replay(const Workspace& workspace, int64_t step, const std::vector<std::string>& options = {},
                const std::string& run = "tiny") {
  const auto temporary = workspace / "tmp";
  fs::create_directories(temporary);
  std::vector<std::string> arguments{"replay", workspace.run(run).string(), "--step", std::to_string(step)};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const auto done = sluice(workspace, arguments, {{"TMPDIR", temporary.string()}});
  EXPECT_TRUE(fs::is_empty(temporary)) << "step " << step;
  return done;
}

// A copy of the finished run, to break something in.
class Copy : public RunCopy {
 public:
  Copy() : RunCopy(finished()) {}

  Finished replay(int64_t step) const { return sluice::app::replay(workspace_, step); }

  // Changes the line of a step in metrics.jsonl.
  void edit_line(int64_t step, const std::string& name, const Json& value) const {
    std::string text;
    for (auto line : workspace_.metrics()) {
      if (line.at("step") == step) line[name] = value;
      text += line.dump() + "\n";
    }
    write_plain(*this / "metrics.jsonl", text);
  }
};

TEST(Replay, StepsOfEveryStageComeOutAsTheyDidAndNothingOfTheRunChanges) {
  const auto before = contents(finished().run());

  // From the initial model, in the middle, at the beginning of a stage that takes another's, and its end.
  for (const int64_t step : {3, 6, 8, 19, 26}) {
    const auto done = replay(finished(), step, {"--json"});
    ASSERT_EQ(done.code, 0) << "step " << step << '\n' << done.out << done.err;
    const Json report = parse_json(done.out, "replay");
    EXPECT_EQ(report.at("equal"), true);
    const Json last = report.at("steps").back();
    EXPECT_EQ(last.at("step"), step);
    const Json line = finished().metrics().at(static_cast<size_t>(step) - 1);
    EXPECT_EQ(last.at("values").at("loss").at("recomputed"), line.at("loss"));
    EXPECT_FALSE(last.at("values").contains("step_time"));
    EXPECT_EQ(report.contains("no_tensors"), step != 6 && step != 26);
  }

  EXPECT_EQ(contents(finished().run()), before);
}

TEST(Replay, ComparesWeightsMomentsAndTheReferenceWhereTheRunHasThem) {
  const auto done = replay(finished(), 21, {"--json"});
  ASSERT_EQ(done.code, 0) << done.out << done.err;
  const Json report = parse_json(done.out, "replay");
  EXPECT_EQ(report.at("from"), "step_000016");
  EXPECT_EQ(report.at("steps").size(), 5u);
  const fs::path checkpoint = finished().run() / "checkpoints" / "step_000021";
  for (const char* name : {"hf/model.safetensors", "state/optimizer.safetensors",
                           "state/reference.safetensors", "state/versions.safetensors"}) {
    EXPECT_EQ(report.at("tensors").at(name).at("recomputed"), sha256_file(checkpoint / name)) << name;
  }
  EXPECT_EQ(report.at("steps").at(0).at("values").at("groups").at("recorded").size(), 4u);
}

TEST(Replay, SaysItInWords) {
  const auto with = replay(finished(), 26), without = replay(finished(), 24);
  EXPECT_EQ(with.code, 0) << with.err;
  EXPECT_THAT(with.out, AllOf(HasSubstr("grpo from step_000021\n"), HasSubstr("equal, all of "),
                              HasSubstr("weights of step 26, SHA-256:\n  hf/model.safetensors: equal, ")));
  EXPECT_THAT(without.out,
              HasSubstr("weights of step 24: not compared, the run keeps no checkpoint of step 24\n"));
}

TEST(Replay, FindsANumberThatWasChanged) {
  const Copy copy;
  copy.edit_line(18, "loss", 0.25);
  copy.edit_line(19, "reward", 2.0);
  const auto done = copy.replay(19);
  EXPECT_EQ(done.code, 1) << done.err;
  EXPECT_THAT(done.out, HasSubstr("DIFFERENT, 1 of "));
  EXPECT_THAT(done.out, HasSubstr("        loss: 0.25 recorded, "));
  EXPECT_THAT(done.out,
              HasSubstr("not equal: of step 18 loss does not come out as recorded; small differences "
                        "come of another build"));
  EXPECT_EQ(copy.replay(17).code, 0);
}

TEST(Replay, LeavesOutWhatIsOfTheMomentAlone) {
  const Copy copy;
  copy.edit_line(19, "time/train", 99.0);
  EXPECT_EQ(copy.replay(19).code, 0);
  copy.edit_line(19, "a_new_metric", 1.0);
  const auto done = copy.replay(19);
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.out, HasSubstr("a_new_metric: 1.0 recorded, not recomputed"));
}

TEST(Replay, RefusesADamagedJournal) {
  const Copy copy;
  std::string journal = read_file(copy / "journal/grpo.log");
  journal[journal.size() / 2] = static_cast<char>(journal[journal.size() / 2] ^ 1);
  write_plain(copy / "journal/grpo.log", journal);
  const auto done = copy.replay(19);
  EXPECT_EQ(done.code, 3) << done.out;
  EXPECT_THAT(done.err, HasSubstr((copy / "journal/grpo.log").string()));
  EXPECT_EQ(copy.replay(6).code, 0) << "sft has no journal";
}

TEST(Replay, NamesTheStepsForWhichAJournalHasEverything) {
  const Copy copy;
  const auto file = copy / "journal/grpo.log";
  fs::rename(file, copy / "whole.log");
  std::vector<uint64_t> ninth;  // its groups are left out: it is the third of the stage
  buffers::Journal::read(copy / "whole.log",
                         {.batch = [&](int64_t step, const std::vector<uint64_t>& groups) {
                           if (step == 2) ninth = groups;
                         }});
  {
    buffers::Journal journal(file);
    buffers::Journal::read(
        copy / "whole.log",
        {.issued = [&](uint64_t group) { journal.issued(group); },
         .group =
             [&](const buffers::RolloutGroup& group) {
               if (std::ranges::count(ninth, group.group) == 0) journal.group(group);
             },
         .batch = [&](int64_t step, const std::vector<uint64_t>& groups) { journal.batch(step, groups); },
         .fate = [&](uint64_t group, const buffers::Fate& fate) { journal.fate(group, fate); },
         .trained = [&](int64_t step) { journal.trained(step); }});
    journal.sync();
  }

  const auto done = copy.replay(10);

  EXPECT_EQ(done.code, 3) << done.out;
  EXPECT_THAT(done.err, HasSubstr(" does not hold what step 9 was trained on: group "));
  EXPECT_THAT(done.err, HasSubstr("; steps of stage grpo that can: 7 to 8 and 12 to 26\n"));
}

TEST(Replay, StepsOfCheckpointsThatAreGoneCannotBeTakenAgain) {
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"run", "recipe.toml"}).code, 0);
  EXPECT_EQ(replay(workspace, 17).code, 0);

  const auto done = replay(workspace, 8);

  EXPECT_EQ(done.code, 3) << done.out;  // the journal was trimmed
  EXPECT_THAT(done.err, HasSubstr(" does not hold what step 7 was trained on: group "));
  EXPECT_THAT(done.err, HasSubstr("; steps of stage grpo that can: 17 to 26\n"));
}

TEST(Replay, GoesBackToTheCheckpointBeforeADamagedOne) {
  const Copy copy;
  fs::resize_file(copy / "checkpoints/step_000021/hf/model.safetensors", 100);
  const auto done = copy.replay(23);
  EXPECT_EQ(done.code, 0) << done.out << done.err;
  EXPECT_THAT(done.out, HasSubstr("grpo from step_000016\n"));

  const auto there = copy.replay(21);
  EXPECT_EQ(there.code, 0) << there.err;
  EXPECT_THAT(there.out, AllOf(HasSubstr("not compared, "), HasSubstr("model.safetensors has 100 bytes")));
}

TEST(Replay, SaysWhichStepsHaveACheckpointToBeginWith) {
  const Copy copy;
  fs::remove_all(copy / "checkpoints/step_000000");
  const auto done = copy.replay(4);
  EXPECT_EQ(done.code, 3) << done.out;
  EXPECT_THAT(done.err, AllOf(HasSubstr("no whole checkpoint of stage sft before it"),
                              HasSubstr("; steps of stage sft that can: 6\n")));
}

TEST(Replay, NamesTheRunsOwnFilesWhereTheStageFindsOneMissing) {
  const Copy copy;  // its reference is the end of sft
  fs::remove_all(copy / "checkpoints/step_000006");
  const auto done = copy.replay(19);
  EXPECT_EQ(done.code, 3) << done.out;
  EXPECT_THAT(done.err, HasSubstr((copy / "checkpoints/step_000006").string()));
}

TEST(Replay, RefusesAStepThatTheRecipeDoesNotHaveOrTheRunHasNotTaken) {
  for (const int64_t step : {-1, 0, 27}) {
    const auto done = replay(finished(), step);
    EXPECT_EQ(done.code, 2) << done.err;
    EXPECT_THAT(done.err, HasSubstr("has the steps 1 to 26, there is no step " + std::to_string(step)));
  }
  EXPECT_EQ(sluice(finished(), {"replay", (finished() / "runs").string(), "--step", "1"}).code, 3);

  const Workspace killed;
  sluice_until(killed, {"run", "recipe.toml"}, "grpo", 7, SIGKILL);
  const auto last = killed.metrics().back().at("step").get<int64_t>();
  EXPECT_EQ(replay(killed, last).code, 0);
  const auto done = replay(killed, 26);
  EXPECT_EQ(done.code, 3) << done.out;
  EXPECT_THAT(done.err, HasSubstr("steps of stage grpo that can: 7 to " + std::to_string(last) + "\n"));
}

}  // namespace
}  // namespace sluice::app
