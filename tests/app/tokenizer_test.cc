// `sluice tokenizer`: train one, encode with it, decode, look at it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const std::string kShakespeare = std::string(SLUICE_SOURCE_DIR) + "/data/text/tinyshakespeare.txt";
const std::string kLlama2 = std::string(SLUICE_SOURCE_DIR) + "/data/tokenizers/llama2.model";

struct TokenizerCommand : testing::Test {
  Finished run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "tokenizer");
    return sluice(workspace_, std::move(arguments));
  }

  void expect_refused(std::vector<std::string> arguments, int code,
                      const std::vector<std::string>& parts) const {
    const auto refused = run(std::move(arguments));
    EXPECT_EQ(refused.code, code) << refused.out << refused.err;
    for (const auto& part : parts) EXPECT_THAT(refused.err, HasSubstr(part));
  }

  // A part of Shakespeare is enough to learn from, and sooner done.
  std::string corpus() const {
    write_plain(workspace_ / "corpus.txt", read_file(kShakespeare).substr(0, 60'000));
    return "corpus.txt";
  }

  const Workspace workspace_;
};

TEST_F(TokenizerCommand, TrainsOneThatGivesTextsBack) {
  for (const std::string kind : {"bpe", "unigram"}) {
    const auto trained = run({"train", "--text", corpus(), "--kind", kind, "--vocab-size", "600", "--special",
                              "<|im_start|>", "<|im_end|>", "--output", kind});
    ASSERT_EQ(trained.code, 0) << trained.err;
    EXPECT_THAT(trained.out, AllOf(HasSubstr("600 ids in "), HasSubstr("sluice tokenizer info " + kind)));

    const auto encoded = run({"encode", kind, "--text", "<|im_start|>To be,\n12", "--json"});
    ASSERT_EQ(encoded.code, 0) << encoded.err;
    const Json ids = parse_json(encoded.out, "encode")["ids"];
    EXPECT_EQ(ids[0], 4);
    std::string list;
    for (const auto& id : ids) list += (list.empty() ? "" : ",") + id.dump();
    EXPECT_EQ(run({"decode", kind, "--ids", list}).out, "To be,\n12\n");
  }
}

TEST_F(TokenizerCommand, TrainsOneOfCharacters) {
  const auto trained = run({"train", "--text", corpus(), "--kind", "characters", "--output", "letters"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_TRUE(fs::exists(workspace_ / "letters/tokenizer.json"));
}

TEST_F(TokenizerCommand, EncodesATextAndTheLinesOfAFile) {
  EXPECT_EQ(run({"encode", kLlama2, "--text", "Hello world"}).out, "15043 3186\n");
  EXPECT_EQ(run({"encode", kLlama2, "--text", "</s>"}).out, "2\n");
  EXPECT_EQ(run({"encode", kLlama2, "--text", "</s>", "--specials", "as-text"}).out, "1533 29879 29958\n");
  EXPECT_EQ(run({"encode", kLlama2, "--text", ""}).out, "\n");

  write_plain(workspace_ / "lines.jsonl",
              "{\"text\": \"Hello\"}\n\n{\"text\": \"\"}\n{\"text\": \"Hello world\"}");
  EXPECT_EQ(run({"encode", kLlama2, "--file", "lines.jsonl"}).out, "15043\n\n15043 3186\n");
  EXPECT_EQ(run({"encode", kLlama2, "--file", "lines.jsonl", "--json"}).out,
            "{\"ids\":[15043]}\n{\"ids\":[]}\n{\"ids\":[15043,3186]}\n");
}

TEST_F(TokenizerCommand, SaysWhatATokenizerIs) {
  const auto info = run({"info", kLlama2});
  EXPECT_THAT(info.out, AllOf(HasSubstr("SentencePiece bpe"), HasSubstr("32,000"), HasSubstr("2 </s>"),
                              HasSubstr("pad         none"), HasSubstr(sha256_file(kLlama2))));
  const Json report = parse_json(run({"info", kLlama2, "--json"}).out, "info");
  EXPECT_EQ(report["vocab_size"], 32000);
  EXPECT_EQ(report["specials"]["bos"], Json({{"id", 1}, {"token", "<s>"}}));
  EXPECT_EQ(report["specials"]["pad"], nullptr);
  EXPECT_EQ(report["hash"], sha256_file(kLlama2));
}

// A conversation of the words of Qwen's tokenizer, with a template that says what is to be learned.
TEST_F(TokenizerCommand, PrintsWhatAChatTemplateMakes) {
  const std::string source(SLUICE_SOURCE_DIR);
  fs::copy(source + "/data/tokenizers/minimind", workspace_ / "chat");
  fs::copy_file(source + "/data/chat_templates/chatml_masked.jinja", workspace_ / "chat/chat_template.jinja");
  write_plain(workspace_ / "talk.jsonl",
              R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]})"
              "\n");
  const std::string text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n";
  EXPECT_EQ(run({"chat", "chat", "--file", "talk.jsonl"}).out, text + "\n");
  EXPECT_EQ(run({"chat", "chat", "--file", "talk.jsonl", "--generation-prompt"}).out,
            text + "<|im_start|>assistant\n\n");

  const Json out = parse_json(run({"chat", "chat", "--file", "talk.jsonl", "--json"}).out, "chat");
  EXPECT_EQ(out["text"], text);
  const size_t learned = text.find("Yes.");
  EXPECT_EQ(out["generation"], Json({{learned, learned + std::string("Yes.<|im_end|>").size()}}));
  write_plain(workspace_ / "text.jsonl", Json{{"text", text}}.dump() + "\n");
  const Json encoded = parse_json(run({"encode", "chat", "--file", "text.jsonl", "--json"}).out, "encode");
  EXPECT_EQ(out["ids"], encoded["ids"]);

  expect_refused({"chat", "chat", "--file", "text.jsonl"}, 3, {"text.jsonl:1", "messages"});
  expect_refused({"chat", kLlama2, "--file", "talk.jsonl"}, 3, {"no chat template"});
}

