#include "base/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/internal/posix.h"

namespace sluice {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder(const std::string& what) {
  std::string name = (fs::temp_directory_path() / ("sluice-" + what + "-XXXXXX")).string();
  const bool made = ::mkdtemp(name.data()) != nullptr;
  require<EnvironmentError>(made, "cannot make a folder in ", fs::temp_directory_path().string(), ": ",
                            internal::errno_text(errno));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace sluice
