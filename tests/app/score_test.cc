// `score`: the log-probs that transformers gives to the same ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "model/scalar_head.h"
#include "tests/app/model_folder.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::HasSubstr;

struct ScoreGolden : testing::TestWithParam<std::string> {
  ScoreGolden() {
    std::vector<std::vector<int32_t>> lists;
    for (const auto& one : golden_.at("cases")) {
      lists.push_back(one.at("prompt"));
      for (const int32_t token : one.at("tokens")) lists.back().push_back(token);
    }
    write_plain(workspace_ / "ids.jsonl", id_lines(lists));
  }

  void expect_near(const std::string& dtype, double bound) const {
    const auto run = sluice(workspace_, {"score", golden_folder(GetParam()).string(), "--file", "ids.jsonl",
                                         "--ids", "--json", "--dtype", dtype});
    ASSERT_EQ(run.code, 0) << run.err;
    const auto lines = json_lines(run.out);
    ASSERT_EQ(lines.size(), golden_.at("cases").size());
    for (size_t i = 0; i < lines.size(); ++i) {
      const auto& one = golden_.at("cases")[i];
      auto expected = one.at("prompt_logprobs").get<std::vector<double>>();
      for (const double logprob : one.at("logprobs")) expected.push_back(logprob);
      EXPECT_EQ(lines[i].at("ids").size(), expected.size() + 1);
      EXPECT_THAT(lines[i].at("logprobs").get<std::vector<double>>(),
                  testing::Pointwise(testing::DoubleNear(bound), expected));
    }
  }

  Workspace workspace_;
  const Json golden_ = read_json(golden_folder(GetParam()) / "golden.json");
};

TEST_P(ScoreGolden, LogprobsAreThoseOfTransformers) {
  expect_near("float32", 1e-4);
  expect_near("bfloat16", 2e-2);
}

INSTANTIATE_TEST_SUITE_P(Families, ScoreGolden, testing::ValuesIn(tested_goldens()),
                         [](const auto& info) { return info.param; });

struct Score : testing::Test {
  Score() { write_letters(workspace_ / "letters"); }

