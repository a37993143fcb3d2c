#include "recipes/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "recipes/schema.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

// Expects `said` at the place in the recipe where '@' stands.
void expect_refused(std::string text, const std::string& said) {
  SCOPED_TRACE(text);
  const size_t mark = text.find('@');
  ASSERT_NE(mark, std::string::npos);
  text.erase(mark, 1);
  const auto begin = text.begin(), end = begin + static_cast<std::ptrdiff_t>(mark);
  const auto line = 1 + std::count(begin, end, '\n');
  const size_t line_start = mark == 0 ? std::string::npos : text.rfind('\n', mark - 1);
  const size_t column = line_start == std::string::npos ? mark + 1 : mark - line_start;
  EXPECT_THAT(RecipeFolder().refusal(text),
              StartsWith("recipe.toml:" + std::to_string(line) + ":" + std::to_string(column) + ": " + said));
}
void expect_refused_at_the_top(const std::string& line, const std::string& said) {
  expect_refused(line + "\n" + kGrpo, said);
}
void expect_refused_in_the_stage(const std::string& line, const std::string& said) {
  expect_refused(kGrpo + line + "\n", said);
}

TEST(Recipe, NamesAnUnknownKeyItsPlaceAndTheNearestOne) {
  expect_refused_at_the_top("sede = @1", "a recipe has no key \"sede\"; did you mean \"seed\"?");
  expect_refused_at_the_top("optmi = @{ lr = 1 }", "a recipe has no key \"optmi\"; did you mean \"optim\"?");
  expect_refused_at_the_top("reward = @[]", "a recipe has no key \"reward\"; did you mean \"rewards\"?");
  expect_refused_at_the_top("optim = { lr = 1, warmup_step = @3 }",
                            "[optim] has no key \"warmup_step\"; did you mean \"warmup_steps\"?");
  expect_refused_in_the_stage("step = @3", "a stage has no key \"step\"; did you mean \"steps\"?");
  expect_refused_in_the_stage("rolout = @{}", "a stage has no key \"rolout\"; did you mean \"rollout\"?");
  expect_refused_in_the_stage("  [stages.rollout]\n  actor = @2",
                              "[rollout] has no key \"actor\"; did you mean \"actors\"?");
}

TEST(Recipe, ListsTheKeysWhenNoneIsNear) {
  expect_refused_at_the_top(
      "tokenizers = { }\ncheckpoint = { frequency_in_steps = @3 }",
      "[checkpoint] has no key \"frequency_in_steps\"; there are: every, keep_last, keep_every, best_by");
}

TEST(Recipe, NamesAnUnknownRewardAndItsUnknownOption) {
  expect_refused_in_the_stage("rewards = [@{ use = \"exact_anser\" }]",
                              "there is no reward \"exact_anser\"; did you mean \"exact_answer\"?");
  expect_refused_in_the_stage("rewards = [{ use = \"exact_answer\", colum = @\"x\" }]",
                              "the reward exact_answer has no key \"colum\"; did you mean \"column\"?");
  expect_refused_in_the_stage("rewards = [@{ weight = 1 }]",
                              "a reward needs `use`; there are: exact_answer, ");
}

TEST(Recipe, NamesAnUnknownToolAndItsUnknownOption) {
  expect_refused_in_the_stage("tools = [@{ use = \"calculater\" }]",
                              "there is no tool \"calculater\"; did you mean \"calculator\"?");
  expect_refused_in_the_stage("tools = [{ use = \"python\", timeout = @3 }]",
                              "the tool python has no key \"timeout\"; did you mean \"timeout_s\"?");
  expect_refused_in_the_stage("tools = [@{ name = \"x\" }]",
                              "a tool needs `use`; there are: calculator, python, command");
  expect_refused_in_the_stage("tools = [@{ use = \"command\" }]",
                              "{ command = \"./program\" } is the whole of it, without `use`");
  expect_refused_in_the_stage("tools = [@{ use = \"python\", command = \"./x\" }]", "a tool is one thing");
  expect_refused_in_the_stage("tools = [{ use = \"calculator\" }, @{ use = \"calculator\" }]",
                              "two tools are named \"calculator\"; give one of them a `name`");
  expect_refused_in_the_stage("tools = @3", "tools is a list of tables");
  EXPECT_THAT(message_of<UsageError>([] { RecipeFolder().load(kGrpo + "rollout = { tool_calls = 3 }\n"); }),
              testing::HasSubstr("rollout.tool_calls is about tools, and it has none"));
  expect_refused_at_the_top("tool = @[]", "a recipe has no key \"tool\"; did you mean \"tools\"?");
}

TEST(Recipe, GivesItsToolsToEveryStageWithRollouts) {
  const RecipeFolder folder;
  const auto recipe = folder.load(
      "tools = [{ use = \"calculator\" }, { command = \"./find me\", timeout_ms = 50, workers = 2 }]\n" +
      kGrpo + "rollout = { tool_calls = 3 }\n[[stages]]\nuse = \"eval\"\ntools = []\n");
  const auto& stage = recipe.stages[0];
  ASSERT_EQ(stage.tools.size(), 2u);
  EXPECT_EQ(stage.tools[0].use, "calculator");
  EXPECT_EQ(stage.tools[0].name, "calculator");
  EXPECT_EQ(stage.tools[1].use, "command");
  EXPECT_EQ(stage.tools[1].name, "find");
  EXPECT_EQ(stage.tools[1].options.at("command"), "./find me");
  EXPECT_EQ(stage.tools[1].options.at("timeout_ms"), 50);
  EXPECT_TRUE(stage.tools[1].options.contains("folder"));
  EXPECT_EQ(stage.rollout.tool_calls, 3);
  EXPECT_EQ(stage.rollout.tool_tokens, 256);
  EXPECT_TRUE(recipe.stages[1].tools.empty());
  EXPECT_EQ(recipe_from_resolved(recipe.resolved).stages[0].tools[1].name, "find");
}

