#include "buffers/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/files.h"
#include "tests/base/file_size_limit.h"
#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

// What a journal tells, one line a record.
struct Told {
  std::vector<std::string> lines;

  Journal::Replay hooks() {
    const auto say = [this](auto... parts) {
      std::ostringstream out;
      (out << ... << parts);
      lines.push_back(out.str());
    };
    return {
        .issued = [say](uint64_t group) { say("issued ", group); },
        .arrived = [say](uint64_t group, int64_t version) { say("arrived ", group, " of ", version); },
        .group =
            [say](const RolloutGroup& group) { say("group ", group.group, " ", encode_group(group).size()); },
        .batch =
            [say](int64_t step, const std::vector<uint64_t>& groups) {
              say("batch ", step, " ", testing::PrintToString(groups));
            },
        .fate =
            [say](uint64_t group, const Fate& fate) {
              say("fate ", group, " ", static_cast<int>(fate.kind), " ", fate.reason);
            },
        .trained = [say](int64_t step) { say("trained ", step); },
        .rewind = [say](int64_t step) { say("rewind ", step); },
        .restore = [say](int64_t step) { say("restore ", step); },
        .owed = [say](uint64_t group) { say("owed ", group); },
    };
  }
};

std::vector<std::string> told(const fs::path& file) {
  Told out;
  Journal::read(file, out.hooks());
  return out.lines;
}

void write_all_kinds(Journal& journal) {
  journal.issued(0);
  journal.issued(1);
  journal.group(small_group(1));
  journal.batch(0, {1, 0});
  journal.fate(0, {FateKind::Dropped, 0, "stale"});
  journal.trained(0);
  journal.rewind(0);
  journal.restore(0);
  journal.owed(1);
}
constexpr size_t kAllKinds = 10;  // lines that these make

TEST(Journal, TellsEveryRecordAgainInOrder) {
  const TempFolder folder;
  {
    Journal journal(folder / "groups");
    write_all_kinds(journal);
    journal.sync();
  }
  {
    Told opened;
    Journal again(folder / "groups", opened.hooks());
    EXPECT_EQ(again.torn_bytes(), 0);
    EXPECT_EQ(opened.lines.size(), kAllKinds);
    again.issued(2);
  }

  const auto size = std::to_string(encode_group(small_group(1)).size());
  EXPECT_THAT(told(folder / "groups"),
              ElementsAre("issued 0", "issued 1", "arrived 1 of 0", "group 1 " + size, "batch 0 { 1, 0 }",
                          "fate 0 1 stale", "trained 0", "rewind 0", "restore 0", "owed 1", "issued 2"));
}

TEST(Journal, TrimmedItKeepsThatAGroupWasThereAndLosesWhatItHeld) {
  const TempFolder folder;
  const auto file = folder / "groups";
  Journal journal(file);
  for (const uint64_t group : {0u, 1u, 2u, 3u}) journal.group(small_group(group, /*version=*/7));
  journal.batch(0, {0, 1});
  journal.sync();
  const auto size = journal.size();
  EXPECT_EQ(size, static_cast<int64_t>(fs::file_size(file)));

  journal.trim([](uint64_t group) { return group > 0; });
  EXPECT_EQ(journal.size(), size);  // a quarter is not worth it
  journal.trim([](uint64_t group) { return group == 2; });
  EXPECT_LT(journal.size(), size / 2);
  EXPECT_FALSE(fs::exists(folder / "groups.new"));
  journal.trained(0);  // it goes on at its new end

  const auto bytes = std::to_string(encode_group(small_group(2, 7)).size());
  const auto expected = ElementsAre("arrived 0 of 7", "arrived 1 of 7", "arrived 2 of 7", "group 2 " + bytes,
                                    "arrived 3 of 7", "batch 0 { 0, 1 }", "trained 0");
  EXPECT_THAT(told(file), expected);
  Told again;
  Journal opened(file, again.hooks());
  EXPECT_THAT(again.lines, expected);
  EXPECT_EQ(opened.torn_bytes(), 0);
  opened.trim([](uint64_t) { return false; });  // what was trimmed before is counted no more
  EXPECT_THAT(told(file), testing::Not(testing::Contains(testing::HasSubstr("group"))));
}

TEST(Journal, TrimmedItKeepsWhatIsNotSyncedYet) {
  const TempFolder folder;
  const auto file = folder / "groups";
  Journal journal(file);
  journal.group(small_group(0, /*version=*/7));
  journal.sync();
  journal.issued(1);
  journal.trim([](uint64_t) { return false; });
  EXPECT_THAT(told(file), ElementsAre("arrived 0 of 7", "issued 1"));
}

TEST(Journal, IsAsItWasWhereItCannotBeTrimmed) {
  const TempFolder folder;
  const auto file = folder / "groups";
  Journal journal(file);
  journal.group(small_group(0));
  journal.sync();
  const auto before = told(file);
  fs::create_directory(folder / "groups.new");

  EXPECT_THROW(journal.trim([](uint64_t) { return false; }), Error);

  EXPECT_EQ(told(file), before);
}

TEST(Journal, LosesOnlyTheLastRecordWhereverItIsCut) {
  const TempFolder folder;
  const auto file = folder / "groups";
  std::string before;
  {
    Journal journal(file);
    write_all_kinds(journal);
    before = read_file(file);
    journal.group(small_group(2));
  }
  const std::string whole = read_file(file);
  ASSERT_GT(whole.size(), before.size() + 100);

  for (size_t n = before.size(); n < whole.size(); ++n) {
    write(file, whole.substr(0, n));
    EXPECT_EQ(told(file).size(), kAllKinds) << n;  // reading alone changes nothing
    EXPECT_EQ(fs::file_size(file), n);
    {
      Journal journal(file);
      EXPECT_EQ(journal.torn_bytes(), static_cast<int64_t>(n - before.size()));
      journal.trained(9);
    }
    EXPECT_EQ(read_file(file).substr(0, before.size()), before);
    const auto lines = told(file);
    ASSERT_EQ(lines.size(), kAllKinds + 1) << n;
    EXPECT_EQ(lines.back(), "trained 9");
  }
}

