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
}

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
    EXPECT_EQ(opened.lines.size(), 8u);
    again.issued(2);
  }

  const auto size = std::to_string(encode_group(small_group(1)).size());
  EXPECT_THAT(told(folder / "groups"),
              ElementsAre("issued 0", "issued 1", "group 1 " + size, "batch 0 { 1, 0 }", "fate 0 1 stale",
                          "trained 0", "rewind 0", "restore 0", "issued 2"));
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
    EXPECT_EQ(told(file).size(), 8u) << n;  // reading alone changes nothing
    EXPECT_EQ(fs::file_size(file), n);
    {
      Journal journal(file);
      EXPECT_EQ(journal.torn_bytes(), static_cast<int64_t>(n - before.size()));
      journal.trained(9);
    }
    EXPECT_EQ(read_file(file).substr(0, before.size()), before);
    const auto lines = told(file);
    ASSERT_EQ(lines.size(), 9u) << n;
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
  EXPECT_EQ(told(file).size(), 7u);
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
  EXPECT_EQ(told(file).size(), 8u);
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
