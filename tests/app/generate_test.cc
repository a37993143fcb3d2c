// `generate`: the tokens that transformers chooses, in any batch; text where there is a tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/app/model_folder.h"
#include "tests/app/sluice_process.h"
#include "text/chat_template.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAreArray;
using testing::HasSubstr;

struct Generate : testing::Test {
  std::vector<Json> run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "generate");
    arguments.push_back("--json");
    const auto finished = sluice(workspace_, std::move(arguments));
    EXPECT_EQ(finished.code, 0) << finished.err;
    return json_lines(finished.out);
  }

  void expect_refused(std::vector<std::string> arguments, int code, const std::string& part) const {
    arguments.insert(arguments.begin(), "generate");
    const auto finished = sluice(workspace_, std::move(arguments));
    EXPECT_EQ(finished.code, code) << finished.out << finished.err;
    EXPECT_THAT(finished.err, HasSubstr(part));
    EXPECT_EQ(finished.out, "");
  }

  void write_prompts(const std::string& lines) const { write_plain(workspace_ / "prompts.jsonl", lines); }

  // The letters' directory, made when it is first asked for.
  std::string letters() const {
    const auto directory = workspace_ / "letters";
    if (!fs::exists(directory)) write_letters(directory);
    return directory.string();
  }

  Workspace workspace_;
};

struct GenerateGolden : Generate, testing::WithParamInterface<std::string> {
  GenerateGolden() {
    std::vector<std::vector<int32_t>> prompts;
    for (const auto& one : golden_.at("cases")) prompts.push_back(one.at("prompt"));
    write_prompts(id_lines(prompts));
  }

