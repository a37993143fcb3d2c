// Putting bytes on the disk for good; shared by files.cc and atomic_directory.cc.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace sluice::internal {

// ".tmp-NAME-PID" and what `suffix` adds, in the folder of `path`.
std::filesystem::path temporary_beside(const std::filesystem::path& path, const std::string& suffix = "");

// Makes a new file and syncs it. Throws EnvironmentError, and leaves no file then.
void write_new_file(const std::filesystem::path& file, std::string_view bytes);

void sync_file(const std::filesystem::path& file);

// The folder `path` lies in, "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path);

}  // namespace sluice::internal