TEST(Recipe, NamesAnUnknownChoice) {
  expect_refused_at_the_top("device = @\"gpu\"", "device is \"gpu\"; there are: cpu, cuda");
  expect_refused_in_the_stage("data = { use = @\"jsonk\" }",
                              "data.use is \"jsonk\"; there are: jsonl, text, gsm8k_notes, countdown");
  expect_refused_in_the_stage("algorithm = { kl = @\"low_var\" }",
                              "algorithm.kl is \"low_var\"; there are: k1, k2, k3, low_var_kl, abs");
}

TEST(Recipe, RefusesAStageItDoesNotKnow) {
  expect_refused(kGrpo + "[[stages]]\nuse = @\"grop\"\n",
                 "there is no stage of kind \"grop\"; did you mean \"grpo\"?");
  expect_refused(kGrpo + "@[[stages]]\nname = \"x\"\n",
                 "a stage needs `use`; there are: sft, distill, pretrain, dpo, ");
  EXPECT_EQ(RecipeFolder().refusal("seed = 1\n"),
            "recipe.toml: a recipe needs at least one [[stages]] table");
}

TEST(Recipe, RefusesTheWrongType) {
  expect_refused_at_the_top("seed = @\"1\"", "seed wants an integer, got text");
  expect_refused_at_the_top("name = @3", "name wants text in quotes, got an integer");
  expect_refused_at_the_top("deterministic = @1", "deterministic wants true or false, got an integer");
  expect_refused_at_the_top("seed = @1979-05-27", "seed wants an integer, got a date or time");
  expect_refused_at_the_top("model = { path = @[\"a\"] }", "model.path wants a path in quotes, got a list");
  expect_refused_at_the_top("optim = @3", "optim is a table, got an integer");
  expect_refused_at_the_top("optim = { lr = @\"fast\" }", "optim.lr wants a number, got text");
  expect_refused_in_the_stage("rollout = { actors = @2.0 }", "rollout.actors wants an integer, got a number");
  expect_refused_in_the_stage("rewards = @{ use = \"length\" }", "rewards is a list of tables, got a table");
  expect_refused_in_the_stage("rewards = [@\"length\"]",
                              "a reward is a table such as { use = \"exact_answer\" }, got text");
  expect_refused_in_the_stage("rewards = [{ use = \"length\", weight = @\"1\" }]",
                              "a reward's weight is a number, got text");
  EXPECT_EQ(RecipeFolder().load(kGrpo + "optim = { lr = 1 }\n").stages[0].optim.lr, 1.0);  // 1 is a number
}

TEST(Recipe, RefusesWhatIsOutOfRange) {
  expect_refused_at_the_top("seed = @-1", "seed is -1; it goes from 0 to ");
  expect_refused_in_the_stage("rollout = { temperature = @0.0 }",
                              "rollout.temperature is 0; it goes from 0.01 to 100");
  expect_refused_in_the_stage("rollout = { min_p = @1.5 }", "rollout.min_p is 1.5; it goes from 0 to 1");
  expect_refused_in_the_stage("rollout = { group_size = @0 }",
                              "rollout.group_size is 0; it goes from 1 to 1024");
  expect_refused_in_the_stage("optim = { lr = @nan }", "optim.lr is nan; ");
  expect_refused_in_the_stage("optim = { lr = @-inf }", "optim.lr is -inf; ");
  expect_refused_in_the_stage("optim = { beta1 = @1.0 }", "optim.beta1 is 1; ");
}

TEST(Recipe, RefusesAKeyThatIsThereTwice) {
  EXPECT_THAT(RecipeFolder().refusal("seed = 1\nseed = 2\n" + kGrpo), StartsWith("recipe.toml:2:"));
  EXPECT_THAT(RecipeFolder().refusal(R"({"seed": 1, "seed": 2, "stages": []})", {}, "recipe.json"),
              HasSubstr("seed"));
}

TEST(Recipe, RefusesTextThatIsNoToml) {
  EXPECT_THAT(RecipeFolder().refusal("seed 1\n" + kGrpo), StartsWith("recipe.toml:1:"));
  EXPECT_THAT(RecipeFolder().refusal("{\"seed\": }", {}, "recipe.json"), StartsWith("recipe.json"));
  EXPECT_THAT(message_of<UsageError>([] { load_recipe("/nowhere/recipe.toml", {}); }),
              HasSubstr("/nowhere/recipe.toml"));
}

TEST(Recipe, WantsANameOfItsOwnForEachStage) {
  const std::string again = "[[stages]]\nuse = \"grpo\"\nsteps = 1\n";
  expect_refused(kGrpo + "@" + again, "two stages are named \"grpo\"; give one of them a `name`");
  expect_refused(kGrpo + "@" + again + "name = \"optim\"\n",
                 "a stage cannot be named \"optim\": that is a key of every recipe");
  expect_refused(kGrpo + "@" + again + "name = \"seed\"\n", "a stage cannot be named \"seed\"");
  expect_refused(kGrpo + "@" + again + "name = \"../x\"\n",
                 "a stage's name is made of letters, digits, _ and -, got \"../x\"");
  expect_refused(kGrpo + "@" + again + "name = \"\"\n", "a stage's name is made of letters");

  const auto recipe = RecipeFolder().load(kGrpo + again + "name = \"more\"\n");
  EXPECT_EQ(recipe.stages[1].name, "more");
  EXPECT_EQ(recipe.stage("more").steps, 1);
  EXPECT_THROW(recipe.stage("less"), UsageError);
}

