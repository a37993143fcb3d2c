// With plain folders in the place of the kernel's: what is written where, and when nothing is.
#include "rewards/internal/control_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/captured_run.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::rewards::internal {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

ControlGroups named(const TempFolder& place) {
  return find_control_groups((place / "").string(), "/nowhere", "/nowhere");
}

TEST(ControlGroups, PutACommandIntoAGroupWithItsBounds) {
  const TempFolder place;
  place.write("cgroup.subtree_control", "cpu memory pids\n");
  const auto found = named(place);
  ASSERT_EQ(found.why_not, "");
  auto command = control_group_words(found.place, 1 << 20, 16);
  command.insert(command.end(), {"sh", "-c", "echo $$ \"$@\"", "sh", "two words", "*"});

  const auto run = run_captured({.command = command}, {});

  EXPECT_THAT(run.output, HasSubstr(" two words *\n")) << run.errors;
  const fs::path group = command[4];
  EXPECT_EQ(group.parent_path(), found.place.parent_path());
  EXPECT_EQ(read_file(group / "memory.max"), "1048576\n");
  EXPECT_EQ(read_file(group / "pids.max"), "16\n");
  EXPECT_EQ(read_file(group / "memory.oom.group"), "1\n");
  EXPECT_EQ(read_file(group / "cgroup.procs"), run.output.substr(0, run.output.find(' ')) + "\n");
  EXPECT_NE(control_group_words(found.place, 1, 1)[4], group);
}

TEST(ControlGroups, NothingRunsWithoutItsBounds) {
  const TempFolder place;
  auto command = control_group_words(place / "gone", 1 << 20, 16);
  command.insert(command.end(), {"echo", "it runs"});

  const auto run = run_captured({.command = command}, {});

  EXPECT_EQ(run.output, "");
  EXPECT_EQ(run.status->code, 125);
}

TEST(ControlGroups, OfThoseWhoAreGoneAreRemoved) {
  const TempFolder place;
  place.write("cgroup.subtree_control", "memory pids\n");
  fs::create_directory(place / "sluice-999999999-1");
  fs::create_directory(place / ("sluice-" + std::to_string(::getpid()) + "-999"));
  fs::create_directory(place / "another");
  named(place);
  EXPECT_FALSE(fs::exists(place / "sluice-999999999-1"));
  EXPECT_TRUE(fs::exists(place / ("sluice-" + std::to_string(::getpid()) + "-999")));
  EXPECT_TRUE(fs::exists(place / "another"));
}

TEST(ControlGroups, AreOnlyMadeWhereSomebodyAllowsIt) {
  const TempFolder place;
  const auto own = place.write("own", "4:memory:/elsewhere\n0::/user/main\n");
  fs::create_directories(place / "user/main");
  EXPECT_THAT(find_control_groups("", own, place / "").why_not,
              HasSubstr("user is not delegated, and SLUICE_CGROUP names none"));
  EXPECT_THAT(find_control_groups("", place.write("root", "0::/\n"), place / "").why_not,
              HasSubstr("none is delegated"));
  EXPECT_THAT(find_control_groups("", place.write("old", "4:memory:/\n"), place / "").why_not,
              HasSubstr("none is delegated"));
  EXPECT_THAT(find_control_groups((place / "none").string(), own, place / "").why_not,
              HasSubstr("none is no folder"));
  fs::create_directory(place / "without");
  write_plain(place / "without" / "cgroup.subtree_control", "cpu\n");
  EXPECT_THAT(find_control_groups((place / "without").string(), own, place / "").why_not,
              HasSubstr("does not come to have memory and pids"));
}

}  // namespace
}  // namespace sluice::rewards::internal
