#include "base/replace_file.h"

#include <cerrno>
#include <fstream>

namespace sluice {

std::error_code replace_file(const std::filesystem::path& file, const std::string& text) {
  const auto temporary = file.parent_path() / (".tmp-" + file.filename().string());
  errno = 0;
  std::ofstream out(temporary);
  out << text << std::flush;
  std::error_code error(errno, std::generic_category());
  if (!out) return error ? error : std::make_error_code(std::errc::io_error);
  error.clear();
  std::filesystem::rename(temporary, file, error);
  return error;
}

}  // namespace sluice
