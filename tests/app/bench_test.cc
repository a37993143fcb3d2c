// Every row of `bench` in short: which fields it has and that its numbers are some. How fast anything is, is
// not asked here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "tests/app/model_folder.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

struct Bench : testing::Test {
  // The rows behind the ceilings.
  std::vector<Json> rows(std::vector<std::string> arguments,
                         std::map<std::string, std::string> environment = {}) {
    arguments.insert(arguments.begin(), "bench");
    arguments.push_back("--json");
    const auto finished = sluice(workspace_, std::move(arguments), std::move(environment));
    EXPECT_EQ(finished.code, 0) << finished.err;
    err_ = finished.err;
    auto lines = json_lines(finished.out);
    if (lines.empty()) return lines;
    expect_ceilings(lines.front());
    lines.erase(lines.begin());
    return lines;
  }

  static void expect_ceilings(const Json& line) {
    EXPECT_EQ(line.at("row"), "ceilings");
    EXPECT_GT(line.at("fma_gflop_s"), 0);
    EXPECT_GT(line.at("hand_off_ns"), 0);
    EXPECT_TRUE(line.at("read_gb_s").contains("256"));
    for (const auto& rate : line.at("read_gb_s")) EXPECT_GT(rate, 0);
  }

  static void expect_row(const Json& line, const std::string& row, const std::string& dtype, int64_t batch) {
    EXPECT_EQ(line.at("row"), row);
    EXPECT_EQ(line.at("dtype"), dtype);
    EXPECT_EQ(line.at("batch"), batch);
    EXPECT_GT(line.at("tokens_per_s"), 0);
    EXPECT_GE(line.at("spread"), 0);
    EXPECT_GE(line.at("others"), 0);
  }

  Workspace workspace_;
  std::string err_;
};

// What the plain command prints, asked once: rows of every kind, of both dtypes.
struct BenchTable : Bench {
  const std::vector<Json>& all() {
    static const auto lines =
        rows({"--model", "tiny",       "--batch",     "4",          "--group", "2",       "--prompt",
              "5",       "--new",      "12",          "--requests", "10",      "--steps", "20",
              "--vocab", "2000,40000", "--megabytes", "1,4",        "--reps",  "1"});
    return lines;
  }
  // Those of one kind.
  std::vector<Json> of(const std::string& row) {
    std::vector<Json> found;
    std::ranges::copy_if(all(), std::back_inserter(found),
                         [&](const Json& line) { return line.at("row") == row; });
    return found;
  }
  // Those that are float32 and bfloat16, and both in common.
  std::vector<Json> of_both_dtypes(const std::string& row) {
    auto lines = of(row);
    EXPECT_EQ(lines.size(), 2);
    lines.resize(2);
    expect_row(lines[0], row, "float32", 4);
    expect_row(lines[1], row, "bfloat16", 4);
    return lines;
  }
};

