// A reward model in a process of its own that breaks while a run uses it: the group is unscored with a
// reason, and the process after it scores again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "tests/rewards/plugins/plugin_cases.h"
#include "tests/rewards/reward_model_folder.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

// The process as { model = "judge", process = true } starts it, which is this build's own program there.
std::unique_ptr<RewardFunction> make(const PluginFolder& plugins, const RewardModelFolder& folder,
                                     const Json& options = Json::object()) {
  const Json model = {{"path", folder.path().string()}, {"device", "cpu"}};
  Json all = {{"memory_mb", 0}, {"scope", "group"}, {"timeout_ms", 5000}, {"retries", 1}};
  all.update(options);
  return plugins.make("command", Json::array({SLUICE_BINARY, "reward-worker", "--model", model.dump()}), all);
}

Case asking() {
  Case from;
  from.row.prompt = "ab=";
  return from;
}

void signal_all(const PluginFolder& plugins, int number) {
  for (const pid_t pid : plugins.processes()) ::kill(pid, number);
}

TEST(HostileModelProcess, OneThatIsKilledBetweenTwoGroupsIsReplaced) {
  const PluginFolder plugins;
  const RewardModelFolder folder;
  const auto reward = make(plugins, folder);
  const auto first = score(*reward, asking(), "cd").score;
  EXPECT_NEAR(first.value(), folder.expected("ab=", "cd"), 1e-5);

  signal_all(plugins, SIGKILL);
  EXPECT_TRUE(plugins.comes_to(0));

  EXPECT_EQ(score(*reward, asking(), "cd").score, first);
}

TEST(HostileModelProcess, OneThatHangsIsKilledAndReplaced) {
  const PluginFolder plugins;
  const RewardModelFolder folder;
  const auto reward = make(plugins, folder, {{"timeout_ms", 1000}, {"retries", 0}});
  const auto first = score(*reward, asking(), "cd").score;
  signal_all(plugins, SIGSTOP);

  EXPECT_EQ(score(*reward, asking(), "cd").unscored_reason, "timeout: no reply within 1000 ms");
  EXPECT_TRUE(plugins.comes_to(0));
  EXPECT_EQ(score(*reward, asking(), "cd").score, first);
}

TEST(HostileModelProcess, ADirectoryThatIsGoneIsTheReasonUntilItIsThereAgain) {
  const PluginFolder plugins;
  const RewardModelFolder folder;
  const auto reward = make(plugins, folder);
  const auto first = score(*reward, asking(), "cd").score;
  const auto away = folder.path().parent_path() / "away";
  std::filesystem::rename(folder.path(), away);
  signal_all(plugins, SIGKILL);
  EXPECT_TRUE(plugins.comes_to(0));

  EXPECT_THAT(score(*reward, asking(), "cd").unscored_reason, HasSubstr("it has no config.json"));
  std::filesystem::rename(away, folder.path());
  EXPECT_EQ(score(*reward, asking(), "cd").score, first);
}

TEST(HostileModelProcess, ACompletionThatItHasNoRoomForTakesNoOtherWithIt) {
  const PluginFolder plugins;
  const RewardModelFolder folder;
  const auto reward = make(plugins, folder);
  const auto outcomes = score_group(*reward, asking(), {std::string(100, 'a'), "cd"});
  EXPECT_EQ(outcomes[0].unscored_reason, "of its 104 tokens the reward model takes 12");
  EXPECT_TRUE(outcomes[1].score) << outcomes[1].unscored_reason;
}

TEST(HostileModelProcess, NumbersThatAreNoneAreAReason) {
  const PluginFolder plugins;
  RewardModelFolder folder;
  folder.network().flat().fill_(std::numeric_limits<double>::quiet_NaN());
  folder.save();
  const auto outcome = score(*make(plugins, folder), asking(), "cd");
  EXPECT_FALSE(outcome.score);
  EXPECT_EQ(outcome.unscored_reason, "bad output: the model gave nan");
}

TEST(HostileModelProcess, IsRefusedWhereItCannotBegin) {
  const PluginFolder plugins;
  const RewardModelFolder folder;
  const auto refusal = [&](const Json& options) {
    return message_of<UsageError>([&] { make(plugins, folder, options); });
  };
  EXPECT_THAT(refusal({{"start_timeout_ms", 1}}), HasSubstr("not started: timeout: no hello within 1 ms"));
  EXPECT_THAT(refusal({{"memory_mb", 16}}), HasSubstr("not started: "));  // less than its libraries take
  write_plain(folder / "model.safetensors", "x");
  EXPECT_THAT(refusal(Json::object()), HasSubstr("1 bytes are no safetensors file"));
  std::filesystem::remove_all(folder.path());
  EXPECT_THAT(refusal(Json::object()), HasSubstr("it has no config.json"));
  EXPECT_TRUE(plugins.comes_to(0));
}

}  // namespace
}  // namespace sluice::rewards