TEST(Recipe, WantsANameOfItsOwnForEachReward) {
  expect_refused_in_the_stage("rewards = [{ use = \"length\", max = 4 }, @{ use = \"length\", max = 8 }]",
                              "two rewards are named \"length\"; give one of them a `name`");
  const auto recipe = RecipeFolder().load(kGrpo +
                                          "rewards = [{ use = \"length\", max = 4 }, { use = \"length\", max "
                                          "= 8, name = \"long\", weight = 0.5 }]\n");
  const auto& rewards = recipe.stages[0].rewards;
  ASSERT_EQ(rewards.size(), 2u);
  EXPECT_EQ(rewards[1].name, "long");
  EXPECT_EQ(rewards[1].weight, 0.5);
  EXPECT_EQ(rewards[1].options, Json({{"max", 8}}));
}

TEST(Recipe, ARewardOfOnesOwnIsNamedByItsKeyAndFoundFromTheRecipe) {
  const RecipeFolder folder;
  const auto recipe = folder.load(kGrpo + R"(rewards = [
    { python = "my.py:reward", workers = 2 }, { command = ["./bin/judge", "--strict"], weight = 0.5 },
    { library = "lib/r.so" }, { http = "http://127.0.0.1:9000/score", name = "server" },
    { command = "./judge --strict", name = "other", folder = "sub" }]
)");
  const auto& rewards = recipe.stages[0].rewards;
  ASSERT_EQ(rewards.size(), 5u);
  const auto here = std::filesystem::weakly_canonical(folder.path()).string();
  EXPECT_EQ(rewards[0].use, "python");
  EXPECT_EQ(rewards[0].name, "reward");
  EXPECT_EQ(rewards[0].options, Json({{"folder", here}, {"python", "my.py:reward"}, {"workers", 2}}));
  EXPECT_EQ(rewards[1].name, "judge");
  EXPECT_EQ(rewards[1].weight, 0.5);
  EXPECT_EQ(rewards[2].name, "r");
  EXPECT_EQ(rewards[3].name, "server");
  EXPECT_EQ(rewards[4].options.at("folder"), here + "/sub");
}

TEST(Recipe, TheDirectoryOfAModelIsARewardModel) {
  const RecipeFolder folder;
  const auto rewards = folder.load(kGrpo + "rewards = [{ model = \"judge\", clip = 3, name = \"taste\" }]\n")
                           .stages[0]
                           .rewards;
  ASSERT_EQ(rewards.size(), 1u);
  EXPECT_EQ(rewards[0].use, "reward_model");
  EXPECT_EQ(rewards[0].name, "taste");
  const auto path = std::filesystem::weakly_canonical(folder.path() / "judge").string();
  EXPECT_EQ(rewards[0].options, Json({{"clip", 3}, {"path", path}}));
}

TEST(Recipe, RefusesARewardOfOnesOwnThatIsTwoThingsOrNone) {
  expect_refused_in_the_stage("rewards = [{ model = @\"a\", path = \"b\" }]",
                              "a reward is one thing, this is model and path");
  expect_refused_in_the_stage("rewards = [{ use = \"length\", model = @\"a\" }]",
                              "the reward length has no key \"model\"");
  expect_refused_in_the_stage("rewards = [{ python = @\"my.py:f\", command = \"./x\" }]",
                              "a reward is one thing, this is command and python");
  expect_refused_in_the_stage("rewards = [{ use = \"length\", http = @\"http://127.0.0.1\" }]",
                              "a reward is one thing, this is use and http");
  expect_refused_in_the_stage("rewards = [@{ use = \"python\" }]",
                              "{ python = ... } is the whole of it, without `use`");
  expect_refused_in_the_stage("rewards = [{ python = @\"my.py\" }]",
                              "python wants a file and a function of it, \"my.py:reward\", saw \"my.py\"");
  expect_refused_in_the_stage("rewards = [{ command = @3 }]", "command wants a program and its arguments");
  expect_refused_in_the_stage("rewards = [{ python = \"my.py:f\", worker = @2 }]",
                              "the reward python has no key \"worker\"; did you mean \"workers\"?");
}

TEST(Recipe, SaysWhichTokenizerIsTrained) {
  const RecipeFolder folder;
  EXPECT_EQ(folder.load(kGrpo).tokenizer.train, "characters");
  EXPECT_EQ(folder.load(kGrpo, {"tokenizer.train=bpe"}).tokenizer.vocab_size, 8000);
  const auto spec = folder
                        .load(kGrpo, {"tokenizer.train=unigram", "tokenizer.vocab_size=600",
                                      "tokenizer.special_tokens=[\"<|im_start|>\", \"<|im_end|>\"]"})
                        .tokenizer;
  EXPECT_EQ(spec.train, "unigram");
  EXPECT_EQ(spec.vocab_size, 600);
  EXPECT_EQ(spec.special_tokens, (std::vector<std::string>{"<|im_start|>", "<|im_end|>"}));

  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.train=words"}), HasSubstr("characters, bpe, unigram"));
  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.vocab_size=100"}), HasSubstr("512 to 32000"));
  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.special_tokens=\"<a>\""}), HasSubstr("wants a list of text"));
  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.special_tokens=[1]"}), HasSubstr("wants a list of text"));
}

