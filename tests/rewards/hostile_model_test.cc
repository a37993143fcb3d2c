// Directories of reward models that are damaged, or were made to do harm, each in its way: refused with what
// is wrong before anything is scored, or a reason for each completion.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "rewards/reward_mix.h"
#include "tests/rewards/reward_model_folder.h"

namespace sluice::rewards {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Damage {
  const char* name;
  void (*damage)(RewardModelFolder& folder);
  const char* reason;  // a part of it
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) { return out << damage.name; }

void set_in_config(const RewardModelFolder& folder, const std::string& key, const Json& value) {
  Json config = read_json(folder / "config.json");
  config[key] = value;
  write_plain(folder / "config.json", config.dump());
}

// The header of the weights with `from` in it as `to`, which is as long.
void rewrite_header(const RewardModelFolder& folder, const std::string& from, const std::string& to) {
  std::string bytes = read_file(folder / "model.safetensors");
  const auto at = bytes.find(from);
  ASSERT_NE(at, std::string::npos);
  write_plain(folder / "model.safetensors", bytes.replace(at, to.size(), to));
}

constexpr Damage kRefused[] = {
    {"IsNotThere", [](RewardModelFolder& folder) { fs::remove_all(folder.path()); }, "it has no config.json"},
    {"IsEmpty",
     [](RewardModelFolder& folder) {
       fs::remove_all(folder.path());
       fs::create_directory(folder.path());
     },
     "it has no config.json"},
    {"IsAFile",
     [](RewardModelFolder& folder) {
       fs::remove_all(folder.path());
       write_plain(folder.path(), "x");
     },
     "it has no config.json"},
    {"ConfigIsNoJson", [](RewardModelFolder& folder) { write_plain(folder / "config.json", "{\"a\": "); },
     "config.json: not JSON"},
    {"ConfigNestsWithoutEnd",
     [](RewardModelFolder& folder) { write_plain(folder / "config.json", std::string(100'000, '[')); },
     "nested deeper"},
    {"ConfigIsAList", [](RewardModelFolder& folder) { write_plain(folder / "config.json", "[]"); },
     "config.json"},
    {"IsAPolicy",
     [](RewardModelFolder& folder) { set_in_config(folder, "architectures", {"LlamaForCausalLM"}); },
     "has logits; a reward model is a directory of LlamaForSequenceClassification"},
    {"HasAHeadOfAnotherKind",
     [](RewardModelFolder& folder) {
       set_in_config(folder, "architectures", {"LlamaForTokenClassification"});
     },
     "LlamaForTokenClassification"},
    {"TellsOfCodeOfItsOwn",
     [](RewardModelFolder& folder) {
       set_in_config(folder, "architectures", {"JudgeForReward"});
       set_in_config(folder, "auto_map", {{"AutoModel", "judge.JudgeForReward"}});
       write_plain(folder / "judge.py", "raise SystemExit");
     },
     "JudgeForReward"},
    {"ClaimsAMillionLayers",
     [](RewardModelFolder& folder) { set_in_config(folder, "num_hidden_layers", 1'000'000'000); },
     "num_hidden_layers"},
    {"ClaimsAnotherWidth", [](RewardModelFolder& folder) { set_in_config(folder, "intermediate_size", 48); },
     "should be"},
    {"ClaimsAHugeWidth",
     [](RewardModelFolder& folder) { set_in_config(folder, "intermediate_size", 1'000'000'000'000); },
     "intermediate_size"},
    {"HasNoWeights", [](RewardModelFolder& folder) { fs::remove(folder / "model.safetensors"); },
     "safetensors"},
    {"HasAPickleInThePlaceOfWeights",
     [](RewardModelFolder& folder) {
       fs::rename(folder / "model.safetensors", folder / "pytorch_model.bin");
     },
     "safetensors"},
    {"WeightsAreEmpty", [](RewardModelFolder& folder) { write_plain(folder / "model.safetensors", ""); },
     "0 bytes are no safetensors file"},
    {"WeightsAreCut",
     [](RewardModelFolder& folder) {
       fs::resize_file(folder / "model.safetensors", fs::file_size(folder / "model.safetensors") - 8);
     },
     "model.safetensors"},
    {"WeightsAreGarbage",
     [](RewardModelFolder& folder) { write_plain(folder / "model.safetensors", std::string(4096, '\x7f')); },
     "a header of"},
    {"WeightsAreADirectory",
     [](RewardModelFolder& folder) {
       fs::remove(folder / "model.safetensors");
       fs::create_directory(folder / "model.safetensors");
     },
     "model.safetensors"},
    {"WeightsAreALinkToNothing",
     [](RewardModelFolder& folder) {
       fs::remove(folder / "model.safetensors");
       fs::create_symlink("nowhere", folder / "model.safetensors");
     },
     "safetensors"},
    {"WeightsAreAPipe",
     [](RewardModelFolder& folder) {
       fs::remove(folder / "model.safetensors");
       ::mkfifo((folder / "model.safetensors").c_str(), 0600);
     },
     "model.safetensors"},
    {"HasNoHead", [](RewardModelFolder& folder) { rewrite_header(folder, "score.weight", "scare.weight"); },
     "tensor score.weight of shape [1, 32] is missing"},
    {"HasAHeadOfTwoRows", [](RewardModelFolder& folder) { rewrite_header(folder, "[1,32]", "[2,16]"); },
     "should be [1, 32], it is [2, 16]"},
    {"IndexLeadsOutside",
     [](RewardModelFolder& folder) {
       fs::remove(folder / "model.safetensors");
       write_plain(folder / "model.safetensors.index.json",
                   R"({"weight_map": {"score.weight": "../../../etc/passwd"}})");
     },
     "../../../etc/passwd"},
    {"HasNoTokenizer",
     [](RewardModelFolder& folder) {
       fs::remove(folder / "tokenizer.model");
       fs::remove(folder / "tokenizer.json");
     },
     "tokenizer"},
    {"TokenizerIsGarbage",
     [](RewardModelFolder& folder) { write_plain(folder / "tokenizer.json", std::string(999, '\xee')); },
     "tokenizer.json"},
    {"TokenizerIsAnotherModels",
     [](RewardModelFolder& folder) {
       text::train_character_tokenizer("abcdefghijklmnop=")->save(folder.path());
     },
     "pieces, its network only"},
    {"TemplateEndsInTheMiddle",
     [](RewardModelFolder& folder) { write_plain(folder / "chat_template.jinja", "{% for m in messages"); },
     "chat_template"},
};

class HostileModel : public testing::TestWithParam<Damage> {};

TEST_P(HostileModel, IsRefused) {
  RewardModelFolder folder;
  GetParam().damage(folder);
  EXPECT_THAT(message_of<Error>([&] { make_reward(folder.spec(), {}); }), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(Directories, HostileModel, testing::ValuesIn(kRefused),
                         [](const auto& info) { return std::string(info.param.name); });

RewardOutcome outcome_of(const RewardModelFolder& folder, const Case& from) {
  const RewardMix mix({folder.spec()}, {});
  const RewardRequest request = from.request("cd");
  return mix.score({&request, 1}).at(0).at(0);
}

TEST(HostileModels, NumbersThatAreNoneLeaveACompletionUnscored) {
  for (const double number :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    RewardModelFolder folder;
    folder.network().flat().fill_(number);
    folder.save();
    const auto outcome = outcome_of(folder, {});
    EXPECT_FALSE(outcome.score);
    EXPECT_THAT(outcome.unscored_reason, HasSubstr("reward_model gave "));
  }
}

TEST(HostileModels, ATemplateThatFailsOrNeverEndsLeavesACompletionUnscored) {
  for (const std::string text :
       {"{{ raise_exception('no') }}", "{{ messages[9].content }}",
        "{% for a in range(100000000) %}{% for b in range(100000000) %}x{% endfor %}{% endfor %}"}) {
    const RewardModelFolder folder;
    write_plain(folder / "chat_template.jinja", text);
    Case from;
    from.row.messages = Json::array({{{"role", "user"}, {"content", "ab="}}});
    const auto outcome = outcome_of(folder, from);
    EXPECT_FALSE(outcome.score) << text;
    EXPECT_THAT(outcome.unscored_reason, HasSubstr("reward_model failed: ")) << text;
  }
}

TEST(HostileModels, ADeviceThatIsNoneIsRefused) {
  const RewardModelFolder folder;
  for (const std::string device : {"", "tpu", "cuda:one", "meta", "cpu:-1"}) {
    EXPECT_THAT(message_of<UsageError>([&] {
                  make_reward(folder.spec({{"device", device}}), {});
                }),
                HasSubstr("device is \"" + device + "\"; it is cpu, cuda or cuda:1"));
  }
}

}  // namespace
}  // namespace sluice::rewards
