// Files that people look at while a run goes on, and that nothing depends on.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace sluice {

// Whole for whoever reads it and never synced: gone with the machine. Says what went wrong, if anything.
std::error_code replace_file(const std::filesystem::path& file, const std::string& text);

}  // namespace sluice