TEST(Recipe, TrainsAdaptersWhereItHasATableOfThem) {
  const RecipeFolder folder;
  EXPECT_FALSE(folder.load(kGrpo).model.lora.has_value());
  const auto plain = folder.load("model = { lora = {} }\n" + kGrpo).model.lora;
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->rank, 8);
  EXPECT_EQ(plain->alpha, 16.0);
  EXPECT_FALSE(plain->rslora);
  EXPECT_TRUE(plain->targets.empty());
  const std::string text =
      "model = { lora = { rank = 4, targets = [\"q_proj\"] }, router_aux_loss = 0.01 }\n";
  const auto recipe = folder.load(text + kGrpo, {"model.lora.alpha=2", "model.router_aux_loss=0.5"});
  EXPECT_EQ(recipe.model.lora->rank, 4);  // an override of one key leaves the others
  EXPECT_EQ(recipe.model.lora->alpha, 2.0);
  EXPECT_EQ(recipe.model.lora->targets, std::vector<std::string>{"q_proj"});
  EXPECT_EQ(recipe.stages[0].learner.router_aux_loss, 0.5);
  EXPECT_TRUE(recipe_from_resolved(recipe.resolved).model.lora.has_value());
  EXPECT_THAT(describe(recipe), HasSubstr("adapters of rank 4"));

  expect_refused_at_the_top("model = { lora = { rnak = @4 } }", "[model.lora] has no key \"rnak\"");
  expect_refused_at_the_top("model = { lora = { rank = @0 } }", "model.lora.rank is 0");
  expect_refused_at_the_top("model = { lora = @8 }", "model.lora is a table, got an integer");
  expect_refused_at_the_top("model = { lroa = @{} }", "[model] has no key \"lroa\"; did you mean \"lora\"?");
  expect_refused_at_the_top("\"model.lora\" = @{}", "a recipe has no key \"model.lora\"");
}

TEST(Recipe, RefusesAStageThatLacksWhatItNeeds) {
  const std::string tokenizer = "tokenizer = { train = \"characters\" }\n";
  const std::string data = "data = { use = \"text\", path = \"x\" }\n";
  expect_refused(tokenizer + data + "@[[stages]]\nuse = \"sft\"\n", "stage \"sft\" needs `steps`");
  expect_refused(tokenizer + data + "@[[stages]]\nuse = \"grpo\"\nsteps = 1\n",
                 "stage \"grpo\" has no reward");
  expect_refused(tokenizer + "@[[stages]]\nuse = \"sft\"\nsteps = 1\n", "stage \"sft\" has no data.path");
}

TEST(Recipe, RefusesATableThatAStageDoesNotHave) {
  expect_refused(kGrpo + "[[stages]]\nuse = \"sft\"\nsteps = 1\nalgorithm = @{ beta = 0.1 }\n",
                 "a stage of kind sft has no [algorithm]");
}

TEST(Recipe, RefusesCombinationsThatCannotWork) {
  const RecipeFolder folder;
  EXPECT_THAT(folder.refusal(kGrpo + "rollout = { group_size = 4, min_scored = 5 }\n"),
              HasSubstr("rollout.min_scored 5 is more than rollout.group_size 4"));
  EXPECT_THAT(folder.refusal(kGrpo + "rollout = { address = \"tcp://127.0.0.1:0\" }\n"), HasSubstr("port 0"));
  EXPECT_THAT(folder.refusal("model = { hidden_size = 100, heads = 3 }\n" + kGrpo),
              HasSubstr("model.hidden_size 100 does not give model.heads 3 an even width each"));
  EXPECT_THAT(folder.refusal("model = { heads = 4, kv_heads = 3 }\n" + kGrpo),
              HasSubstr("model.heads 4 is no multiple of model.kv_heads 3"));
  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.path=t.model"}), HasSubstr("cannot both be set"));
  EXPECT_THAT(folder.refusal(kGrpo, {"tokenizer.vocab_size=600"}),
              HasSubstr("are for tokenizer.train = \"bpe\" or \"unigram\""));
  EXPECT_THAT(folder.refusal(kGrpo, {"algorithm.dual_clip=0.5"}),
              HasSubstr("algorithm.dual_clip 0.5 is neither 0 nor more than 1"));
  EXPECT_THAT(folder.refusal("data = { path = \"x\" }\n[[stages]]\nuse = \"sft\"\nsteps = 1\n"),
              HasSubstr("a network from scratch needs tokenizer.path or tokenizer.train"));
}