TEST_F(Bench, MonitorTellsOfManyActorsAndLosesNothing) {
  const auto finished =
      sluice(workspace_, {"bench", "monitor", "--actors", "200", "--rate", "10", "--seconds", "2", "--json"});
  ASSERT_EQ(finished.code, 0) << finished.err;
  const auto line = parse_json(finished.out, "a row");
  EXPECT_EQ(line.at("row"), "monitor");
  EXPECT_EQ(line.at("metrics_entries"), 20);
  EXPECT_EQ(line.at("dropped"), 0);
  EXPECT_EQ(line.at("problem"), "");
  EXPECT_GT(line.at("core_share"), 0);
  EXPECT_GT(line.at("event_bytes_per_s"), 0);
  EXPECT_LT(line.at("status_ms_p95"), 5'000);
}

TEST_F(Bench, RedisThatIsUnwellIsSaidCostsLittleAndIsRightAgain) {
  const auto finished = sluice(workspace_, {"bench", "redis", "--step-ms", "5", "--seconds", "1", "--json"});
  ASSERT_EQ(finished.code, 0) << finished.err;
  std::istringstream lines(finished.out);
  std::map<std::string, std::string> said;
  for (std::string line; std::getline(lines, line);) {
    const auto row = parse_json(line, "a row");
    said[row.at("fault")] = row.at("said");
    EXPECT_GT(row.at("steps"), 10) << line;
    EXPECT_LT(row.at("step_ratio"), 1.5) << line;  // 0.2 s of waiting would be 40
    EXPECT_LT(row.at("right_again_s"), 5) << line;
  }
  EXPECT_EQ(said.at("none"), "");
  EXPECT_THAT(said.at("stopped"), HasSubstr(" is gone ("));
  EXPECT_THAT(said.at("frozen"), HasSubstr(" is gone ("));
  EXPECT_THAT(said.at("flushed"), HasSubstr("had lost the keys of this run"));
  EXPECT_THAT(said.at("full"), HasSubstr(" is full ("));
}

TEST_F(Bench, DecodeHasALineForEachDtypeAndBatch) {
  const auto lines = rows({"decode", "--model", "tiny", "--dtype", "float32,bfloat16", "--batch", "1,4",
                           "--group", "2", "--prompt", "20", "--new", "4", "--reps", "2"});
  ASSERT_EQ(lines.size(), 4);
  expect_row(lines[0], "decode", "float32", 1);
  expect_row(lines[1], "decode", "bfloat16", 1);
  expect_row(lines[2], "decode", "float32", 4);
  expect_row(lines[3], "decode", "bfloat16", 4);
  for (const auto& line : lines) {
    EXPECT_EQ(line.at("model"), "tiny");
    EXPECT_EQ(line.at("group"), line.at("batch") == 1 ? 1 : 2);
    EXPECT_GT(line.at("limit_share"), 0);
    EXPECT_NEAR(line.at("limit_share").get<double>() * line.at("limit_tokens_per_s").get<double>(),
                line.at("tokens_per_s").get<double>(), 0.01 * line.at("tokens_per_s").get<double>());
    EXPECT_THAT((std::set<std::string>{"flop", "bytes"}), testing::Contains(line.at("limited_by")));
    EXPECT_GT(line.at("tokens_per_s_without_sampling"), 0);
    EXPECT_EQ(line.at("peers"), Json::object());
    EXPECT_TRUE(line.at("best_peer_ratio").is_null());
  }
}

TEST_F(BenchTable, RaggedComparesWithEvenLengthsAndWithBatchesThatWait) {
  for (const auto& line : of_both_dtypes("ragged")) {
    for (const char* name : {"even_tokens_per_s", "even_share", "waiting_tokens_per_s", "waiting_ratio",
                             "static_tokens_per_s", "static_ratio", "limit_share"}) {
      EXPECT_GT(line.at(name), 0) << name;
    }
  }
}

TEST_F(BenchTable, PrefillSaysWhatAGroupCosts) {
  for (const auto& line : of_both_dtypes("prefill")) {
    EXPECT_EQ(line.at("group"), 2);
    EXPECT_GT(line.at("group_cost"), 0);
    EXPECT_GT(line.at("limit_share"), 0);
  }
}

TEST_F(BenchTable, SteadyCountsTheMemoryOfItsSteps) {
  for (const auto& line : of_both_dtypes("steady")) {
    EXPECT_EQ(line.at("steps"), 20);
    EXPECT_TRUE(line.at("rss_growth_bytes").is_number_integer());
  }
}

TEST_F(BenchTable, SteadyLearnerCountsTheMemoryOfItsSteps) {
  const auto lines = of("steady_learner");
  ASSERT_EQ(lines.size(), 1);
  expect_row(lines[0], "steady_learner", "float32", 4);
  EXPECT_EQ(lines[0].at("steps"), 20);
  EXPECT_TRUE(lines[0].at("rss_growth_bytes").is_number_integer());
}

TEST_F(BenchTable, ReadSaysWhatATokenCostsOfASmallAndALargerFile) {
  const auto lines = of("read");
  ASSERT_EQ(lines.size(), 2);
  EXPECT_EQ(lines[1].at("megabytes"), 4);
  for (const auto& line : lines) {
    EXPECT_GT(line.at("ns_per_token"), 0);
    EXPECT_GT(line.at("open_s"), 0);
    EXPECT_GT(line.at("tokens"), 20 * 64 * 40);
    EXPECT_GE(line.at("packs"), line.at("tokens").get<int64_t>() / 4096);
    EXPECT_TRUE(line.at("rss_growth_bytes").is_number_integer());
  }
}

TEST_F(Bench, DraftsOfAGreedyCompletionAreKept) {
  const auto lines = rows({"draft", "--model", "tiny", "--dtype", "int8", "--new", "200", "--reps", "1"});
  ASSERT_EQ(lines.size(), 2);
  for (const auto& line : lines) expect_row(line, "draft", "int8", 1);
  EXPECT_EQ(lines[0].at("temperature"), 0);
  EXPECT_GT(lines[0].at("accepted"), 0);
  EXPECT_GT(lines[0].at("ratio"), 0);
}

TEST_F(BenchTable, SamplerStandsBesideTorch) {
  const auto lines = of("sampler");
  ASSERT_EQ(lines.size(), 2);
  for (const auto& line : lines) {
    expect_row(line, "sampler", "float32", 16);
    EXPECT_GT(line.at("ns_per_element"), 0);
    EXPECT_GT(line.at("ns_per_element_filtered"), 0);
    EXPECT_GT(line.at("peers").at("torch-fp32"), 0);
    EXPECT_GT(line.at("best_peer_ratio"), 0);
    EXPECT_TRUE(line.at("limit_share").is_null());
  }
  EXPECT_EQ(lines[0].at("vocab"), 2000);
}

TEST_F(Bench, MatchFindsNoDifferenceInAnyShape) {
  const auto finished =
      sluice(workspace_, {"bench", "match", "--json", "--dtype", "float32,bfloat16", "--model",
                          "tiny,S,qwen2,gemma2," + golden_folder("qwen3").string()});
  EXPECT_EQ(finished.code, 0) << finished.out << finished.err;
  const auto lines = json_lines(finished.out);
  ASSERT_EQ(lines.size(), 5 * 2 * 2);  // shapes, dtypes, threads
  for (const auto& line : lines) {
    EXPECT_EQ(line.at("row"), "match");
    EXPECT_EQ(line.at("compared"), 5 * (4 + 7 + 10 + 13 + 16 + 19 + 22 + 25));
    EXPECT_EQ(line.at("different"), 0) << line;
    EXPECT_EQ(line.at("max_difference"), 0) << line;
  }
}

// Attention there is latent, which the kernels do not compute: its log-probs are near, not equal.
TEST_F(Bench, MatchFailsWhereBitsDiffer) {
  const auto finished =
      sluice(workspace_, {"bench", "match", "--json", "--model", golden_folder("deepseek_v3").string()});
  const auto lines = json_lines(finished.out);
  ASSERT_FALSE(lines.empty());
  const bool differs =
      std::any_of(lines.begin(), lines.end(), [](const Json& line) { return line.at("different") > 0; });
  EXPECT_EQ(finished.code, differs ? 1 : 0);
}

TEST_F(BenchTable, LearningHasALineForEachModelAndBatch) {
  const auto lines = of("learn_ragged");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("group"), 2);
  EXPECT_EQ(lines[0].at("limited_by"), "flop");
  EXPECT_GT(lines[0].at("tokens_per_s"), 0);
}

