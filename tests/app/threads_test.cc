// A learner of any number of threads ends in the same weights, and a run goes on with another number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::HasSubstr;
using testing::Not;

// So wide a network that threads share its passes, and few steps of it.
std::vector<std::string> with_threads(const std::string& count, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "run",          "recipe.toml",        "model.hidden_size=96",    "model.intermediate_size=256",
      "grpo.steps=4", "checkpoint.every=2", "learner.threads=" + count};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string weights_of(const Workspace& workspace) {
  return read_json(workspace.run() / "stages" / "grpo.json").at("weights_sha256");
}

const std::string& weights_of_one() {
  static const std::string weights = [] {
    const Workspace workspace;
    const auto run = sluice(workspace, with_threads("1"));
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    return weights_of(workspace);
  }();
  return weights;
}

TEST(LearnerThreads, EndInTheSameWeightsWhateverTheirNumber) {
  for (const char* count : {"2", "3"}) {
    const Workspace workspace;
    const auto run = sluice(workspace, with_threads(count));
    ASSERT_EQ(run.code, 0) << run.out << run.err;
    EXPECT_EQ(weights_of(workspace), weights_of_one()) << count << " threads";
  }
}

TEST(LearnerThreads, MayBeOthersWhenARunGoesOn) {
  const Workspace workspace;
  sluice_until(workspace, with_threads("1"), "grpo", 1, SIGTERM);
  const auto resumed = sluice(workspace, with_threads("2", {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(resumed.err, "");  // nothing that decides about bits has changed
  EXPECT_THAT(resumed.out, Not(HasSubstr("environment is another")));
  EXPECT_EQ(weights_of(workspace), weights_of_one());
}

}  // namespace
}  // namespace sluice::app