// default 1e-6 < kind 2e-5 < top of the file < stage < override of all < override of one
TEST(Recipe, TakesTheMostParticularValue) {
  const RecipeFolder folder;
  const auto lr = [&](const std::string& top, const std::string& stage,
                      const std::vector<std::string>& overrides) {
    return folder.load(top + kGrpo + "[[stages]]\nuse = \"sft\"\nsteps = 1\n" + stage, overrides)
        .stage("sft")
        .optim.lr;
  };
  const std::string top = "optim = { lr = 0.1, beta1 = 0.5 }\n", stage = "optim = { lr = 0.2 }\n";

  EXPECT_EQ(folder.load(kGrpo).stages[0].optim.lr, 1e-6);
  EXPECT_EQ(lr("", "", {}), 2e-5);
  EXPECT_EQ(lr(top, "", {}), 0.1);
  EXPECT_EQ(lr(top, stage, {}), 0.2);
  EXPECT_EQ(lr(top, stage, {"optim.lr=0.3"}), 0.3);
  EXPECT_EQ(lr(top, stage, {"sft.optim.lr=0.4", "optim.lr=0.3"}), 0.4);
  EXPECT_EQ(lr(top, stage, {"grpo.optim.lr=0.5"}), 0.2);
  EXPECT_EQ(lr(top, stage, {"optim.lr=0.3", "optim.lr=0.6"}), 0.6);  // the last one counts
  const auto merged = folder.load(top + kGrpo + stage).stages[0].optim;
  EXPECT_EQ(merged.lr, 0.2);
  EXPECT_EQ(merged.beta1, 0.5);  // key by key, not table by table
}

TEST(Recipe, TakesOverridesOfEveryType) {
  const auto recipe = RecipeFolder().load(
      kGrpo, {"name=my run", "seed=7", "deterministic=false", "monitor.redis=off", "grpo.steps=9",
              "data.prompt_chars=5", "grpo.rewards=[{ use = \"length\", max = 3 }]", "model.hidden_size=64",
              "optim={ lr = 0.5, beta2 = 0.9 }"});
  EXPECT_EQ(recipe.name, "my run");
  EXPECT_EQ(recipe.seed, 7u);
  EXPECT_FALSE(recipe.deterministic);
  EXPECT_EQ(recipe.monitor.redis, "off");
  EXPECT_EQ(recipe.model.shape.hidden_size, 64);
  const auto& stage = recipe.stages[0];
  EXPECT_EQ(stage.steps, 9);
  EXPECT_EQ(stage.data.prompt_chars, 5);
  EXPECT_EQ(stage.rewards[0].use, "length");
  EXPECT_EQ(stage.optim.lr, 0.5);
  EXPECT_EQ(stage.optim.beta2, 0.9);
}

TEST(Recipe, LeavesTheVariantsOfTheLossOffUnlessAsked) {
  const RecipeFolder folder;
  const auto plain = folder.load(kGrpo).stages[0];
  EXPECT_EQ(plain.learner.loss.dual_clip, 0.0);
  EXPECT_EQ(plain.learner.seq_denominator, learner::SequenceDenominator::All);
  EXPECT_FALSE(plain.learner.advantage.mask_truncated);

  const auto asked =
      folder
          .load(kGrpo, {"algorithm={ beta = 0.1, kl = \"k3_is\", dual_clip = 3, seq_denominator = "
                        "\"nonempty\", mask_truncated = true }"})
          .stages[0];
  EXPECT_EQ(asked.learner.loss.kl, learner::KlEstimator::K3Is);
  EXPECT_EQ(asked.learner.loss.dual_clip, 3.0);
  EXPECT_EQ(asked.learner.seq_denominator, learner::SequenceDenominator::NonEmpty);
  EXPECT_TRUE(asked.learner.advantage.mask_truncated);
  EXPECT_EQ(folder.load(kGrpo, {"algorithm={ beta = 0.1, kl = \"k1+\" }"}).stages[0].learner.loss.kl,
            learner::KlEstimator::K1Plus);
  EXPECT_EQ(folder.load(kGrpo, {"algorithm={ beta = 0.1, kl = \"k3+\" }"}).stages[0].learner.loss.kl,
            learner::KlEstimator::K3Plus);
}

TEST(Recipe, RefusesBadOverrides) {
  const RecipeFolder folder;
  const auto refusal = [&](const std::string& text) { return folder.refusal(kGrpo, {text}); };
  EXPECT_THAT(refusal("optim.lr"), StartsWith("override \"optim.lr\": wants KEY=VALUE"));
  EXPECT_THAT(refusal("=3"), StartsWith("override \"=3\": wants KEY=VALUE"));
  EXPECT_THAT(refusal("optim.lrr=3"), HasSubstr("[optim] has no key \"lrr\"; did you mean \"lr\"?"));
  EXPECT_THAT(refusal("grpo.optim.lr=fast"), HasSubstr("optim.lr wants a number, got text"));
  EXPECT_THAT(refusal("gprpo.optim.lr=1"),
              HasSubstr("a recipe has no key \"gprpo\"; did you mean \"grpo\"?"));
  EXPECT_THAT(refusal("grpo=3"), HasSubstr("a stage takes STAGE.KEY=VALUE"));
  EXPECT_THAT(refusal("grpo.name=x"), HasSubstr("the kind and the name of a stage cannot be overridden"));
  EXPECT_THAT(refusal("grpo.use=\"sft\""),
              HasSubstr("the kind and the name of a stage cannot be overridden"));
  EXPECT_THAT(refusal("a b=3"), StartsWith("override \"a b=3\": "));
}

TEST(Recipe, ReadsTheSameFromJson) {
  const RecipeFolder folder;
  const auto toml = folder.load("seed = 3\noptim = { lr = 0.5 }\n" + kGrpo);
  const auto json = load_recipe(folder.write(R"({
    "seed": 3, "optim": {"lr": 0.5}, "data": {"use": "text", "path": "corpus.txt"},
    "tokenizer": {"train": "characters"}, "rewards": [{"use": "real_words"}],
    "stages": [{"use": "grpo", "steps": 4}]})",
                                             "recipe.json"),
                                {});
  EXPECT_EQ(json.resolved, toml.resolved);
  EXPECT_EQ(folder.refusal(R"({"stages": [{"use": "grpo", "setps": 4}]})", {}, "recipe.json"),
            "recipe.json: a stage has no key \"setps\"; did you mean \"steps\"?");
  EXPECT_THAT(folder.refusal(R"({"seed": null, "stages": []})", {}, "recipe.json"),
              HasSubstr("null is no value of a recipe"));
}