  std::vector<Json> greedy(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {golden_folder(GetParam()).string(),
                                          "--ids",
                                          "--greedy",
                                          "--ignore-eos",
                                          "--prompts",
                                          "prompts.jsonl",
                                          "--max-tokens",
                                          "24"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  const Json golden_ = read_json(golden_folder(GetParam()) / "golden.json");
};

TEST_P(GenerateGolden, TokensAndLogprobsAreThoseOfTransformersInAnyBatch) {
  for (const auto& lines : {greedy(), greedy({"--batch", "1"}), greedy({"--batch", "3"})}) {
    ASSERT_EQ(lines.size(), golden_.at("cases").size());
    for (size_t i = 0; i < lines.size(); ++i) {
      const auto& one = golden_.at("cases")[i];
      EXPECT_EQ(lines[i].at("ids"), one.at("tokens"));
      EXPECT_EQ(lines[i].at("finish_reason"), "length");
      EXPECT_FALSE(lines[i].contains("text"));
      const auto expected = one.at("logprobs").get<std::vector<double>>();
      EXPECT_THAT(lines[i].at("logprobs").get<std::vector<double>>(),
                  testing::Pointwise(testing::DoubleNear(1e-4), expected));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GenerateGolden, testing::ValuesIn(tested_goldens()),
                         [](const auto& info) { return info.param; });

TEST_F(Generate, EndsWithAnIdThatTheDirectoryNames) {
  const auto model = workspace_ / "model";
  fs::copy(golden_folder("llama"), model);
  write_plain(model / "generation_config.json", R"({"eos_token_id": [2, 147]})");  // the second token
  write_prompts("{\"ids\": [86]}\n\n{\"ids\": [171, 181, 95, 179, 242]}\n");
  const auto lines =
      run({model.string(), "--ids", "--greedy", "--prompts", "prompts.jsonl", "--max-tokens", "5"});
  ASSERT_EQ(lines.size(), 2);
  EXPECT_EQ(lines[0].at("ids"), Json({139, 147}));
  EXPECT_EQ(lines[0].at("finish_reason"), "stop");
  EXPECT_EQ(lines[1].at("ids"), Json({211, 211, 255, 55, 142}));
  EXPECT_EQ(lines[1].at("finish_reason"), "length");
}

TEST_F(Generate, PrintsTextInTheOrderOfThePrompts) {
  write_prompts("{\"prompt\": \"a long prompt comes first\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"cc\"}\n");
  const std::vector<std::string> arguments = {letters(),      "--prompts", "prompts.jsonl", "--seed", "4",
                                              "--max-tokens", "9"};
  const auto lines = run(arguments);
  ASSERT_EQ(lines.size(), 3);
  const auto tokenizer = text::load_tokenizer(letters());
  std::string texts;
  for (const auto& line : lines) {
    auto ids = line.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(line.at("logprobs").size(), ids.size());
    std::erase_if(ids, [&](int32_t id) { return id >= tokenizer->vocab_size(); });  // ids that only pad
    EXPECT_EQ(line.at("text"), tokenizer->decode(ids));
    texts += tokenizer->decode(ids) + "\n";
  }
  auto plain = arguments;
  plain.insert(plain.begin(), "generate");
  EXPECT_EQ(sluice(workspace_, plain).out, texts);
  EXPECT_EQ(run(arguments), lines);  // the same seed
}

// A prompt gets the begin of sequence that its tokenizer puts there; a conversation is what the template
// says.
TEST_F(Generate, AsksWhatTheTokenizerOrTheTemplateMakesOfAPrompt) {
  const auto tokenizer = text::load_tokenizer(letters());
  const auto plain = tokenizer->with_specials(tokenizer->encode("hello"));
  const auto chat = tokenizer->encode("user hello</s>assistant ");
  EXPECT_EQ(std::count(chat.begin(), chat.end(), *tokenizer->eos_id()), 1);
  const auto ask = [&](std::vector<std::string> more) {
    more.insert(more.begin(), letters());
    more.insert(more.end(), {"--greedy", "--max-tokens", "6"});
    return run(more).at(0).at("logprobs");
  };
  write_prompts(id_lines({plain}));
  EXPECT_EQ(ask({"--prompt", "hello"}), ask({"--ids", "--prompts", "prompts.jsonl"}));
  write_prompts(id_lines({chat}));
  EXPECT_EQ(ask({"--chat", "--prompt", "hello"}), ask({"--ids", "--prompts", "prompts.jsonl"}));
}

TEST_F(Generate, KeepsToTheRoomThatTheModelHas) {
  const auto line = run({letters(), "--prompt", "hello", "--ignore-eos"}).at(0);
  const auto tokenizer = text::load_tokenizer(letters());
  const auto prompt = tokenizer->with_specials(tokenizer->encode("hello"));
  EXPECT_EQ(line.at("ids").size(), 64 - prompt.size());
}

TEST_F(Generate, RefusesALineThatCannotBeAPrompt) {
  const auto refused = [&](const std::string& bad, const std::string& part) {
    write_prompts("{\"ids\": [3]}\n" + bad + "\n");
    expect_refused(
        {golden_folder("llama").string(), "--ids", "--prompts", "prompts.jsonl", "--max-tokens", "100"}, 3,
        part);
  };
  refused("{\"ids\": [3", "prompts.jsonl:2");
  refused("[3]", "prompts.jsonl:2: expected a JSON object, saw array");
  refused("{\"prompt\": \"hello\"}", "prompts.jsonl:2");
  refused("{\"ids\": []}", "prompts.jsonl:2: \"ids\" is empty");
  refused("{\"ids\": [256]}", "prompts.jsonl:2: id 256, the model has 256 ids");
  refused("{\"ids\": [-1]}", "prompts.jsonl:2: id -1");
  refused("{\"ids\": [4294967299]}", "prompts.jsonl:2: id 4294967299");
  std::string long_one = "1";
  for (int i = 0; i < 28; ++i) long_one += ",1";
  refused("{\"ids\": [" + long_one + "]}",
          "prompts.jsonl:2: 29 tokens and 100 new ones do not fit the model's 128 positions");
  write_prompts("\n");
  expect_refused({golden_folder("llama").string(), "--ids", "--prompts", "prompts.jsonl"}, 3,
                 "prompts.jsonl: no line in it");
  write_prompts("{\"prompt\": \"\"}\n");
  expect_refused({letters(), "--prompts", "prompts.jsonl"}, 3, "prompts.jsonl:1: \"prompt\" is empty");
}

TEST_F(Generate, ATokenizerThatIsNotNeededNeedNotBeRead) {
  write_plain(fs::path(letters()) / "tokenizer.json", "damaged");
  write_prompts("{\"ids\": [5, 6]}\n");
  for (const auto& more : {std::vector<std::string>{"--ids"}, std::vector<std::string>{}}) {
    std::vector<std::string> arguments = {"generate",     letters(), "--prompts", "prompts.jsonl",
                                          "--max-tokens", "3",       "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto finished = sluice(workspace_, arguments);
    ASSERT_EQ(finished.code, 0) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("completions are printed without text"));
    EXPECT_FALSE(json_lines(finished.out).at(0).contains("text"));
  }
  expect_refused({letters(), "--prompt", "hello"}, 3, "tokenizer.json");
}

TEST_F(Generate, ATemplateThatIsNotNeededNeedNotBeRead) {
  for (const char* bad : {"{% unknown %}", "{{ raise_exception('no answers here') }}"}) {
    write_plain(fs::path(letters()) / "chat_template.jinja", bad);
    const auto finished =
        sluice(workspace_, {"generate", letters(), "--prompt", "hello", "--max-tokens", "3"});
    EXPECT_EQ(finished.code, 0) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("what the chat template ends a turn with ends no completion"));
    const auto chat = sluice(workspace_, {"generate", letters(), "--chat", "--prompt", "hello"});
    EXPECT_EQ(chat.code, 3) << chat.out << chat.err;
  }
}

TEST_F(Generate, TakesLinesOfIdsAndOfTextTogether) {
  const auto tokenizer = text::load_tokenizer(letters());
  write_prompts("{\"prompt\": \"hello\"}\n" +
                id_lines({tokenizer->with_specials(tokenizer->encode("hello"))}));
  const std::vector<std::string> arguments = {letters(), "--greedy",  "--max-tokens",
                                              "4",       "--prompts", "prompts.jsonl"};
  const auto lines = run(arguments);
  ASSERT_EQ(lines.size(), 2);
  EXPECT_EQ(lines[0].at("ids"), lines[1].at("ids"));
  auto chat = arguments;
  chat.push_back("--chat");
  expect_refused(chat, 3, "prompts.jsonl:2: --chat wants text, not ids");
}

TEST_F(Generate, WeightsThatAreNoNumbersGiveNoLine) {
  const auto model = workspace_ / "nan";
  write_broken_letters(model);
  expect_refused({model.string(), "--prompt", "hello", "--json"}, 1, "not finite");
}

TEST_F(Generate, ABiasAndAPenaltyChangeWhatIsChosen) {
  const auto llama = golden_folder("llama").string();
  write_prompts("{\"ids\": [3, 5, 7]}\n");
  const auto greedy = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {llama,       "--ids",         "--greedy",     "--ignore-eos",
                                          "--prompts", "prompts.jsonl", "--max-tokens", "6"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments).at(0).at("ids").get<std::vector<int32_t>>();
  };
  EXPECT_THAT(greedy({"--logit-bias", "11=100"}), testing::Each(11));

  // With both of them at 100, a token pays for every time that it was chosen, so they take turns.
  const auto turns = greedy({"--logit-bias", "11=100", "--logit-bias", "12=100", "--frequency-penalty", "2"});
  EXPECT_THAT(turns, testing::Each(testing::AnyOf(11, 12)));
  EXPECT_THAT(turns, testing::IsSupersetOf({11, 12}));
}

TEST_F(Generate, RefusesADirectoryThatLacksWhatIsAskedFor) {
  const auto llama = golden_folder("llama").string();
  expect_refused({llama, "--prompt", "hello"}, 3, "no tokenizer");
  expect_refused({llama, "--chat", "--prompt", "hello"}, 3, "no chat template");
  expect_refused({(workspace_ / "none").string(), "--prompt", "hello"}, 3, "neither a model directory");
  expect_refused({llama, "--ids", "--prompts", "none.jsonl"}, 3, "none.jsonl");
}

TEST_F(Generate, RefusesCommandLinesThatMakeNoSense) {
  const auto llama = golden_folder("llama").string();
  write_prompts("{\"ids\": [3]}\n");
  expect_refused({llama}, 2, "--prompts FILE or --prompt TEXT");
  expect_refused({llama, "--prompt", "a", "--prompts", "prompts.jsonl"}, 2, "either");
  expect_refused({llama, "--prompt", "a", "--ids"}, 2, "--ids goes with --prompts");
  expect_refused({llama, "--ids", "--chat", "--prompts", "prompts.jsonl"}, 2, "--chat wants text");
  expect_refused({llama, "--greedy", "--temperature", "1", "--prompt", "a"}, 2, "--temperature");
  expect_refused({llama, "--top-p", "1.5", "--prompt", "a"}, 2, "--top-p");
  expect_refused({llama, "--top-p", "0", "--prompt", "a"}, 2, "--top-p");
  expect_refused({llama, "--greedy", "--min-p", "0.1", "--prompt", "a"}, 2, "--min-p");
  expect_refused({llama, "--min-p", "1.5", "--prompt", "a"}, 2, "--min-p");
  expect_refused({llama, "--repetition-penalty", "0", "--prompt", "a"}, 2, "--repetition-penalty");
  expect_refused({llama, "--frequency-penalty", "3", "--prompt", "a"}, 2, "--frequency-penalty");
  expect_refused({llama, "--presence-penalty", "-3", "--prompt", "a"}, 2, "--presence-penalty");
  for (const std::string bias : {"3", "x=1", "3=", "3=1x", "=1", "3=nan"}) {
    expect_refused({llama, "--logit-bias", bias, "--prompt", "a"}, 2, "generate: ");
  }
  expect_refused({llama, "--logit-bias", "3=one", "--prompt", "a"}, 2, "--logit-bias 3=one is not ID=VALUE");
  expect_refused({llama, "--logit-bias", "3=101", "--prompt", "a"}, 2, "bias 101; it goes from -100 to 100");
  expect_refused({llama, "--logit-bias", "3=1", "--logit-bias", "3=2", "--prompt", "a"}, 2, "token 3 twice");
  expect_refused({llama, "--logit-bias", "99999=1", "--ids", "--prompts", "prompts.jsonl"}, 2,
                 "--logit-bias 99999=1: the last token of the model is ");
  expect_refused({llama, "--max-tokens", "0", "--prompt", "a"}, 2, "--max-tokens");
  expect_refused({llama, "--dtype", "int8", "--prompt", "a"}, 2, "--dtype");
}

}  // namespace
}  // namespace sluice::app
