// The subcommands beside `run`, and what a finished run leaves to read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string shipped(const std::string& recipe) {
  return (fs::path(SLUICE_SOURCE_DIR) / "recipes" / (recipe + ".toml")).string();
}

TEST(Commands, CheckReadsARecipeAndItsData) {
  const Workspace workspace;
  const auto check = sluice(workspace, {"check", "recipe.toml", "grpo.steps=7"});
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_THAT(check.out, HasSubstr("grpo (grpo): 7 steps of 4 prompts x 8, 2 actors, staleness 1"));
  EXPECT_THAT(check.out, HasSubstr(" examples\n"));
  EXPECT_THAT(check.out, HasSubstr("sluice run recipe.toml"));

  const auto json = sluice(workspace, {"check", "recipe.toml", "--json", "grpo.steps=7"});
  EXPECT_EQ(parse_json(json.out, "check")["stages"][1]["steps"], 7);
  EXPECT_FALSE(fs::exists(workspace / "runs"));
}

// A network of 32 wide, 2 layers: 4 bytes a number, 2 * 2 * 32 numbers a token of cache.
TEST(Commands, CheckPlansTheMemoryOfEveryRole) {
  const Workspace workspace;
  const auto json = sluice(workspace, {"check", "recipe.toml", "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const Json memory = parse_json(json.out, "check")["memory"];
  EXPECT_GT(memory["host_bytes"], 1 << 20);
  ASSERT_EQ(memory["stages"].size(), 2);
  const Json& roles = memory["stages"][1]["roles"];
  std::vector<std::string> names;
  int64_t total = 0;
  for (const auto& role : roles) {
    names.push_back(role["role"]);
    total += role["count"].get<int64_t>() * role["total"].get<int64_t>();
  }
  EXPECT_THAT(names, ElementsAre("learner", "reference", "published weights", "kept versions",
                                 "check of the first step", "actor"));
  EXPECT_EQ(memory["stages"][1]["total"]["cpu"], total);
  EXPECT_EQ(memory["stages"][1]["total"].size(), 1);  // of the devices, one
  EXPECT_EQ(roles[0]["optimizer"], 2 * roles[0]["weights"].get<int64_t>());
  EXPECT_EQ(roles[1]["optimizer"], 0);
  EXPECT_EQ(roles[2]["count"], 2);  // staleness 1
  EXPECT_EQ(roles[3]["count"], 2);
  EXPECT_EQ(roles[3]["weights"], roles[0]["weights"]);
  EXPECT_EQ(roles[5]["count"], 2);
  EXPECT_EQ(roles[5]["weights"], 0);  // mapped
  EXPECT_EQ(roles[5]["kv_cache_per_token"], 2 * 2 * 32 * 4);
  EXPECT_EQ(roles[5]["kv_cache"], (128 + 1) * 64 * 2 * 2 * 32 * 4);  // the rows and a prompt, 8 + 48 tokens

  const auto with_critic =
      sluice(workspace, {"check", "recipe.toml", "--json", "grpo.algorithm.baseline=critic"});
  const Json critic = parse_json(with_critic.out, "check").at("memory").at("stages").at(1).at("roles").at(2);
  EXPECT_EQ(critic["role"], "critic");
  EXPECT_EQ(critic["optimizer"], 2 * critic["weights"].get<int64_t>());
  EXPECT_LT(critic["weights"], roles[0]["weights"]);  // one number in place of logits

  auto unmixed = read_file(workspace / "recipe.toml");
  const std::string mix = ", mix_every = 3, mix_alpha = 0.5";
  unmixed.erase(unmixed.find(mix), mix.size());
  write_file_atomically(workspace / "unmixed.toml", unmixed);
  const auto sharded =
      sluice(workspace, {"check", "unmixed.toml", "--json", "learner.ranks=4", "optim.shard=weights"});
  const Json parts = parse_json(sharded.out, "check").at("memory").at("stages").at(1).at("roles");
  const auto whole = roles[0]["weights"].get<int64_t>(), part = parts[0]["weights"].get<int64_t>();
  EXPECT_EQ(parts[0]["count"], 4);
  EXPECT_LE(parts[0]["optimizer"], roles[0]["optimizer"].get<int64_t>() / 4 + 8 * 64);
  EXPECT_LT(part, whole);
  EXPECT_LT(parts[0]["gradients"], roles[0]["gradients"]);
  EXPECT_EQ(parts.back()["role"], "parts of the others on rank 0");
  EXPECT_EQ(parts.back()["weights"], whole - part);
  EXPECT_EQ(parts.back()["optimizer"], 2 * whole);

  const auto offloaded =
      sluice(workspace, {"check", "unmixed.toml", "--json", "learner.offload_reference=true"});
  const Json brought = parse_json(offloaded.out, "check").at("memory").at("stages").at(1).at("roles").at(1);
  EXPECT_EQ(brought["role"], "reference");
  EXPECT_LT(brought["weights"], roles[1]["weights"]);  // of two blocks one
  EXPECT_EQ(brought["packed"], 0);

  const auto text = sluice(workspace, {"check", "recipe.toml"});
  EXPECT_THAT(text.out, HasSubstr("grpo, 2 x actor: "));
  EXPECT_THAT(text.out, HasSubstr("together on this machine: "));
  EXPECT_THAT(text.out, Not(HasSubstr("warning")));
  // 64 actors with caches of 1,025 sequences each.
  const auto large =
      sluice(workspace, {"check", "recipe.toml", "rollout.actors=64", "rollout.group_size=1024",
                         "model.hidden_size=4096", "model.layers=64"});
  EXPECT_EQ(large.code, 0) << large.err;
  EXPECT_THAT(large.out, HasSubstr("warning: this does not fit"));
}

TEST(Commands, CheckSaysWhatAModelDirectoryIs) {
  const Workspace workspace;
  const auto llama = fs::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / "llama";
  const auto text = sluice(workspace, {"check", llama.string()});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("llama, 2 layers of width 64, 128 positions"));
  EXPECT_THAT(text.out, HasSubstr("stored as bfloat16"));
  EXPECT_THAT(text.out, HasSubstr("512 bytes a token in float32, 256 in 16 bits"));

  const Json json = parse_json(sluice(workspace, {"check", llama.string(), "--json"}).out, "check");
  // 2 * 256 * 64, and in each of 2 layers 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 80 + 2 * 64; the last norm.
  EXPECT_EQ(json["parameters"], 32768 + 2 * (8192 + 4096 + 15360 + 128) + 64);
  const Json& served = json["memory"]["served"];
  EXPECT_EQ(served["kv_cache_per_token"], 2 * 2 * 2 * 16 * 4);
  EXPECT_EQ(served["kv_cache_per_token_16_bits"], 2 * 2 * 2 * 16 * 2);
  EXPECT_FALSE(served.contains("activations"));  // of no row that is known
  EXPECT_EQ(served["total"], served["weights"]);
  EXPECT_EQ(json["memory"]["trained"]["total"], 4 * served["weights"].get<int64_t>());
  EXPECT_EQ(sluice(workspace, {"check", llama.string(), "steps=3"}).code, 2);
  EXPECT_EQ(sluice(workspace, {"check", workspace.run().parent_path().string()}).code, 2);  // not there
}

TEST(Commands, CheckPlansADirectoryThatHasNoWeightsYet) {
  const Workspace workspace;
  const auto golden = fs::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / "llama";
  fs::create_directory(workspace / "model");
  fs::copy_file(golden / "config.json", workspace / "model" / "config.json");
  const auto text = sluice(workspace, {"check", "model"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("weights are not there"));
  const Json json = parse_json(sluice(workspace, {"check", "model", "--json"}).out, "check");
  EXPECT_EQ(json["dtype"], nullptr);
  EXPECT_EQ(json["memory"]["served"]["weights"], 4 * json["parameters"].get<int64_t>());
}

TEST(Commands, CheckAcceptsTheShippedRecipes) {
  const Workspace workspace;
  for (const char* name : {"shakespeare_words", "gsm8k_arithmetic"}) {
    const auto check = sluice(workspace, {"check", shipped(name)});
    EXPECT_EQ(check.code, 0) << check.out << check.err;
  }
}

TEST(Commands, DataLeakFindsHeldOutRowsAmongTheTrainingOnes) {
  const Workspace workspace;
  EXPECT_EQ(sluice(workspace, {"data", "leak", shipped("gsm8k_arithmetic")}).code, 0);

  const auto kept =
      sluice(workspace, {"data", "leak", shipped("gsm8k_arithmetic"), "data.keep_seen=true", "--json"});
  EXPECT_EQ(kept.code, 1);
  const Json report = parse_json(kept.out, "leak");
  EXPECT_GT(report[0]["leaked"], 0);
  EXPECT_GT(report[0]["train_rows"], report[0]["leaked"]);
}

TEST(Commands, DoctorSaysWhatIsThere) {
  const Workspace workspace;
  const auto doctor = sluice(workspace, {"doctor", "--json"});
  EXPECT_EQ(doctor.code, 0);
  const Json report = parse_json(doctor.out, "doctor");
  EXPECT_GE(report["cores"], 1);
  EXPECT_TRUE(report.contains("redis_server"));
  EXPECT_TRUE(report["cuda"].contains("devices"));
  const std::string level = report["sandbox"]["level"];
  EXPECT_EQ(level == "namespaces", report["sandbox"]["why_not_more"] == "");
  const auto without = sluice(workspace, {"doctor"}, {{"PATH", "/nowhere"}});
  EXPECT_THAT(without.out, HasSubstr("apt-get install redis-server"));
  EXPECT_THAT(without.out, HasSubstr("sandbox       none, not more: limits: cannot start"));
}

TEST(Commands, HelpNamesEveryKeyAndReward) {
  const Workspace workspace;
  EXPECT_THAT(sluice(workspace, {"help", "recipe"}).out, HasSubstr("`prompts_per_step`"));
  EXPECT_THAT(sluice(workspace, {"help", "rewards"}).out, HasSubstr("real_words: "));
  const auto help = sluice(workspace, {"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("Run a recipe"));
}

// A run with an evaluation before and after leaves summary.json, and `eval` measures its model alike.
TEST(Commands, SummaryHoldsWhatARunMeasuredAndEvalMeasuresItAgain) {
  const Workspace workspace;
  const std::string evaluation = "[[stages]]\nuse = \"eval\"\nname = \"";
  std::string recipe = read_file(workspace / "recipe.toml");
  recipe.insert(recipe.rfind("[[stages]]"), evaluation + "eval_before\"\n\n");
  write_plain(workspace / "recipe.toml", recipe + evaluation + "eval_after\"\n");

  const auto run = sluice(workspace, {"run", "recipe.toml", "sft.steps=3", "grpo.steps=3"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  const Json summary = read_json(workspace.run() / "summary.json");
  EXPECT_EQ(summary.at("schema"), 1);
  EXPECT_GT(summary.at("seconds"), 0.0);
  std::vector<std::string> stages, figures;
  for (const auto& stage : summary.at("stages")) {
    stages.push_back(stage.at("name"));
    if (stage.at("use") != "eval") {
      EXPECT_EQ(stage.at("steps"), 3);
    }
  }
  for (const auto& eval : summary.at("evals")) {
    figures.push_back(eval.at("stage").get<std::string>() + " " + eval.at("metric").get<std::string>());
    EXPECT_EQ(eval.at("split"), "held_out");
    EXPECT_EQ(eval.at("n"), 8);
    EXPECT_TRUE(eval.at("value").is_number());
    EXPECT_GE(eval.at("stderr"), 0.0);
  }
  EXPECT_THAT(stages, ElementsAre("sft", "eval_before", "grpo", "eval_after"));
  EXPECT_THAT(figures, ElementsAre("eval_before reward", "eval_after reward", "eval_after kl"));
  EXPECT_THAT(run.out, HasSubstr("before  "));
  EXPECT_THAT(run.out, HasSubstr((workspace.run() / "summary.json").string()));
  EXPECT_TRUE(fs::exists(workspace.run() / "recipe.resolved.json"));
  EXPECT_TRUE(fs::exists(workspace.run() / "logs" / "actor-1.log"));

  const auto again = sluice(workspace, {"eval", "recipe.toml", "--model", "runs/tiny", "--json"});
  ASSERT_EQ(again.code, 0) << again.err;
  const Json figure = parse_json(again.out, "eval")["evals"][0];
  EXPECT_EQ(figure["metric"], "reward");
  EXPECT_EQ(figure["value"], summary["evals"][1]["value"]);
  EXPECT_EQ(sluice(workspace, {"tokenizer", "info", "runs/tiny"}).code, 0);
}

// The scorer that compares with a right answer, whatever it is called and wherever it stands, is reported
// greedily and sampled, each with its standard error.
TEST(Commands, EvalReportsExactRates) {
  const Workspace workspace;
  std::string rows;
  for (int i = 0; i < 8; ++i) {
    rows += "{\"prompt\": \"" + std::to_string(i) + "+1=\", \"completion\": \"" + std::to_string(i + 1) +
            "\", \"answer\": \"" + std::to_string(i + 1) + "\"}\n";
  }
  write_plain(workspace / "rows.jsonl", rows);
  write_plain(workspace / "sums.toml",
              R"(rewards = [{ use = "length", max = 2 }, { use = "numeric_answer", name = "right" }]
model = { hidden_size = 32, layers = 1, heads = 2, intermediate_size = 64, max_position = 32 }
tokenizer = { train = "characters" }
data = { path = "rows.jsonl", test_path = "rows.jsonl" }
evaluation = { prompts = 0, samples = 2, greedy = true }
rollout = { max_new_tokens = 3 }
[[stages]]
use = "sft"
steps = 1
[[stages]]
use = "eval"
)");
  const auto run = sluice(workspace, {"run", "sums.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  std::vector<std::string> metrics;
  const Json summary = read_json(workspace.run("sums") / "summary.json");
  for (const auto& eval : summary.at("evals")) {
    metrics.push_back(eval.at("metric"));
    EXPECT_EQ(eval.at("n"), 8);
  }
  EXPECT_THAT(metrics, ElementsAre("reward", "exact_sampled", "exact_greedy"));
}

}  // namespace
}  // namespace sluice::app