TEST(Journal, CutsALastRecordThatIsDamagedOrOnlyZeros) {
  const TempFolder folder;
  const auto file = folder / "groups";
  {
    Journal journal(file);
    write_all_kinds(journal);
  }
  const std::string whole = read_file(file);

  std::string damaged = whole;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  write(file, damaged);
  EXPECT_EQ(told(file).size(), kAllKinds - 1);
  write(file, whole + std::string(5000, '\0'));
  EXPECT_EQ(Journal(file).torn_bytes(), 5000);
  EXPECT_EQ(read_file(file), whole);
}

TEST(Journal, NamesFileAndPlaceOfADamagedRecordBeforeTheEnd) {
  const TempFolder folder;
  const auto file = folder / "groups";
  uint64_t last = 0;
  {
    Journal journal(file);
    write_all_kinds(journal);
    last = fs::file_size(file);
    journal.sync();
  }
  const std::string whole = read_file(file);

  for (size_t at = 10; at < last; ++at) {  // behind the start record of 10 bytes
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write(file, damaged);
    const auto message = message_of<DataError>([&] { Journal journal(file); });
    EXPECT_THAT(message, HasSubstr("journal " + file.string() + ": the record at byte ")) << at;
    EXPECT_THAT(message, HasSubstr("is damaged; it was on the disk, as one at byte " + std::to_string(last)))
        << at;
    EXPECT_EQ(read_file(file), damaged) << at;
  }
}

// A disk may write what came later first; none of it was promised to anybody.
TEST(Journal, CutsAnUnsyncedEndWhoseFirstRecordIsMissing) {
  const TempFolder folder;
  const auto file = folder / "groups";
  uint64_t synced = 0;
  {
    Journal journal(file);
    write_all_kinds(journal);
    journal.sync();
    synced = fs::file_size(file);
    journal.trained(8);
    journal.trained(9);
  }
  std::string holes = read_file(file);
  holes.replace(synced, 12, 12, '\0');
  write(file, holes);
  EXPECT_EQ(told(file).size(), kAllKinds);
  EXPECT_EQ(Journal(file).torn_bytes(), static_cast<int64_t>(holes.size() - synced));
}

TEST(Journal, IsNotFooledByARecordInsideATornOne) {
  const TempFolder folder;
  const auto file = folder / "groups";
  auto hostile = small_group(1);
  {
    Journal other(folder / "other");
    other.trained(3);
    other.sync();
  }
  hostile.completions[0].text = read_file(folder / "other") + std::string(40, 'x');
  {
    Journal journal(file);
    journal.group(hostile);
  }
  fs::resize_file(file, fs::file_size(file) - 5);

  EXPECT_GT(Journal(file).torn_bytes(), 0);
}

TEST(Journal, LeavesAFileAloneThatIsNoJournal) {
  const TempFolder folder;
  const auto file = folder / "notes.txt";
  write(file, "Dear diary, this is not a journal of rollouts.");

  EXPECT_THAT(message_of<DataError>([&] { Journal journal(file); }),
              HasSubstr("does not begin as a journal does"));
  EXPECT_EQ(fs::file_size(file), 46u);
  EXPECT_THROW(Journal(folder / "absent" / "groups"), DataError);
  EXPECT_THROW(Journal::read(folder / "absent", {}), DataError);
}

TEST(Journal, StartsAnewWhenItsFirstRecordWasTorn) {
  const TempFolder folder;
  const auto file = folder / "groups";
  { Journal journal(file); }
  ASSERT_EQ(fs::file_size(file), 10u);
  for (uint64_t n = 0; n < 10; ++n) {
    fs::resize_file(file, n);
    Journal(file).issued(0);
    EXPECT_THAT(told(file), ElementsAre("issued 0")) << n;
  }
}

TEST(Journal, NamesTheRecordThatAHookRefuses) {
  const TempFolder folder;
  const auto file = folder / "groups";
  Journal(file).trained(3);

  const auto message = message_of<DataError>(
      [&] { Journal::read(file, {.trained = [](int64_t step) { fail("no step ", step); }}); });

  EXPECT_THAT(message, HasSubstr("groups: record at byte 10: no step 3"));
}

TEST(Journal, TakesNothingMoreOnceAWriteFailed) {
  const TempFolder folder;
  const auto file = folder / "groups";
  Journal journal(file);
  const int64_t size = 4096;
  auto large = small_group(1);
  large.prompt_text.assign(2 * size, 'x');
  const auto first = message_of<EnvironmentError>([&] {
    const FileSizeLimit limit(size);
    journal.group(large);
  });

  EXPECT_THAT(first, HasSubstr("cannot write"));
  EXPECT_THAT(message_of<EnvironmentError>([&] { journal.issued(0); }), HasSubstr("an earlier write failed"));
  EXPECT_THROW(journal.sync(), EnvironmentError);
  EXPECT_EQ(Journal(file).torn_bytes(), size - 10);  // and what was written of it is cut off
}

TEST(Journal, RecordsAsFatesOnlyWhatIsNotTrained) {
  const TempFolder folder;
  Journal journal(folder / "groups");

  EXPECT_THROW(journal.fate(0, {FateKind::Trained, 3, ""}), Error);
}

}  // namespace
}  // namespace sluice::buffers
