#include "base/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

TEST(TemporaryFolder, IsThisUsersAloneAndGoesWithAllThatIsInIt) {
  fs::path path;
  {
    const TemporaryFolder folder("test"), other("test");
    path = folder.path();
    EXPECT_TRUE(path.filename().string().starts_with("sluice-test-"));
    EXPECT_NE(path, other.path());
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700u);
    write_plain(path / "in" / "it", "text");
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(TemporaryFolder, LeavesAloneWhatALinkInItNames) {
  const TempFolder kept;
  kept.write("file", "text");
  {
    const TemporaryFolder folder("test");
    fs::create_directory_symlink(kept.path(), folder.path() / "link");
  }
  EXPECT_TRUE(fs::exists(kept / "file"));
}

}  // namespace
}  // namespace sluice