TEST_F(BenchTable, GrpoTakesStepsOfARunAndSaysWhereTheTimeGoes) {
  const auto lines = of("grpo");
  ASSERT_EQ(lines.size(), 1);
  const auto& line = lines[0];
  expect_row(line, "grpo", "float32", 4);
  EXPECT_EQ(line.at("limited_by"), "flop");
  EXPECT_GT(line.at("limit_share"), 0);
  EXPECT_NEAR(line.at("samples_per_s").get<double>(), line.at("tokens_per_s").get<double>(), 1e-3);
  EXPECT_NEAR(line.at("mean_length").get<double>(), 12, 0.5);
  double sum = 0;
  for (const auto& share : line.at("time_share")) sum += share.get<double>();
  EXPECT_NEAR(sum, 1, 0.02);
  EXPECT_TRUE(line.at("time_share").contains("train"));
}

TEST_F(BenchTable, LearnsAlsoWithProductsOfBFloat16) {
  EXPECT_GT(of_both_dtypes("learn")[1].at("limit_share"), 0);
  const auto int8 = sluice(workspace_, {"bench", "learn", "--dtype", "int8"});
  EXPECT_EQ(int8.code, 2);
  EXPECT_THAT(int8.err, HasSubstr("bench learn: nothing learns with weights of int8"));
}

