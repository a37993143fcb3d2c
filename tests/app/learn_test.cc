// What `make learn` measures, in short: half the layers, fewer steps, one seed.
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

constexpr Millis kLearnMs = 300'000;  // it takes about 46 s of CPU time

TEST(Learn, GrpoRaisesTheShareOfRightAnswersToHeldOutPrompts) {
  const Workspace workspace;
  Sluice run(workspace,
             {"run", SLUICE_SOURCE_DIR "/recipes/grpo.toml", "model.layers=2", "cold_start.optim.lr=2e-3",
              "grpo.steps=60", "evaluation.samples=2", "checkpoint.every=1000", "monitor.redis=off"});
  ASSERT_EQ(run.exit_code(kLearnMs), 0) << run.out() << run.err();

  const auto share = [&workspace](const std::string& stage) {
    const Json result = read_json(workspace.run("grpo") / "stages" / (stage + ".json"));
    return result.at("evals").at(0).at("value").get<double>();
  };
  EXPECT_GT(share("eval_before"), 0.2);
  EXPECT_LT(share("eval_before"), 0.5);
  EXPECT_GT(share("eval_after"), share("eval_before") + 0.02);
}

}  // namespace
}  // namespace sluice::app
