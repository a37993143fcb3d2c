#include "base/socket_path.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// TMPDIR in a folder of the test's own.
class SocketPath : public testing::Test {
 protected:
  SocketPath() {
    std::string name = "/tmp/sp-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    if (const char* old = std::getenv("TMPDIR")) old_ = old;
    ::setenv("TMPDIR", folder_.c_str(), 1);
  }
  ~SocketPath() override {
    old_.empty() ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", old_.c_str(), 1);
    fs::remove_all(folder_);
  }

  fs::path folder_;
  std::string old_;
};

TEST_F(SocketPath, KeepsAPathThatFits) {
  const fs::path wanted = "/" + std::string(106, 'a');  // 107 bytes

  EXPECT_EQ(short_socket_path(wanted), wanted);
}

TEST_F(SocketPath, ShortensALongOneAlwaysToTheSameName) {
  const fs::path wanted = "/" + std::string(107, 'a');  // 108 bytes

  const auto path = short_socket_path(wanted);

  EXPECT_LE(path.native().size(), 107u);
  EXPECT_EQ(path, short_socket_path(wanted));
  EXPECT_EQ(path, short_socket_path("/b/.." / wanted.relative_path()));
  EXPECT_NE(path, short_socket_path(wanted.string() + "a"));
}

TEST_F(SocketPath, LetsNobodyElseIntoItsFolder) {
  const auto path = short_socket_path("/" + std::string(107, 'a'));

  struct stat status {};
  ASSERT_EQ(::stat(path.parent_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(SocketPath, RefusesAFolderThatOthersCanEnter) {
  const auto folder = short_socket_path("/" + std::string(107, 'a')).parent_path();
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);

  EXPECT_THROW(short_socket_path("/" + std::string(107, 'a')), EnvironmentError);
}

TEST_F(SocketPath, RefusesALinkInTheFoldersPlace) {
  const auto folder = short_socket_path("/" + std::string(107, 'a')).parent_path();
  fs::rename(folder, folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", folder);

  EXPECT_THROW(short_socket_path("/" + std::string(107, 'a')), EnvironmentError);
}

}  // namespace
}  // namespace sluice
