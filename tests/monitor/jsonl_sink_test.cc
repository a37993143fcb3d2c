#include "monitor/jsonl_sink.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class JsonlSinkTest : public testing::Test {
 protected:
  void write_steps(int64_t first, int64_t last, int64_t last_step) {
    JsonlSink sink(file_, last_step);
    for (int64_t step = first; step <= last; ++step) sink.write({.stage = "sft", .step = step});
  }
  void append(const std::string& bytes) { std::ofstream(file_, std::ios::app | std::ios::binary) << bytes; }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> out;
    std::ifstream in(file_);
    for (std::string line; std::getline(in, line);) {
      out.push_back(json_member<int64_t>(parse_json(line, "line"), "step", "line"));
    }
    return out;
  }
  std::string refusal(int64_t last_step) {
    try {
      const JsonlSink sink(file_, last_step);
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }

  TempFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "metrics.jsonl";
};

TEST_F(JsonlSinkTest, ALineIsInTheFileWhenItIsWritten) {
  JsonlSink sink(file_, 0);
  sink.write({.stage = "sft", .step = 1, .metrics = {{"loss", 0.5}}, .note = "the answer was \xff"});
  EXPECT_EQ(read_file(file_),
            "{\"schema\":1,\"stage\":\"sft\",\"step\":1,\"stage_step\":0,\"stage_steps\":0,\"wall_time\":0.0,"
            "\"note\":\"the answer was \xEF\xBF\xBD\",\"loss\":0.5}\n");
}

TEST_F(JsonlSinkTest, AResumedRunCutsTheStepsItTakesAgain) {
  write_steps(1, 5, 0);
  write_steps(4, 6, 3);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(JsonlSinkTest, ANewRunUnderAnOldNameStartsEmpty) {
  write_steps(1, 5, 0);
  write_steps(1, 1, 0);
  EXPECT_THAT(steps(), ElementsAre(1));
}

TEST_F(JsonlSinkTest, ATornLastLineIsCut) {
  write_steps(1, 3, 0);
  append("{\"schema\":1,\"stage\":\"sft\",\"st");
  write_steps(4, 4, 10);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4));
}

TEST_F(JsonlSinkTest, WhatAPowerLossLeftAtTheEndIsCut) {
  write_steps(1, 3, 0);
  append(std::string(5000, '\0') + "\nhalf a line");
  write_steps(4, 4, 3);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4));
}

TEST_F(JsonlSinkTest, AWholeLastLineWithoutItsNewlineIsKept) {
  write_steps(1, 3, 0);
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - 1);
  write_steps(4, 4, 3);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4));
}

TEST_F(JsonlSinkTest, DamageInTheMiddleIsNamed) {
  write_steps(1, 2, 0);
  append("damage\n");
  {
    JsonlSink sink(folder_.path() / "other.jsonl", 0);
    sink.write({.stage = "sft", .step = 3});
  }
  append(read_file(folder_.path() / "other.jsonl"));
  const auto before = read_file(file_);
  EXPECT_THAT(refusal(3), HasSubstr("metrics.jsonl:3: not JSON"));
  EXPECT_EQ(read_file(file_), before);
}

TEST_F(JsonlSinkTest, AFileThatCannotGrowIsAnError) {
  JsonlSink sink(file_, 0);
  sink.write({.stage = "sft", .step = 1});
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {.rlim_cur = std::filesystem::file_size(file_) + 10, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string said;
  try {
    sink.write({.stage = "sft", .step = 2});
  } catch (const EnvironmentError& error) {
    said = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(said, "metrics.jsonl: cannot write step 2: File too large");
}

TEST_F(JsonlSinkTest, WhatIsNoFileIsRefused) { EXPECT_THROW(JsonlSink("/dev/full", 0), DataError); }

}  // namespace
}  // namespace sluice::monitor