  Finished run(const std::string& lines, std::vector<std::string> more = {}) const {
    write_plain(workspace_ / "texts.jsonl", lines);
    std::vector<std::string> arguments = {"score", "letters", "--file", "texts.jsonl"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return sluice(workspace_, arguments);
  }

  Workspace workspace_;
};

TEST_F(Score, TextIsScoredAsTheTokenizerCutsIt) {
  const auto lines = json_lines(run("{\"text\": \"hello world\"}\n{\"text\": \"a\"}\n", {"--json"}).out);
  ASSERT_EQ(lines.size(), 2);
  const auto tokenizer = text::load_tokenizer(workspace_ / "letters");
  EXPECT_EQ(lines[0].at("ids"), Json(tokenizer->with_specials(tokenizer->encode("hello world"))));
  EXPECT_EQ(lines[1].at("ids"), Json(tokenizer->with_specials(tokenizer->encode("a"))));
  for (const auto& line : lines) EXPECT_EQ(line.at("logprobs").size() + 1, line.at("ids").size());
}

TEST_F(Score, PrintsSumsMeansAndPerplexity) {
  const std::string texts = "{\"ids\": [5, 6, 7]}\n{\"ids\": [9]}\n";
  const auto json = json_lines(run(texts, {"--json", "--ids"}).out);
  EXPECT_EQ(json[1].at("logprobs"), Json::array());  // nothing comes before a first token
  const double sum = json[0].at("logprobs")[0].get<double>() + json[0].at("logprobs")[1].get<double>();

  const auto plain = run(texts, {"--ids"}).out;
  std::ostringstream expected;
  expected << "texts.jsonl:1: 2 tokens, sum " << sum << ", mean " << sum / 2 << ", perplexity "
           << std::exp(-sum / 2) << '\n';
  EXPECT_THAT(plain, HasSubstr(expected.str()));
  EXPECT_THAT(plain, HasSubstr("texts.jsonl:2: 0 tokens, sum 0\n"));
  EXPECT_THAT(plain, HasSubstr("all: 2 tokens, sum "));
}

// More lines than one forward takes: every line has the numbers it has alone.
TEST_F(Score, AFileIsScoredInPacksThatChangeNothing) {
  std::string texts;
  for (int i = 0; i < 200; ++i) {
    texts += "{\"text\": \"" +
             std::string(static_cast<size_t>(1 + 7 * i % 60), static_cast<char>('a' + i % 26)) + "\"}\n";
  }
  const auto lines = json_lines(run(texts, {"--json"}).out);
  ASSERT_EQ(lines.size(), 200);
  for (const size_t i : {0, 77, 199}) {
    const auto alone =
        json_lines(run(Json{{"ids", lines[i].at("ids")}}.dump() + "\n", {"--json", "--ids"}).out);
    EXPECT_THAT(
        alone[0].at("logprobs").get<std::vector<double>>(),
        testing::Pointwise(testing::DoubleNear(1e-5), lines[i].at("logprobs").get<std::vector<double>>()));
  }
}

TEST_F(Score, LinesOfIdsNeedNeitherTheFlagNorATokenizer) {
  const std::string ids = "{\"ids\": [5, 6, 7]}\n";
  const auto expected = run(ids, {"--ids", "--json"}).out;
  EXPECT_EQ(json_lines(expected).size(), 1u);
  write_plain(workspace_ / "letters" / "tokenizer.json", "damaged");
  EXPECT_EQ(run(ids, {"--json"}).out, expected);
  EXPECT_EQ(run(ids, {"--ids", "--json"}).out, expected);
  const auto text = run(ids + "{\"text\": \"a\"}\n", {"--json"});
  EXPECT_EQ(text.code, 3);
  EXPECT_THAT(text.err, HasSubstr("tokenizer.json"));
}

TEST_F(Score, WeightsThatAreNoNumbersGiveNoLine) {
  write_broken_letters(workspace_ / "letters");
  const auto finished = run("{\"ids\": [9]}\n{\"ids\": [5, 6]}\n", {"--json"});
  EXPECT_EQ(finished.code, 1);
  EXPECT_THAT(finished.err, HasSubstr("texts.jsonl:2: a log-prob is"));
  EXPECT_EQ(finished.out, "");
}

TEST_F(Score, OfARewardModelIsTheNumberAtTheEnd) {
  const auto policy = model::load_model(workspace_ / "letters", at::kCPU);
  const auto judge = model::with_scalar_head(*policy, 5);
  model::save_model(workspace_ / "letters", *judge, {.dtype = at::kFloat});
  const auto finished = run("{\"ids\": [5, 6, 7]}\n{\"ids\": [9]}\n", {"--ids", "--json"});
  const auto lines = json_lines(finished.out);
  ASSERT_EQ(lines.size(), 2) << finished.err;
  model::PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>{5, 6, 7});
  const auto score = judge->scores(builder.build(at::kCPU), at::tensor({2}, at::kLong)).item<double>();
  EXPECT_NEAR(lines[0].at("score"), score, 1e-6);
  EXPECT_FALSE(lines[0].contains("logprobs"));
  EXPECT_THAT(run("{\"ids\": [9]}\n").out, HasSubstr("texts.jsonl:1: 1 tokens, score "));
}

TEST_F(Score, RefusesLinesThatCannotBeScored) {
  const auto refused = [&](const std::string& line, const std::string& part) {
    const auto finished = run("{\"text\": \"a\"}\n" + line + "\n", {"--json"});
    EXPECT_EQ(finished.code, 3);
    EXPECT_THAT(finished.err, HasSubstr(part));
    EXPECT_EQ(finished.out, "");
  };
  refused("{\"text\": 3}", "texts.jsonl:2");
  refused("{\"text\": \"\"}", "texts.jsonl:2: \"text\" is empty");
  refused("{\"txt\": \"a\"}", "texts.jsonl:2");
  refused("{\"text\": \"a\", \"text\": \"b\"}", "texts.jsonl:2");
  refused("{\"text\": \"" + std::string(70, 'a') + "\"}", "do not fit the model's 64 positions");
  EXPECT_EQ(sluice(workspace_, {"score", "letters"}).code, 2);
}

}  // namespace
}  // namespace sluice::app
