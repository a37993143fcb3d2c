// A folder in the system's place for temporary files (TMPDIR), for this user alone, removed with the object.
#pragma once

#include <filesystem>
#include <string>

namespace sluice {

class TemporaryFolder {
 public:
  // Its name begins with "sluice-" and `what`. Throws EnvironmentError when it cannot be made.
  explicit TemporaryFolder(const std::string& what);
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace sluice
