#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/philox.h"
#include "tests/base/temp_folder.h"
#include "text/internal/utf8.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Le;
using testing::SizeIs;

const std::string& shakespeare() {
  static const std::string text =
      read_file(fs::path(SLUICE_SOURCE_DIR) / "data/text/tinyshakespeare.txt").substr(0, 150'000);
  return text;
}

constexpr const char* kChinese =
    "清晨的雾还没有散，河边的人已经开始工作了。他们把网收起来，数一数今天打到的鱼，然后慢慢地走回村子。"
    "孩子们在桥上等着，问他们今天的鱼有多大，明天会不会下雨。老人说，雨会在第三天来，因为山上的云是红的。\n"
    "村子里有一棵很老的树，树下有一口井，井里的水是甜的。每到夏天，大家都坐在树下说话，一直说到月亮出来。\n";
constexpr const char* kJapanese =
    "朝の霧がまだ晴れないうちに、川のそばの人たちはもう仕事を始めていた。網を上げて、今日とれた魚を数え、"
    "ゆっくりと村へ帰っていく。子どもたちは橋の上で待っていて、今日の魚はどのくらい大きいか、明日は雨が"
    "降るかとたずねる。カメラを持った旅人が、コーヒーを飲みながらそれを見ていた。\n";
constexpr const char* kEmoji =
    "\U0001F600 \U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F1EB\U0001F1F7 \u2764\uFE0F";

// The two texts above, cut into pairs of characters that come again and again in another order.
std::string east_asian() {
  const std::string text = std::string(kChinese) + kJapanese;
  const auto offsets = internal::character_offsets(text, "the text");
  std::string out;
  for (uint64_t i = 0; i < 5000; ++i) {
    const size_t at = 2 * (random_bits(3, RandomUse::Data, i, 0) % ((offsets.size() - 1) / 2));
    out += text.substr(offsets[at], offsets[at + 2] - offsets[at]);
  }
  return out;
}

void expect_round_trips(const Tokenizer& tokenizer) {
  const std::string zero("a\0b", 3);
  for (const std::string& text :
       {shakespeare(), std::string(kChinese), std::string(kJapanese), std::string(kEmoji), std::string(),
        std::string(" "), std::string("  two  spaces "), std::string("\n\n\ttab\r\n"),
        std::string("x = 1234567890"), std::string("e\u0301 \u00e9 \ufb01 \uff21 \u3000 \u00a0"),
        std::string("<0x0A> <unk> </ s>"), zero}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, Specials::AsText)), text);
  }
}

class TrainedTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, TrainedTokenizer, testing::Values("bpe", "unigram"),
                         [](const auto& kind) { return kind.param; });

TEST_P(TrainedTokenizer, GivesEveryTextBackUnchanged) {
  const auto tokenizer = train_tokenizer(shakespeare(), {.kind = GetParam(), .vocab_size = 1000});

  EXPECT_EQ(tokenizer->vocab_size(), 1000);
  expect_round_trips(*tokenizer);
  // Five thousand characters in far fewer tokens.
  EXPECT_THAT(tokenizer->encode(shakespeare().substr(0, 5000)), SizeIs(Le(2300u)));
}

TEST_P(TrainedTokenizer, HasItsSpecialsFirstAndThenTheBytes) {
  const auto tokenizer =
      train_tokenizer(shakespeare(), {.kind = GetParam(),
                                      .vocab_size = 600,
                                      .special_tokens = {"<|im_start|>", "<|im_end|>", "a \"b\", c"}});

  EXPECT_EQ(tokenizer->find("<unk>"), 0);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), 3);
  EXPECT_EQ(tokenizer->find("<|im_start|>"), 4);
  EXPECT_EQ(tokenizer->find("<|im_end|>"), 5);
  EXPECT_EQ(tokenizer->find("a \"b\", c"), 6);
  EXPECT_EQ(tokenizer->find("<0x00>"), 7);
  EXPECT_EQ(tokenizer->find("<0xFF>"), 262);
  const auto parsed = tokenizer->encode("<|im_start|>user\nHi<|im_end|>");
  EXPECT_EQ(parsed.front(), 4);
  EXPECT_EQ(parsed.back(), 5);
  EXPECT_EQ(tokenizer->decode(parsed), "user\nHi");
  EXPECT_EQ(tokenizer->decode(parsed, /*keep_specials=*/true), "<|im_start|>user\nHi<|im_end|>");
  for (const TokenId id : tokenizer->encode("<|im_start|>", Specials::AsText)) EXPECT_GT(id, 6);
}

TEST_P(TrainedTokenizer, SplitsDigitsAndKeepsWords) {
  const auto tokenizer =
      train_tokenizer(shakespeare() + "\n1234 1234 1234 1234\n", {.kind = GetParam(), .vocab_size = 1000});
  EXPECT_THAT(tokenizer->encode("1234"), SizeIs(4));
  EXPECT_THAT(tokenizer->encode(" the"), SizeIs(1));
}