TEST_F(BenchTable, MemoryGrowsByAFewCopiesOfTheVocabulary) {
  const auto lines = of("memory");
  ASSERT_EQ(lines.size(), 1);
  EXPECT_GT(lines[0].at("peak_bytes").at("40000"), lines[0].at("peak_bytes").at("2000"));
  EXPECT_EQ(lines[0].at("needed_copies"), 4);
  EXPECT_GE(lines[0].at("copies_of_the_weights"), 3.9);
  EXPECT_LE(lines[0].at("copies_of_the_weights"), 7.5);
}

TEST_F(Bench, MemoryIsOfAsManyCompletionsAsAreSaid) {
  const auto finished = sluice(workspace_, {"bench", "memory", "--vocab", "2000", "--batch", "2", "--json"});
  ASSERT_EQ(finished.code, 0) << finished.err;
  const auto lines = json_lines(finished.out);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0].at("batch"), 2);
  EXPECT_GT(lines[0].at("peak_bytes").at("2000"), 0);
}

TEST_F(BenchTable, HasRowsOfEveryKind) {
  std::multiset<std::string> names;
  for (const auto& line : all()) names.insert(line.at("row"));
  // Both dtypes; `match` with 1 and 2 threads.
  EXPECT_EQ(names, (std::multiset<std::string>{"adamw",         "decode",  "decode",
                                               "draft",         "draft",   "draft",
                                               "draft",         "grpo",    "grpo_slow_reward",
                                               "learn",         "learn",   "learn_ragged",
                                               "logprob",       "match",   "match",
                                               "match",         "match",   "memory",
                                               "prefill",       "prefill", "publish",
                                               "publish",       "ragged",  "ragged",
                                               "read",          "read",    "sampler",
                                               "sampler",       "steady",  "steady",
                                               "steady_learner"}));
}

