// Groups small enough to read.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "buffers/rollout_group.h"

namespace sluice::buffers {

// Two completions of three and one tokens, the second of which the policy did not choose in part.
inline RolloutGroup small_group(uint64_t id, int64_t version = 0) {
  RolloutGroup group;
  group.group = id;
  group.attempt = 1;
  group.step = static_cast<int64_t>(id) / 4;
  group.prompt = {5, 6, 7};
  group.prompt_text = "2+2=";
  Completion first;
  first.tokens = {8, 9, 2};
  first.mask = {1, 0, 1};
  first.logprobs = {-0.5f, 0.0f, -1.25f};
  first.kept_mass = {1.0f, 1.0f, 0.75f};
  first.versions = {version + 1, 0, version};
  first.finish = FinishReason::Stop;
  first.text = "4\n";
  first.outcomes = {rewards::RewardOutcome::scored(1.0, {{"right", 1.0}}),
                    rewards::RewardOutcome::unscored("timeout")};
  Completion second;
  second.tokens = {8};
  second.mask = {1};
  second.logprobs = {-2.0f};
  second.kept_mass = {1.0f};
  second.versions = {version + 2};
  second.text = std::string("\0\xff", 2);
  second.outcomes = {rewards::RewardOutcome::scored(0.0), rewards::RewardOutcome::scored(-0.5)};
  group.completions = {first, second};
  group.actor = "actor-1";
  group.incarnation = 0x1234567890abcdef;
  group.sequence = 77;
  return group;
}

// A new folder that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = testing::TempDir() + "/sluice-buffers-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr, "TemporaryFolder: cannot make ", name);
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The message of the E that `call` throws, "" when it throws none.
template <class E, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

}  // namespace sluice::buffers
