#include "monitor/state_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/base/temp_folder.h"

namespace sluice::monitor {
namespace {

std::vector<ActorState> actors(int count) {
  std::vector<ActorState> all;
  for (int i = 0; i < count; ++i)
    all.push_back({"actor-" + std::to_string(i), {{"tokens", std::to_string(i)}}});
  return all;
}

TEST(StateFile, HasTheStateAndTheActors) {
  const TempFolder folder;
  StateFile file(folder.path() / "state.json");
  file.write({{"step", "1"}}, actors(2), /*last=*/false);
  const auto json = read_json(folder.path() / "state.json");
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_GT(json.at("wall_time"), 0);
  EXPECT_EQ(json.at("state").at("step"), "1");
  EXPECT_EQ(json.at("actors").at("actor-1").at("tokens"), "1");
}

TEST(StateFile, HasWhateverATextSays) {
  const TempFolder folder;
  StateFile file(folder.path() / "state.json");
  const std::string hostile = "\"}\\\n\x1b[31m\x7f é <script>";
  file.write({{hostile, hostile},
              {"broken",
               "a\xff"
               "b"}},
             {{hostile, {}}, {"two", {{"x", "1"}, {"y", ""}}}}, true);
  const auto json = read_json(folder.path() / "state.json");
  EXPECT_EQ(json.at("state").at(hostile), hostile);
  EXPECT_EQ(json.at("state").at("broken"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(json.at("actors").at(hostile), Json::object());
  EXPECT_EQ(json.at("actors").at("two").at("y"), "");
}

TEST(StateFile, SaysOnceThatItCannotBeWritten) {
  const TempFolder folder;
  StateFile file(folder.path() / "gone" / "state.json");
  EXPECT_THAT(file.write({}, {}, /*last=*/true), testing::HasSubstr("state.json: No such file"));
  EXPECT_EQ(file.write({}, {}, true), "");
  std::filesystem::create_directory(folder.path() / "gone");
  EXPECT_EQ(file.write({}, {}, true), "");
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "gone" / "state.json"));
}

// Milliseconds of writing are followed by a second without.
TEST(StateFile, IsNotWrittenAgainAtOnceUnlessItIsTheLast) {
  const TempFolder folder;
  StateFile file(folder.path() / "state.json");
  const auto step = [&] { return read_json(folder.path() / "state.json").at("state").at("step"); };
  const auto many = actors(3000);
  file.write({{"step", "1"}}, many, false);
  file.write({{"step", "2"}}, {}, false);
  EXPECT_EQ(step(), "1");
  file.write({{"step", "3"}}, many, true);
  EXPECT_EQ(step(), "3");
}

}  // namespace
}  // namespace sluice::monitor
