#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/json.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ReadFile, GivesTheBytesUpToTheLimit) {
  const TempFolder folder;
  const std::string bytes = std::string("a\0b", 3) + std::string(3'000'000, 'x');
  write_plain(folder / "f", bytes);
  write_plain(folder / "empty", "");

  EXPECT_EQ(read_file(folder / "f"), bytes);
  EXPECT_EQ(read_file(folder / "f", bytes.size()), bytes);
  EXPECT_EQ(read_file(folder / "empty", 0), "");
  EXPECT_THROW(read_file(folder / "f", bytes.size() - 1), DataError);
}

TEST(ReadFile, ReadsAFileThatHidesItsSize) {
  EXPECT_NE(read_file("/proc/self/status").find("Pid:"), std::string::npos);  // stat() says 0 bytes
  EXPECT_THROW(read_file("/proc/self/status", 10), DataError);
}

TEST(ReadFile, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);

  EXPECT_THROW(read_file(folder / "pipe"), DataError);
  EXPECT_THROW(read_file(folder.path()), DataError);
  EXPECT_NE(message_of<DataError>([&] { read_file(folder / "none"); }).find("No such file"),
            std::string::npos);
}

TEST(WriteFile, ReplacesTheWholeFileAndLeavesNothingBeside) {
  const TempFolder folder;
  write_file_atomically(folder / "f", "first, and longer");
  write_file_atomically(folder / "f", "second");

  EXPECT_EQ(read_file(folder / "f"), "second");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(WriteFile, KeepsTheOldFileWhenItCannotReplaceIt) {
  const TempFolder folder;
  write_plain(folder / "d" / "inside", "x");  // rename() of a file onto a folder fails

  EXPECT_THROW(write_file_atomically(folder / "d", "bytes"), EnvironmentError);
  EXPECT_EQ(read_file(folder / "d" / "inside"), "x");
  EXPECT_EQ(entries(folder.path()), 1u);
  EXPECT_THROW(write_file_atomically(folder / "none" / "f", "bytes"), EnvironmentError);
}

TEST(ReplaceSymlink, MakesAndReplacesALink) {
  const TempFolder folder;
  replace_symlink(folder / "latest", "step_1");
  EXPECT_EQ(fs::read_symlink(folder / "latest"), "step_1");

  fs::create_directory(folder / "step_2");
  replace_symlink(folder / "latest", "step_2");

  EXPECT_EQ(fs::read_symlink(folder / "latest"), "step_2");
  EXPECT_TRUE(fs::is_directory(folder / "latest"));
  // A link to a folder is replaced itself; the next one must not land inside that folder.
  replace_symlink(folder / "latest", "step_3");
  EXPECT_EQ(fs::read_symlink(folder / "latest"), "step_3");
  EXPECT_EQ(entries(folder / "step_2"), 0u);
  EXPECT_EQ(entries(folder.path()), 2u);
}

TEST(ReplaceSymlink, RefusesToReplaceAFileAndAnAbsoluteTarget) {
  const TempFolder folder;
  write_plain(folder / "latest", "precious");

  EXPECT_THROW(replace_symlink(folder / "latest", "step_1"), Error);
  EXPECT_THROW(replace_symlink(folder / "other", "/step_1"), Error);
  EXPECT_EQ(read_file(folder / "latest"), "precious");
}

// FIPS 180-4's example "abc", and the digest of nothing.
TEST(SyncDirectory, SaysWhyItCannot) {
  errno = ENOSPC;  // of something before
  EXPECT_THAT(message_of<EnvironmentError>([] { sync_directory("/proc"); }),
              testing::HasSubstr("cannot sync the folder \"/proc\": Invalid argument"));
}

TEST(Sha256, GivesThePublishedDigests) {
  const TempFolder folder;
  write_plain(folder / "abc", "abc");

  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_file(folder / "abc"), sha256_hex("abc"));
  EXPECT_THROW(sha256_file(folder / "none"), DataError);
}

TEST(Sha256, OfALongFileIsThatOfItsBytes) {
  const TempFolder folder;
  const std::string bytes(2'500'000, 'q');  // more than two chunks
  write_plain(folder / "f", bytes);
  EXPECT_EQ(sha256_file(folder / "f"), sha256_hex(bytes));
}

void fill_checkpoint(const fs::path& folder) {
  write_plain(folder / "hf" / "model.safetensors", "weights");
  write_plain(folder / "state" / "optim.bin", "moments");
  write_plain(folder / "notes", "");
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() { write_directory_atomically(whole_, fill_checkpoint); }
  TempFolder folder_;
  const fs::path whole_ = folder_ / "step_000100";
};