TEST(Recipe, TakesPathsFromWhereTheyAreWritten) {
  const RecipeFolder folder;
  const auto recipe = folder.load(
      "model = { path = \"/models/base\" }\ndata = { path = \"../data/x.jsonl\" }\n"
      "[[stages]]\nuse = \"sft\"\nsteps = 1\n",
      {"data.test_path=held/out.jsonl"});
  const auto& data = recipe.stages[0].data;
  EXPECT_EQ(data.path, fs::weakly_canonical(folder.path().parent_path() / "data" / "x.jsonl"));
  EXPECT_EQ(data.test_path, fs::weakly_canonical(fs::current_path() / "held" / "out.jsonl"));
  EXPECT_EQ(recipe.model.path, "/models/base");
}

TEST(Recipe, SaysWhereAModelComesFromOnlyBesideItsPath) {
  const RecipeFolder folder;
  const std::string sft = "data = { path = \"x.jsonl\" }\n[[stages]]\nuse = \"sft\"\nsteps = 1\n";
  EXPECT_EQ(folder.load("model = { path = \"m\", source = \"a/m\" }\n" + sft).model.source, "a/m");
  EXPECT_THAT(folder.refusal("model = { source = \"a/m\" }\ntokenizer = { path = \"t\" }\n" + sft),
              HasSubstr("there is no model.path"));
}

TEST(Recipe, PretrainingIsSupervisedAndItsTextsHaveNoEnd) {
  const auto stage = RecipeFolder()
                         .load(
                             "data = { use = \"text\", path = \"x.txt\" }\ntokenizer = { path = \"t\" }\n"
                             "[[stages]]\nuse = \"pretrain\"\nsteps = 1\n")
                         .stages[0];
  EXPECT_EQ(stage.role, StageRole::Supervised);
  EXPECT_FALSE(stage.batch.append_eos);
  EXPECT_EQ(stage.optim.weight_decay, 0.1);
  EXPECT_EQ(stage.evaluation.every, 0);
}

TEST(Recipe, IsNamedAfterItsFile) { EXPECT_EQ(RecipeFolder().load(kGrpo).name, "recipe"); }

TEST(Recipe, IsDeterministicOnTheCpuUnlessToldOtherwise) {
  const RecipeFolder folder;
  EXPECT_TRUE(folder.load(kGrpo).deterministic);
  EXPECT_FALSE(folder.load(kGrpo, {"deterministic=false"}).deterministic);
  EXPECT_FALSE(folder.load("device = \"cuda\"\n" + kGrpo).deterministic);
  EXPECT_FALSE(folder.load(kGrpo, {"device=cuda"}).deterministic);
  EXPECT_TRUE(folder.load(kGrpo, {"device=cuda", "deterministic=true"}).deterministic);
}

TEST(Recipe, SaysWhatDoesNotGoTogether) {
  const RecipeFolder folder;
  const auto fault = [&](const std::vector<std::string>& overrides) {
    return message_of<UsageError>([&] { folder.load(kGrpo, overrides); });
  };
  EXPECT_THAT(fault({"rollout.mix_versions=true"}), HasSubstr("deterministic = false"));
  EXPECT_THAT(fault({"rollout.weights=int8", "device=cuda"}), HasSubstr("device = \"cpu\""));
  EXPECT_THAT(fault({"rollout.draft=prompt", "device=cuda"}), HasSubstr("device = \"cpu\""));
  EXPECT_THAT(fault({"model.products=bfloat16", "device=cuda"}), HasSubstr("bfloat16_both"));
  EXPECT_NO_THROW(folder.load(kGrpo, {"model.products=bfloat16_both", "device=cuda"}));
  EXPECT_EQ(folder.load(kGrpo, {"model.products=float16_both", "device=cuda"}).model.rounding,
            model::Rounding::Float16Both);
  EXPECT_THAT(fault({"model.products=bfloat16", "model.lora.rank=4"}), HasSubstr("model.lora"));
  EXPECT_THAT(fault({"model.products=bfloat16_both", "model.lora.rank=4"}), HasSubstr("model.lora"));
  EXPECT_THAT(fault({"model.products=float16_both", "model.lora.rank=4"}), HasSubstr("model.lora"));
  EXPECT_THAT(fault({"optim.shard=weights", "device=cuda"}), HasSubstr("device = \"cpu\""));
  EXPECT_THAT(fault({"optim.shard=weights", "model.lora.rank=4"}), HasSubstr("model.lora"));
  EXPECT_THAT(fault({"optim.shard=weights", "algorithm.baseline=critic"}), HasSubstr("critic"));
  EXPECT_THAT(fault({"optim.shard=weights", "algorithm.beta=0.1", "algorithm.mix_every=2"}),
              HasSubstr("mix_every"));
  EXPECT_THAT(fault({"optim.shard=true"}), HasSubstr("wants text"));
  EXPECT_EQ(folder.load(kGrpo, {"optim.shard=weights"}).stages[0].optim.shard, "weights");
  const std::string offload = "learner.offload_reference=true";
  EXPECT_THAT(fault({offload}), HasSubstr("algorithm.beta = 0"));
  EXPECT_THAT(fault({offload, "algorithm.beta=0.1", "model.lora.rank=4"}), HasSubstr("model.lora"));
  EXPECT_THAT(fault({offload, "algorithm.beta=0.1", "algorithm.mix_every=2"}), HasSubstr("mix_every"));
  EXPECT_TRUE(folder.load(kGrpo, {offload, "algorithm.beta=0.1"}).stages[0].offloads_reference);
  EXPECT_THAT(fault({"rollout.draft=model"}), HasSubstr("rollout.draft_model"));
  EXPECT_THAT(fault({"rollout.draft_model=somewhere"}), HasSubstr("rollout.draft"));
  const auto recipe = folder.load(kGrpo, {"rollout.mix_versions=true", "deterministic=false",
                                          "rollout.weights=int8", "rollout.draft=prompt"});
  EXPECT_TRUE(recipe.stages[0].rollout.mix_versions && recipe.stages[0].rollout.int8_weights);
  EXPECT_EQ(recipe.stages[0].rollout.draft, "prompt");
}