TEST_P(TrainedTokenizer, LearnsChineseAndJapanese) {
  for (const int64_t vocab_size : {512, 700}) {
    const auto tokenizer = train_tokenizer(east_asian(), {.kind = GetParam(), .vocab_size = vocab_size});
    EXPECT_EQ(tokenizer->vocab_size(), vocab_size);
    expect_round_trips(*tokenizer);
    EXPECT_THAT(tokenizer->encode(kChinese), SizeIs(Le(std::string(kChinese).size() / 2)));
  }
}

TEST_P(TrainedTokenizer, IsTheSameEachTime) {
  const TokenizerTraining training{.kind = GetParam(), .vocab_size = 600};
  const auto text = shakespeare().substr(0, 50'000);
  EXPECT_EQ(train_tokenizer(text, training)->hash(), train_tokenizer(text, training)->hash());
}

TEST_P(TrainedTokenizer, IsTheSameBeforeASaveAndAfterALoad) {
  const TempFolder folder;
  const auto tokenizer = train_tokenizer(
      shakespeare(), {.kind = GetParam(), .vocab_size = 1000, .special_tokens = {"<|im_end|>"}});
  tokenizer->save(folder.path());
  const auto loaded = load_tokenizer(folder.path());

  EXPECT_EQ(loaded->hash(), tokenizer->hash());
  EXPECT_EQ(loaded->vocab_size(), tokenizer->vocab_size());
  EXPECT_EQ(loaded->eos_id(), tokenizer->eos_id());
  for (const std::string& text : {shakespeare(), std::string(kChinese), std::string(kEmoji) + "<|im_end|>"}) {
    EXPECT_EQ(loaded->encode(text), tokenizer->encode(text));
  }
  const Json config = read_json(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(config["add_prefix_space"], false);
  EXPECT_EQ(config["tokenizer_class"], GetParam() == "bpe" ? "LlamaTokenizer" : "PreTrainedTokenizerFast");
}

TEST_P(TrainedTokenizer, NamesTheLargestVocabularyThatATextFills) {
  const TokenizerTraining training{.kind = GetParam(), .vocab_size = 4000};
  EXPECT_THAT(message_of<DataError>([&] { train_tokenizer("to be, or not to be\n", training); }),
              AllOf(HasSubstr("fills a vocabulary of 2"), HasSubstr("not 4000")));
}

TEST(TrainTokenizer, RefusesATrainingThatMakesNoSense) {
  const auto refused = [](const TokenizerTraining& training) {
    return message_of<Error>([&] { train_tokenizer("to be, or not to be", training); });
  };
  EXPECT_THAT(refused({.kind = "word"}), AllOf(HasSubstr("\"word\""), HasSubstr("bpe, unigram")));
  EXPECT_THAT(refused({.vocab_size = 511}), HasSubstr("512 to 32000"));
  EXPECT_THAT(refused({.vocab_size = 32001}), HasSubstr("512 to 32000"));
  EXPECT_THAT(refused({.special_tokens = {"<a>", "<a>"}}), HasSubstr("there already"));
  EXPECT_THAT(refused({.special_tokens = {"</s>"}}), HasSubstr("there already"));
  EXPECT_THAT(refused({.special_tokens = {""}}), HasSubstr("is empty"));
  EXPECT_THAT(refused({.special_tokens = {"x"}}), HasSubstr("a single character"));
  EXPECT_THAT(refused({.special_tokens = {"<0x0A>"}}), HasSubstr("spelled like a byte"));
  EXPECT_THAT(refused({.special_tokens = {"a\nb"}}), HasSubstr("control character"));
  EXPECT_THAT(refused({.special_tokens = {"ab\xff"}}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refused({.special_tokens = {"a\u2581"}}), HasSubstr("U+2581"));
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back("<" + std::to_string(i) + ">");
  EXPECT_THAT(refused({.vocab_size = 512, .special_tokens = many}), HasSubstr("leaves 52 pieces"));
}

TEST(TrainTokenizer, RefusesATextItCannotLearn) {
  const auto refused = [](std::string_view text) {
    return message_of<DataError>([&] { train_tokenizer(text, {.vocab_size = 512}); });
  };
  EXPECT_THAT(refused(""), HasSubstr("no character"));
  EXPECT_THAT(refused("\n\n"), HasSubstr("no character"));
  EXPECT_THAT(refused("ab\xff"), HasSubstr("byte 2"));
  EXPECT_THAT(refused(std::string_view("a\0b", 3)), HasSubstr("zero byte"));
  EXPECT_THAT(refused("a\u2581b"), HasSubstr("U+2581"));
}

}  // namespace
}  // namespace sluice::text