TEST_F(Checkpoint, AppearsWholeWithAManifest) {
  EXPECT_EQ(check_directory(whole_), "");
  EXPECT_EQ(entries(folder_.path()), 1u);
  const auto manifest = read_json(whole_ / "manifest.json");
  EXPECT_EQ(manifest["schema"], 1);
  EXPECT_EQ(manifest["files"].size(), 3u);
  EXPECT_EQ(manifest["files"]["hf/model.safetensors"]["bytes"], 7);
  EXPECT_EQ(manifest["files"]["hf/model.safetensors"]["sha256"], sha256_hex("weights"));
}

TEST_F(Checkpoint, TellsATruncatedFile) {
  fs::resize_file(whole_ / "state" / "optim.bin", 6);
  EXPECT_NE(check_directory(whole_).find("optim.bin has 6 bytes, the manifest says 7"), std::string::npos);
}

TEST_F(Checkpoint, TellsAFlippedByte) {
  write_plain(whole_ / "hf" / "model.safetensors", "Weights");
  EXPECT_NE(check_directory(whole_).find("SHA-256"), std::string::npos);
}

TEST_F(Checkpoint, TellsAMissingFileAndAMissingManifest) {
  fs::remove(whole_ / "notes");
  EXPECT_NE(check_directory(whole_).find("notes is missing"), std::string::npos);
  fs::remove(whole_ / "manifest.json");
  EXPECT_NE(check_directory(whole_).find("manifest.json is missing"), std::string::npos);
  EXPECT_NE(check_directory(folder_ / "none"), "");
}

TEST_F(Checkpoint, TellsALinkInPlaceOfAFile) {
  fs::rename(whole_ / "notes", folder_ / "elsewhere");
  fs::create_symlink(folder_ / "elsewhere", whole_ / "notes");
  EXPECT_NE(check_directory(whole_), "");
}

TEST_F(Checkpoint, TellsABrokenManifest) {
  const auto manifest = whole_ / "manifest.json";
  const auto good = read_file(manifest);
  for (size_t size = 0; size + 1 < good.size(); size += 7) {
    write_plain(manifest, good.substr(0, size));
    EXPECT_NE(check_directory(whole_), "") << size;
  }
  write_plain(manifest, R"({"schema": 2, "files": {}})");
  EXPECT_NE(check_directory(whole_).find("schema 2"), std::string::npos);
  write_plain(manifest, R"({"schema": 1, "files": {"a": {"bytes": "7"}}})");
  EXPECT_NE(check_directory(whole_), "");
}

TEST_F(Checkpoint, NeverLooksOutsideOnAManifestsWord) {
  for (const std::string name : {"../secret", "/etc/passwd", "hf/../../secret", ""}) {
    const Json manifest = {{"schema", 1}, {"files", {{name, {{"bytes", 0}, {"sha256", ""}}}}}};
    write_plain(whole_ / "manifest.json", manifest.dump());
    EXPECT_NE(check_directory(whole_).find("leaves the directory"), std::string::npos) << name;
  }
}

TEST_F(Checkpoint, IsNotWrittenOver) {
  EXPECT_THROW(write_directory_atomically(whole_, fill_checkpoint), Error);
  EXPECT_EQ(check_directory(whole_), "");
}

TEST_F(Checkpoint, LeavesNothingWhenFillingFails) {
  const auto message = message_of<Error>([&] {
    write_directory_atomically(folder_ / "next", [](const fs::path& temporary) {
      fill_checkpoint(temporary);
      fail("the disk is full");
    });
  });
  EXPECT_EQ(message, "the disk is full");
  EXPECT_EQ(entries(folder_.path()), 1u);
}

TEST_F(Checkpoint, TakesFilesAndFoldersOnly) {
  EXPECT_THROW(write_directory_atomically(
                   folder_ / "next",
                   [](const fs::path& temporary) { fs::create_symlink("/etc/passwd", temporary / "link"); }),
               Error);
  EXPECT_THROW(write_directory_atomically(
                   folder_ / "next",
                   [](const fs::path& temporary) { write_plain(temporary / "manifest.json", "{}"); }),
               Error);
  EXPECT_EQ(entries(folder_.path()), 1u);
}

TEST_F(Checkpoint, OfAKilledWriterIsATemporaryThatCanBeRemoved) {
  const auto next = folder_ / "next";
  const pid_t writer = ::fork();
  if (writer == 0) {
    write_directory_atomically(next, [](const fs::path& temporary) {
      fill_checkpoint(temporary);
      ::raise(SIGKILL);
    });
  }
  int status = 0;
  ASSERT_EQ(::waitpid(writer, &status, 0), writer);
  ASSERT_TRUE(WIFSIGNALED(status));

  EXPECT_FALSE(fs::exists(next));
  EXPECT_TRUE(fs::exists(folder_ / (".tmp-next-" + std::to_string(writer))));
  remove_temporaries(folder_.path());
  EXPECT_EQ(entries(folder_.path()), 1u);
  EXPECT_EQ(check_directory(whole_), "");
}

}  // namespace
}  // namespace sluice
