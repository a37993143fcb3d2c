#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "recipes/internal/stage_context.h"
#include "tests/recipes/recipe_folder.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSteps = 6;

PreferenceSpec spec_of(const std::string& name) {
  PreferenceSpec spec;
  if (name == "kto") {
    spec.columns = text::PreferenceColumns::Judged;
  } else if (name == "trdpo") {
    spec.mix = {.every = 2, .alpha = 0.6};
  } else {
    spec.pairs.terms = learner::preference_terms(name);
  }
  return spec;
}

// One run of a stage on six rows; the recipe's text is for its tokenizer alone.
class PreferenceStageRun {
 public:
  explicit PreferenceStageRun(const std::string& name, int64_t held_out = 0, bool offloads_reference = false)
      : stage_(recipe_.stages.front()) {
    stage_.offloads_reference = offloads_reference;
    stage_.preference = spec_of(name);
    stage_.preference.held_out = held_out;
    stage_.evaluation.every = 3;
    stage_.data.path = folder_.write(stage_.preference.judged() ? judged() : pairs(), "rows.jsonl");
  }

  // Goes on until the end, or until so many steps are reported.
  int run(int64_t until = kSteps) {
    transport::SoloCollective alone;
    const auto stop = [this, until] {
      return until < kSteps && std::ssize(metrics()) >= until ? SIGTERM : 0;
    };
    return run_preference_stage(run_.directory, recipe_, stage_, stop, alone);
  }

  std::vector<Json> metrics() const {
    std::vector<Json> lines;
    if (!fs::exists(run_.directory.metrics())) return lines;
    for_each_json_line(run_.directory.metrics(),
                       [&](int64_t, Json line) { lines.push_back(std::move(line)); });
    return lines;
  }
  Json result() const { return run_.directory.stage_result(stage_.name).value(); }
  std::string weights() const {
    return sha256_file(run_.directory.checkpoints() / "step_000006/hf/model.safetensors");
  }
  fs::path table() const { return run_.directory.root() / "reference/sft.logprobs"; }

 private:
  static std::string pairs() {
    std::string lines;
    for (const char* word : {"to", "be", "or", "not", "the", "so"}) {
      lines += Json{{"prompt", word}, {"chosen", " be to be"}, {"rejected", " or not"}}.dump() + "\n";
    }
    return lines;
  }
  static std::string judged() {
    std::string lines;
    bool good = false;
    for (const char* word : {"to", "be", "or", "not", "the", "so"}) {
      good = !good;
      lines +=
          Json{{"prompt", word}, {"completion", good ? " be" : " or not"}, {"label", good}}.dump() + "\n";
    }
    return lines;
  }
  Recipe load() const {
    folder_.write("to be or not to be the so\n", "corpus.txt");
    return folder_.load(
        "data = { use = \"text\", path = \"corpus.txt\" }\n[[stages]]\nuse = \"sft\"\nsteps = 6\n",
        {"tokenizer.train=characters", "monitor.redis=off", "model.hidden_size=16", "model.layers=1",
         "model.heads=2", "model.intermediate_size=24", "optim.lr=0.01", "batch.examples_per_step=4"});
  }

  const RecipeFolder folder_;
  const Recipe recipe_ = load();
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
  StageSpec stage_;
};

class PreferenceStage : public testing::TestWithParam<const char*> {};

TEST_P(PreferenceStage, StoppedAndResumedItEndsWithTheSameWeights) {
  PreferenceStageRun whole(GetParam()), stopped(GetParam());
  EXPECT_EQ(whole.run(), 0);
  EXPECT_EQ(stopped.run(/*until=*/3), SIGTERM);
  EXPECT_EQ(std::ssize(stopped.metrics()), 3);
  EXPECT_EQ(stopped.run(), 0);

  EXPECT_EQ(stopped.weights(), whole.weights());
  const auto metrics = whole.metrics();
  ASSERT_EQ(std::ssize(metrics), kSteps);
  EXPECT_GT(metrics.back().at("rewards/margins"), metrics[0].at("rewards/margins"));
  EXPECT_EQ(stopped.metrics().back().at("loss"), metrics.back().at("loss"));
}

INSTANTIATE_TEST_SUITE_P(Losses, PreferenceStage, testing::Values("sigmoid", "aot", "orpo", "kto", "trdpo"),
                         [](const auto& info) { return std::string(info.param); });

TEST(PreferenceStage, MeasuresPairsThatItDoesNotLearnFrom) {
  PreferenceStageRun dpo("sigmoid", /*held_out=*/2);
  EXPECT_EQ(dpo.run(), 0);
  const auto metrics = dpo.metrics();
  EXPECT_FALSE(metrics[1].contains("eval_rewards/margins"));
  EXPECT_GT(metrics[2].at("eval_rewards/margins"),
            0.0);  // every three steps; 0 at the policy's own reference
  EXPECT_GT(metrics[5].at("eval_rewards/margins"), metrics[2].at("eval_rewards/margins"));
  const Json result = dpo.result();
  EXPECT_EQ(result.at("eval_rewards/margins"), metrics[5].at("eval_rewards/margins"));
  EXPECT_EQ(result.at("eval_rewards/accuracies"), 1.0);

  PreferenceStageRun nothing("sigmoid", /*held_out=*/6);
  EXPECT_THAT([&] { nothing.run(); },
              testing::ThrowsMessage<DataError>(testing::HasSubstr("6 rows are left whole")));
}

TEST(PreferenceLogprobs, AreKeptAndThoseDamagedComputedAnew) {
  PreferenceStageRun dpo("sigmoid");
  EXPECT_EQ(dpo.run(/*until=*/1), SIGTERM);
  const std::string table = read_file(dpo.table());
  auto damaged = table;
  damaged[table.size() - 6] = static_cast<char>(damaged[table.size() - 6] ^ 1);
  write_plain(dpo.table(), damaged);

  testing::internal::CaptureStdout();
  EXPECT_EQ(dpo.run(/*until=*/2), SIGTERM);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("does not have its checksum"));
  EXPECT_EQ(read_file(dpo.table()), table);

  testing::internal::CaptureStdout();
  EXPECT_EQ(dpo.run(), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::Not(testing::HasSubstr("reference log-probs")));
}

TEST(PreferenceLogprobs, OfAReferenceOnDiskAreTheSameAndSoAreTheWeights) {
  PreferenceStageRun whole("sigmoid"), offloaded("sigmoid", /*held_out=*/0, /*offloads_reference=*/true);
  EXPECT_EQ(whole.run(), 0);
  EXPECT_EQ(offloaded.run(), 0);
  EXPECT_EQ(read_file(offloaded.table()), read_file(whole.table()));
  EXPECT_EQ(offloaded.weights(), whole.weights());
}

TEST(PreferenceLogprobs, AreNotKeptOfAReferenceThatMovesOrIsNotNeeded) {
  for (const char* name : {"trdpo", "simpo"}) {
    PreferenceStageRun stage(name);
    EXPECT_EQ(stage.run(), 0);
    EXPECT_FALSE(fs::exists(stage.table()));
  }
}

}  // namespace
}  // namespace sluice::recipes
