#include "recipes/inputs.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Sums of characters: the longest example has 6 tokens and its end, the longest prompt 4.
const std::string kSums = R"(rewards = [{ use = "exact_answer" }]
model = { hidden_size = 8, layers = 1, heads = 2, intermediate_size = 8, max_position = 8 }
tokenizer = { train = "characters" }
data = { path = "rows.jsonl", test_path = "rows.jsonl" }
rollout = { max_new_tokens = 4 }

[[stages]]
use = "sft"
steps = 1

[[stages]]
use = "grpo"
steps = 1

[[stages]]
use = "eval"
)";

struct Inputs : testing::Test {
  Inputs() {
    write_rows(
        "{\"prompt\": \"1+1=\", \"completion\": \"2\", \"answer\": \"2\"}\n"
        "{\"prompt\": \"9+1=\", \"completion\": \"10\", \"answer\": \"10\"}\n");
  }

  void write_rows(const std::string& rows) const { write_plain(folder_.path() / "rows.jsonl", rows); }

  template <class E>
  std::string complaint(const std::vector<std::string>& overrides = {}) const {
    return message_of<E>([&] { check_inputs(folder_.load(kSums, overrides)); });
  }

  RecipeFolder folder_;
};

TEST_F(Inputs, OfAGoodRecipeAreCountedByStage) {
  const auto found = check_inputs(folder_.load(kSums));
  std::vector<int64_t> rows, longest;
  for (const auto& stage : found.stages) {
    rows.push_back(stage.rows);
    longest.push_back(stage.longest);
  }
  EXPECT_THAT(rows, ElementsAre(2, 2, 2));
  EXPECT_THAT(longest, ElementsAre(8, 8, 8));  // the model's positions; prompts of 4 and 4 new tokens
  EXPECT_EQ(found.model.vocab_size, 11);       // 4 special ids, "\n", and 0 1 2 9 + =
}

TEST_F(Inputs, AreRefusedWhereAnAddressIsMalformedOrNotOfThisHost) {
  EXPECT_THAT(complaint<UsageError>({"grpo.rollout.address=tcp://8.8.8.8:5555"}),
              AllOf(HasSubstr("stage grpo: rollout.address"), HasSubstr("8.8.8.8")));
  EXPECT_THAT(complaint<UsageError>({"rollout.address=nowhere"}), HasSubstr("nowhere"));
  EXPECT_THAT(complaint<UsageError>({"monitor.redis=http://localhost"}), HasSubstr("http://localhost"));
  EXPECT_EQ(complaint<Error>({"monitor.redis=redis://localhost:1/0"}), "");  // it need not be there
}

TEST_F(Inputs, AreRefusedWhereAFileOfAnyStageIsMissing) {
  EXPECT_THAT(complaint<DataError>({"eval.data.test_path=gone.jsonl"}), HasSubstr("gone.jsonl"));
  EXPECT_THAT(complaint<DataError>({"model.path=no-model"}), HasSubstr("no-model"));

  std::string loaded = kSums;
  const std::string trained = "train = \"characters\"";
  loaded.replace(loaded.find(trained), trained.size(), "path = \"no-tokenizer\"");
  EXPECT_THAT(message_of<DataError>([&] { check_inputs(folder_.load(loaded)); }), HasSubstr("no-tokenizer"));
}

TEST_F(Inputs, AreRefusedWhereTheTokenizerHasMorePiecesThanTheModel) {
  write_rows(R"({"prompt": "abcdefghijklmnopqrstuvwxyz=", "completion": "1", "answer": "1"})");
  EXPECT_THAT(complaint<DataError>({"model.path=" + std::string(SLUICE_SOURCE_DIR) + "/data/toy_llama"}),
              AllOf(HasSubstr("the tokenizer has 33 pieces"), HasSubstr("only 16")));  // 28, "\n", 4 special
}

