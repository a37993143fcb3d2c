#include "base/socket_path.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/internal/posix.h"

namespace sluice {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxSocketPath = 107;  // sockaddr_un holds 108 bytes, the last one is zero

// A folder of ours alone: another user who made it first could put his own socket where ours is expected.
fs::path private_folder() {
  const uid_t user = ::geteuid();
  const auto folder = fs::temp_directory_path() / ("sluice-" + std::to_string(user));
  const bool made = ::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST;
  require<EnvironmentError>(made, "cannot create ", folder, ": ", internal::errno_text(errno));
  struct stat status {};
  const bool seen = ::lstat(folder.c_str(), &status) == 0;
  require<EnvironmentError>(seen, "cannot look at ", folder, ": ", internal::errno_text(errno));
  require<EnvironmentError>(S_ISDIR(status.st_mode) && status.st_uid == user && (status.st_mode & 0077) == 0,
                            folder,
                            " is not a folder that only this user can enter; remove it, or set TMPDIR");
  return folder;
}

}  // namespace

fs::path short_socket_path(const fs::path& wanted) {
  if (wanted.native().size() <= kMaxSocketPath) return wanted;
  const auto whole = fs::absolute(wanted).lexically_normal();
  auto path = private_folder() / (sha256_hex(whole.native()).substr(0, 24) + ".sock");
  require<EnvironmentError>(path.native().size() <= kMaxSocketPath, "a socket's path has at most ",
                            kMaxSocketPath, " bytes, ", path, " has ", path.native().size(),
                            "; set TMPDIR to a shorter folder");
  return path;
}

}  // namespace sluice