TEST(Recipe, ComesBackFromWhatTheRunKeeps) {
  const auto recipe = RecipeFolder().load("seed = 5\n" + kGrpo, {"grpo.optim.lr=3e-6"});
  const auto again = recipe_from_resolved(parse_json(recipe.resolved.dump(), "resolved"));
  EXPECT_EQ(again.resolved, recipe.resolved);
  EXPECT_EQ(describe(again), describe(recipe));
  EXPECT_EQ(again.stages[0].optim.lr, 3e-6);
  EXPECT_THROW(recipe_from_resolved(Json{{"schema", 1}}), DataError);
}

const std::string kSft = R"(model = { path = "model" }

[[stages]]
use = "sft"
steps = 4
)";

TEST(Recipe, DrawsSupervisedExamplesFromSeveralFilesAndWeighsTags) {
  const RecipeFolder folder;
  const auto stage =
      folder
          .load(kSft +
                "data = { mixture = [{ path = \"a.jsonl\", weight = 3 }, { path = \"b.jsonl\" }] }\n"
                "batch = { loss = \"dft\", tag_weights = { answer = 2, think = 0.5 } }\n")
          .stages[0];
  ASSERT_EQ(stage.data.mixture.size(), 2u);
  EXPECT_EQ(stage.data.mixture[0].path, folder.path() / "a.jsonl");
  EXPECT_EQ(stage.data.mixture[0].weight, 3.0);
  EXPECT_EQ(stage.data.mixture[1].weight, 1.0);
  EXPECT_EQ(stage.batch.loss, sft::LossKind::Dft);
  EXPECT_EQ(stage.batch.tag_weights, (std::map<std::string, double>{{"answer", 2.0}, {"think", 0.5}}));
}

TEST(Recipe, RefusesPartsOfAMixtureAndTagWeightsThatMakeNoSense) {
  const RecipeFolder folder;
  const auto refusal = [&](const std::string& rest) { return folder.refusal(kSft + rest); };
  EXPECT_THAT(refusal("data = { mixture = \"a.jsonl\" }"), HasSubstr("data.mixture wants a list of tables"));
  EXPECT_THAT(refusal("data = { mixture = [{ weight = 2 }] }"), HasSubstr("a part is { path ="));
  EXPECT_THAT(refusal("data = { mixture = [{ path = \"a\", weight = 0 }] }"), HasSubstr("it is above 0"));
  EXPECT_THAT(refusal("data = { mixture = [{ path = \"a\", share = 1 }] }"), HasSubstr("no key \"share\""));
  EXPECT_THAT(refusal("batch = { tag_weights = { answer = \"much\" } }"), HasSubstr("a table of numbers"));
  EXPECT_THAT(refusal("batch = { tag_weights = { answer = -1 } }"), HasSubstr("it goes from 0"));
}

TEST(Recipe, APreferenceStageHasItsLossesDefaultsAndNoRewards) {
  const RecipeFolder folder;
  const auto stage = folder
                         .load(
                             "model = { path = \"model\" }\ndata = { path = \"pairs.jsonl\" }\n"
                             "stages = [{ use = \"simpo\", steps = 3, preference = { gamma = 1.5 } }]\n")
                         .stages[0];
  EXPECT_EQ(stage.role, StageRole::Preference);
  EXPECT_FALSE(stage.preference.needs_reference());
  EXPECT_EQ(stage.preference.pairs.terms.at(0).gamma, 1.5);
  EXPECT_TRUE(stage.rewards.empty());
  EXPECT_THAT(folder.refusal("model = { path = \"model\" }\ndata = { path = \"pairs.jsonl\" }\n"
                             "stages = [{ use = \"dpo\", steps = 3, preference = { tau = 0.1 } }]\n"),
              HasSubstr("preference.tau is for preference.loss = \"discopop\""));
}

TEST(Recipe, RefusesWhatIsOfPairsWhereCompletionsAreJudgedOneByOne) {
  const RecipeFolder folder;
  for (const char* option : {"label_smoothing = 0.1", "sft_weight = 1.0", "nll_over_prompt = true",
                             "divergence = \"js\"", "ld_alpha = 0.5", "wpo = true", "held_out = 4"}) {
    EXPECT_THAT(
        folder.refusal("model = { path = \"model\" }\ndata = { path = \"judged.jsonl\" }\nstages = [{ use "
                       "= \"kto\", steps = 3, preference = { " +
                       std::string(option) + " } }]\n"),
        HasSubstr("is not for preference.loss = \"kto\" or \"apo_zero_unpaired\", which is \"kto\" here"))
        << option;
  }
}

