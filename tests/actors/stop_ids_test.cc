#include "actors/stop_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tests/actors/actor_cases.h"
#include "tests/base/temp_folder.h"

namespace sluice::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The letters a to z, ids 5 to 30, and two special tokens behind them that only tokenizer_config.json names.
constexpr int32_t kStart = 31, kEnd = 32;

struct StopIds : testing::Test {
  StopIds() {
    text::train_character_tokenizer("abcdefghijklmnopqrstuvwxyz")->save(folder_.path());
    Json config = read_json(folder_ / "tokenizer_config.json");
    for (const auto& [id, name] : {std::pair{kStart, "<|start|>"}, {kEnd, "<|end|>"}}) {
      config["added_tokens_decoder"][std::to_string(id)] = {{"content", name},     {"special", true},
                                                            {"lstrip", false},     {"rstrip", false},
                                                            {"normalized", false}, {"single_word", false}};
    }
    write_plain(folder_ / "tokenizer_config.json", config.dump());
    tokenizer_ = text::load_tokenizer(folder_.path());
    config_.vocab_size = 40;
    config_.eos_ids = {7};
  }

  // For a template that writes the assistant's turn so.
  std::set<int32_t> with_turn(const std::string& turn) const {
    const text::ChatTemplate chat(
        "{% for m in messages %}{% if m.role == 'assistant' %}" + turn +
            "{% else %}<|start|>user {{ m.content }}<|start|>{% endif %}{% endfor %}",
        Json{{"eos_token", "</s>"}}, "template");
    return stop_ids(config_, tokenizer_.get(), &chat);
  }

  TempFolder folder_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  model::ModelConfig config_;
};

TEST_F(StopIds, AreThoseOfTheConfigurationAndTheTokenizer) {
  EXPECT_THAT(stop_ids(config_, nullptr, nullptr), ElementsAre(7));
  EXPECT_THAT(stop_ids(config_, tokenizer_.get(), nullptr), ElementsAre(kEos, 7));
}

TEST_F(StopIds, HoldTheSpecialTokenBehindAnAssistantsTurn) {
  EXPECT_THAT(with_turn("{{ m.content }}<|end|>"), ElementsAre(kEos, 7, kEnd));
  EXPECT_THAT(with_turn("{{ m.content | trim }}\n <|end|>\n"), ElementsAre(kEos, 7, kEnd));
  EXPECT_THAT(with_turn("{{ m.content }}{{ eos_token }}"), ElementsAre(kEos, 7));
}

TEST_F(StopIds, TakeNothingFromATemplateThatEndsATurnWithTextOrWithNothing) {
  EXPECT_THAT(with_turn("{{ m.content }} user<|end|>"), ElementsAre(kEos, 7));
  EXPECT_THAT(with_turn("{{ m.content }}"), ElementsAre(kEos, 7));
  EXPECT_THAT(with_turn("<|end|>"), ElementsAre(kEos, 7));
}

TEST_F(StopIds, MustBeIdsOfTheModel) {
  config_.vocab_size = 32;
  EXPECT_THAT(message_of<DataError>([&] { with_turn("{{ m.content }}<|end|>"); }),
              HasSubstr("the chat template's end of a turn is 32, the model has 32 ids"));
  config_.eos_ids = {32};
  EXPECT_THAT(message_of<DataError>([&] { stop_ids(config_, nullptr, nullptr); }),
              HasSubstr("eos_token_id is 32"));
}

TEST_F(StopIds, StandBehindThoseOfTheConfigurationWhenTheyAreWritten) {
  config_.eos_ids = {9, 7};
  EXPECT_THAT(ordered_stop_ids(config_, {kEos, 7, 9, kEnd}), ElementsAre(9, 7, kEos, kEnd));
}

TEST_F(StopIds, RefuseATemplateThatCannotRenderATurn) {
  EXPECT_THAT(message_of<DataError>([&] { with_turn("{{ raise_exception('no answers here') }}"); }),
              HasSubstr("no answers here"));
}

}  // namespace
}  // namespace sluice::actors