TEST_F(Bench, IsATableForPeople) {
  const auto text =
      sluice(workspace_, {"bench", "decode", "--model", "tiny", "--batch", "1", "--new", "2", "--reps", "1"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("ceilings of 2 threads: "));
  EXPECT_THAT(text.out, HasSubstr("decode       tiny  float32"));
}

TEST_F(Bench, RefusesWhatIsNoModelOrNoBatchOfGroups) {
  const auto model = sluice(workspace_, {"bench", "decode", "--model", "XL"});
  EXPECT_EQ(model.code, 2);
  const auto group =
      sluice(workspace_, {"bench", "decode", "--model", "tiny", "--batch", "8", "--group", "3"});
  EXPECT_EQ(group.code, 2);
  EXPECT_THAT(group.err, HasSubstr("a batch of 8 does not consist of groups of 3"));
  const auto peers =
      sluice(workspace_, {"bench", "decode", "--peers", "nowhere"}, {{"SLUICE_PEERS_PYTHON", "/bin/sh"}});
  EXPECT_EQ(peers.code, 2);
  EXPECT_THAT(peers.err, HasSubstr("no bench_generate.py in nowhere"));
}

// Scripts that print what the kit's print: transformers at 10 and 20 tokens/s, llama.cpp at 40 to 4e9, and
// CTranslate2, which fails.
struct BenchPeers : Bench {
  BenchPeers() {
    write_plain(workspace_ / "kit/make_model.py",
                "import pathlib, sys\n"
                "pathlib.Path(sys.argv[sys.argv.index('--out') + 1]).mkdir(parents=True)\n");
    write_plain(workspace_ / "kit/bench_generate.py", R"(
import json, pathlib, sys
value = lambda name: sys.argv[sys.argv.index(name) + 1]
assert pathlib.Path(value('--model')).name == 'tiny' and pathlib.Path(value('--model')).is_dir()
if value('--peer') == 'ct2':
    sys.exit('no such wheel')
rates = {'hf': {'fp32': 10, 'bf16': 20}, 'llamacpp': {'fp32': 40, 'bf16': 80, 'f16': 60, 'q8_0': 4e9}}
for dtype in value('--dtype').split(','):
    rate = rates[value('--peer')][dtype]
    print(json.dumps(dict(peer=value('--peer'), dtype=dtype, batch=int(value('--batch')), decode_tok_s=rate,
                          prompt_tok_s=2 * rate, prompt_s=1.0, others=0.5 if dtype == 'f16' else 0.0)))
)");
  }

  std::vector<Json> rows_beside_peers(std::vector<std::string> arguments) {
    for (const char* word : {"--model", "tiny", "--batch", "2", "--prompt", "4", "--new", "3", "--reps", "1",
                             "--peers", "kit", "--peers-python", "/usr/bin/python3"}) {
      arguments.emplace_back(word);
    }
    return rows(std::move(arguments));
  }
};

TEST_F(BenchPeers, CountWhereTheirWeightsTakeAsManyBytesOrMore) {
  const auto lines = rows_beside_peers({"decode", "--dtype", "float32,bfloat16"});
  ASSERT_EQ(lines.size(), 2);
  const Json peers = {{"hf-bf16", 20.0},      {"hf-fp32", 10.0},       {"llamacpp-bf16", 80.0},
                      {"llamacpp-f16", 60.0}, {"llamacpp-fp32", 40.0}, {"llamacpp-q8_0", 4e9}};
  for (const auto& line : lines) EXPECT_EQ(line.at("peers"), peers);
  EXPECT_EQ(lines[0].at("best_peer"), "llamacpp-fp32");
  EXPECT_NEAR(lines[0].at("best_peer_ratio"), lines[0].at("tokens_per_s").get<double>() / 40, 1e-3);
  EXPECT_EQ(lines[1].at("best_peer"), "llamacpp-bf16");
  EXPECT_NEAR(lines[1].at("best_peer_ratio"), lines[1].at("tokens_per_s").get<double>() / 80, 1e-3);
  EXPECT_THAT(err_, HasSubstr("peer ct2 is left out: exit 1: no such wheel"));
  EXPECT_THAT(err_, HasSubstr("others kept 0.5 cores busy while llamacpp f16 was measured"));
  EXPECT_TRUE(fs::exists(workspace_ / "kit/models/tiny"));
}

TEST_F(BenchPeers, DoTheWorkOfTheOtherRows) {
  const auto prefill = rows_beside_peers({"prefill"});
  ASSERT_EQ(prefill.size(), 1);
  EXPECT_EQ(prefill[0].at("peers"), (Json{{"hf-fp32", 20.0}, {"llamacpp-fp32", 80.0}}));
  EXPECT_THAT(err_, Not(HasSubstr("f16")));
  // 4 completions of 3 tokens in batches of 2: as many tokens as their batches are long.
  const auto ragged = rows_beside_peers({"ragged", "--requests", "4"});
  ASSERT_EQ(ragged.size(), 1);
  EXPECT_EQ(ragged[0].at("peers"), (Json{{"hf-fp32", 10.0}, {"llamacpp-fp32", 40.0}}));
}

}  // namespace
}  // namespace sluice::app