TEST_F(Inputs, ATokenizerOfPiecesIsTrainedOnTheRows) {
  std::string rows;
  for (int i = 0; i < 400; ++i) {
    const std::string number = std::to_string(i);
    rows += R"({"prompt": "How much is )" + number + " and " + number + R"(?", "completion": "It is )" +
            std::to_string(2 * i) + R"(.", "answer": "x"})" + "\n";
  }
  write_rows(rows);
  std::string recipe = kSums;
  const std::string trained = "train = \"characters\"";
  recipe.replace(recipe.find(trained), trained.size(),
                 "train = \"bpe\", vocab_size = 512, special_tokens = [\"<|turn|>\"]");
  const auto error = message_of<DataError>([&] { make_tokenizer(folder_.load(recipe)); });
  EXPECT_THAT(error, HasSubstr("fills a vocabulary of 3"));  // the rows have few words
}

TEST_F(Inputs, AreRefusedWhereTheNetworkLacksWhatIsTrainedOrBalanced) {
  EXPECT_EQ(complaint<Error>({"model.lora.targets=[\"q_proj\"]"}), "");
  EXPECT_THAT(complaint<DataError>({"model.lora.targets=[\"query\"]"}),
              AllOf(HasSubstr("called \"query\""), HasSubstr("q_proj")));
  EXPECT_THAT(
      complaint<UsageError>({"model.router_aux_loss=0.01"}),
      HasSubstr("model.router_aux_loss is 0.01, and this network has no experts with a softmax router"));
}

TEST_F(Inputs, APromptMustFitTheModelWithItsCompletion) {
  EXPECT_THAT(complaint<DataError>({"grpo.rollout.max_new_tokens=5"}),  // 4 + 5 > 8
              AllOf(HasSubstr("rows.jsonl:1: the prompt has 4 tokens"),
                    HasSubstr("max_new_tokens = 5 of stage grpo"), HasSubstr("model.max_position = 8")));
  EXPECT_THAT(complaint<UsageError>({"eval.rollout.max_new_tokens=8"}), HasSubstr("no room for a prompt"));
}

TEST_F(Inputs, ALimitedEvaluationAsksOnlyTheFirstPrompts) {
  const auto file = folder_.path() / "test.jsonl";
  write_plain(file,
              "{\"prompt\": \"1+1=\", \"answer\": \"2\"}\n{\"prompt\": \"1+1+1+1=\", \"answer\": \"4\"}\n");
  EXPECT_EQ(complaint<Error>({"data.test_path=" + file.string(), "evaluation.prompts=1"}), "");
  EXPECT_THAT(complaint<DataError>({"data.test_path=" + file.string(), "evaluation.prompts=2"}),
              HasSubstr("test.jsonl:2: the prompt has 8 tokens"));
}

TEST_F(Inputs, AConversationIsAskedAsTheTemplateOfTheModelWritesIt) {
  const TempFolder folder;
  const auto model = folder.path() / "model";
  std::filesystem::create_directories(model);
  text::train_character_tokenizer("abcdefghijklmnopqrstuvwxyz:. \n")->save(model);
  write_plain(model / "config.json",
              read_file(std::string(SLUICE_SOURCE_DIR) + "/data/goldens/llama/config.json"));
  const std::string recipe = R"(rewards = [{ use = "length", target = 3 }]
data = { path = "rows.jsonl", test_path = "rows.jsonl" }
rollout = { max_new_tokens = 4 }
[[stages]]
use = "grpo"
steps = 1
[[stages]]
use = "eval"
)";
  write_rows(R"({"prompt": [{"role": "user", "content": "hi"}]})");
  const auto check = [&] { return check_inputs(folder_.load(recipe, {"model.path=" + model.string()})); };

  EXPECT_THAT(message_of<DataError>(check), AllOf(HasSubstr("rows.jsonl:1"), HasSubstr("no chat template")));
  write_plain(model / "chat_template.jinja",
              "{% for m in messages %}{{ m.role }}: {{ m.content }}.{% endfor %}"
              "{% if add_generation_prompt %}assistant:{% endif %}");
  const auto found = check();
  EXPECT_EQ(found.stages[0].longest, 23);  // of "user: hi.assistant:" and 4 new tokens
  EXPECT_EQ(found.stages[1].longest, 23);
}