TEST(Recipe, RefusesKeysOfStagesThatDoSomethingElse) {
  const RecipeFolder folder;
  const std::string eval = kGrpo + "[[stages]]\nuse = \"eval\"\n";
  EXPECT_THAT(folder.refusal(eval + "rollout = { group_size = 4 }\n"),
              HasSubstr("rollout.group_size means nothing to a stage of kind eval; leave it out"));
  // What is said for all stages is for those that know it.
  EXPECT_EQ(folder.refusal(eval, {"rollout.group_size=4"}), "");
  EXPECT_THAT(folder.refusal(kGrpo, {"batch.neftune_alpha=5"}),
              HasSubstr("batch.neftune_alpha means nothing to a stage of kind grpo"));
  EXPECT_THAT(folder.refusal(kGrpo, {"data.prompt_column=question"}),
              HasSubstr("data.prompt_column is for data.use = \"jsonl\", which is \"text\" here"));
}

TEST(Recipe, FitsInFifteenLinesForGrpo) {
  const std::string text = R"(rewards = [{ use = "exact_answer" }]

[model]
path = "model"

[data]
path = "train.jsonl"

[[stages]]
use = "grpo"
steps = 100
)";
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 15);
  const auto recipe = RecipeFolder().load(text);
  const auto& stage = recipe.stages[0];
  EXPECT_EQ(stage.rollout.prompts_per_step, 16);
  EXPECT_EQ(stage.rollout.group_size, 8);
  EXPECT_EQ(stage.rollout.actors, 2);
  EXPECT_EQ(stage.rollout.staleness, 1);
  EXPECT_EQ(stage.learner.loss.clip_low, 0.2);
  EXPECT_EQ(stage.learner.loss.beta, 0.0);
  EXPECT_EQ(stage.optim.lr, 1e-6);
}

TEST(Recipe, AGeneratedDatasetNeedsNoFileAndTakesNone) {
  const std::string stage = "tokenizer = { train = \"characters\" }\n@[[stages]]\nuse = \"sft\"\nsteps = 1\n";
  EXPECT_EQ(RecipeFolder()
                .load("tokenizer = { train = \"characters\" }\n[[stages]]\nuse = \"sft\"\nsteps = 1\n"
                      "data = { use = \"digits\" }\n")
                .stages[0]
                .data.use,
            "digits");
  expect_refused(stage + "data = { use = \"digits\", path = \"a\" }\n",
                 "stage \"sft\": data.path is for data.use = \"jsonl\" or \"text\" or \"gsm8k_notes\", "
                 "which is \"digits\" here; leave it out");
}

TEST(Recipe, EveryShippedOneLoadsUnderTheNameOfItsFile) {
  for (const auto& file : fs::directory_iterator(fs::path(SLUICE_SOURCE_DIR) / "recipes")) {
    if (file.path().extension() != ".toml") continue;
    SCOPED_TRACE(file.path());
    EXPECT_EQ(load_recipe(file.path(), {}).name, file.path().stem());
  }
}

TEST(Recipe, ThoseThatDifferInTheirAlgorithmBeginWithTheSameColdStart) {
  const fs::path recipes = fs::path(SLUICE_SOURCE_DIR) / "recipes";
  const Json cold = load_recipe(recipes / "cold_start.toml", {}).resolved;
  for (const std::string name : {"grpo", "dapo", "gspo"}) {
    SCOPED_TRACE(name);
    const Json other = load_recipe(recipes / (name + ".toml"), {}).resolved;
    for (const char* key : {"model", "tokenizer", "seed"}) EXPECT_EQ(other.at(key), cold.at(key));
    EXPECT_EQ(other.at("stages")[0], cold.at("stages")[0]);
    EXPECT_EQ(other.at("stages")[2].at("use"), name);
    EXPECT_EQ(other.at("stages")[2].at("steps"), 140);
  }
}

TEST(Recipe, ShippedOnesLoad) {
  for (const char* name : {"shakespeare_words", "gsm8k_arithmetic"}) {
    SCOPED_TRACE(name);
    const auto recipe =
        load_recipe(fs::path(SLUICE_SOURCE_DIR) / "recipes" / (std::string(name) + ".toml"), {});
    EXPECT_EQ(recipe.name, name);
    EXPECT_TRUE(recipe.deterministic);
    std::vector<std::string> stages;
    for (const auto& stage : recipe.stages) {
      stages.push_back(stage.name);
      EXPECT_TRUE(fs::exists(stage.data.path)) << stage.data.path;
      if (!stage.data.test_path.empty()) {
        EXPECT_TRUE(fs::exists(stage.data.test_path)) << stage.data.test_path;
      }
      EXPECT_EQ(stage.checkpoint.every, 10);
    }
    EXPECT_EQ(stages, (std::vector<std::string>{"sft", "eval_before", "grpo", "eval_after"}));
    EXPECT_EQ(recipe.stage("grpo").rollout.actors, 2);
    EXPECT_EQ(recipe.stage("grpo").rollout.staleness, 1);
    EXPECT_THAT(describe(recipe), HasSubstr("grpo (grpo): "));
  }
}

}  // namespace
}  // namespace sluice::recipes