TEST_F(TokenizerCommand, SaysWhatIsWrong) {
  const auto text = corpus();
  fs::create_directory(workspace_ / "there");
  expect_refused({"train", "--text", text, "--output", "there"}, 2, {"--output there exists already"});
  expect_refused({"train", "--text", text, "--kind", "unigramm", "--output", "new"}, 2,
                 {"\"unigramm\"", "did you mean \"unigram\"?"});
  expect_refused({"train", "--text", text, "--vocab-size", "100", "--output", "new"}, 2,
                 {"100", "512 to 32000"});
  expect_refused({"train", "--text", text, "--vocab-size", "20000", "--output", "new"}, 3,
                 {"the text fills a vocabulary of"});
  expect_refused({"train", "--text", text, "--kind", "characters", "--special", "<a>", "--output", "new"}, 2,
                 {"--special are for bpe and unigram"});
  expect_refused({"train", "--text", "gone.txt", "--output", "new"}, 3, {"gone.txt"});
  EXPECT_FALSE(fs::exists(workspace_ / "new"));

  expect_refused({"encode", kLlama2}, 2, {"either --text TEXT or --file FILE"});
  expect_refused({"encode", kLlama2, "--text", "a", "--specials", "no"}, 2, {"there are parse, as-text"});
  expect_refused({"encode", "there", "--text", "a"}, 3, {"there", "tokenizer.json"});
  write_plain(workspace_ / "lines.jsonl", "{\"txt\": \"Hello\"}\n");
  expect_refused({"encode", kLlama2, "--file", "lines.jsonl"}, 3, {"lines.jsonl:1", "text"});
  expect_refused({"decode", kLlama2, "--ids", "1,x"}, 2, {"\"x\" is no id"});
  expect_refused({"decode", kLlama2, "--ids", "32000"}, 2, {"the id 32000", "0 to 31999"});
}

}  // namespace
}  // namespace sluice::app