TEST_F(Inputs, SayWhereAModelIsToComeFromAndPlanWithoutItsWeights) {
  const std::vector<std::string> gone = {"model.path=gone", "model.source=some/model"};
  EXPECT_THAT(complaint<DataError>(gone),
              AllOf(HasSubstr("there is no "), HasSubstr("hf download some/model --local-dir ")));

  const TempFolder folder;
  write_plain(folder.path() / "config.json",
              read_file(std::string(SLUICE_SOURCE_DIR) + "/data/goldens/llama/config.json"));
  const std::vector<std::string> bare = {"model.path=" + folder.path().string(), "model.source=some/model",
                                         "device=cuda"};
  const auto recipe = folder_.load(kSums, bare);
  EXPECT_EQ(check_inputs(recipe).stages.size(), 3u);
  EXPECT_THAT(message_of<DataError>([&] { check_machine(recipe); }),
              AllOf(HasSubstr("has no weights"), HasSubstr("hf download some/model")));
}

TEST_F(Inputs, ARewardModelOnADeviceThatIsNotHereIsRefusedOnTheMachine) {
  auto recipe = folder_.load(kSums);
  auto& rewards = recipe.stages.back().rewards;
  rewards = {
      {.use = "reward_model", .name = "judge", .options = {{"device", "cpu"}}, .where = "recipe.toml:3:4"}};
  EXPECT_NO_THROW(check_machine(recipe));
  rewards[0].options["device"] = "cuda:98";
  EXPECT_THAT(message_of<EnvironmentError>([&] { check_machine(recipe); }),
              HasSubstr("recipe.toml:3:4: reward judge: device \"cuda:98\": there are "));
}

TEST_F(Inputs, AreCheckedWhereTheyAreHeldOutOfSupervisedTraining) {
  const auto file = folder_.path() / "test.jsonl";
  write_plain(file, "{\"prompt\": \"1+1=\", \"answer\": \"2\"}\n");  // nothing to say
  const std::string test_path = "data.test_path=" + file.string();
  EXPECT_EQ(complaint<Error>({test_path}), "");
  EXPECT_THAT(complaint<DataError>({test_path, "sft.evaluation.every=5"}),
              AllOf(HasSubstr("test.jsonl:1"), HasSubstr("no column \"completion\"")));
  EXPECT_EQ(complaint<Error>({"sft.evaluation.every=5"}), "");
}

TEST_F(Inputs, HaveTheColumnsThatRewardsRead) {
  EXPECT_THAT(complaint<UsageError>({"rewards=[{ use = \"exact_answer\", column = \"anser\" }]"}),
              AllOf(HasSubstr("stage grpo: the reward exact_answer reads the column \"anser\""),
                    HasSubstr("rows.jsonl has it: they have answer, completion, prompt"),
                    HasSubstr("did you mean \"answer\"?")));
  EXPECT_THAT(complaint<UsageError>({"rewards=[{ use = \"rouge_l\" }]"}),
              HasSubstr("reads the column \"reference\""));
  EXPECT_THAT(complaint<UsageError>({"rewards=[{ use = \"gsm8k\", column = \"more.answer\" }]"}),
              HasSubstr("reads the column \"more.answer\""));
  EXPECT_EQ(complaint<Error>({"rewards=[{ use = \"regex\", pattern = \"2\" }]"}), "");

  // One of two has it: the other one's completions are unscored.
  write_rows(
      "{\"prompt\": \"1+1=\", \"completion\": \"2\"}\n"
      "{\"prompt\": \"9+1=\", \"completion\": \"10\", \"answer\": \"10\"}\n");
  EXPECT_EQ(complaint<Error>(), "");
}

TEST_F(Inputs, AnExampleMustFitTheModelUnlessItIsCut) {
  write_rows(R"({"prompt": "1+1=", "completion": "2222", "answer": "2"})");  // 4 + 4 + the end

  EXPECT_THAT(complaint<UsageError>(),
              AllOf(HasSubstr("rows.jsonl:1 has 9 tokens"), HasSubstr("batch.max_length = 1024"),
                    HasSubstr("model.max_position = 8")));
  EXPECT_EQ(complaint<Error>({"batch.max_length=8"}), "");
  EXPECT_EQ(complaint<Error>({"batch.append_eos=false"}), "");
}

}  // namespace
}  // namespace sluice::recipes
