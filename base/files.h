// Files and directories that are either whole or absent: write aside, fsync, rename.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace sluice {

// Reads at most `max_bytes`. Throws DataError when the file is missing, unreadable or larger.
std::string read_file(const std::filesystem::path& file, uint64_t max_bytes = 1u << 30);

// Replaces `file` in one step: temporary name beside it, fsync, rename, fsync of the folder.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);

// Makes the names inside a folder durable.
void sync_directory(const std::filesystem::path& directory);

// Replaces the relative symbolic link `link` in one step; it may be absent, but nothing else than a link.
void replace_symlink(const std::filesystem::path& link, const std::filesystem::path& target);

std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& file);

// Writes a directory that appears whole or not at all: `fill` writes into a temporary folder beside it, then
// every file is synced, manifest.json (name -> size and SHA-256) is written last, and the folder is renamed.
// An existing `directory` is an Error. What a crash leaves behind is a folder whose name starts with ".tmp-".
// Only files and folders can be kept: a link or a socket in it is an Error.
void write_directory_atomically(const std::filesystem::path& directory,
                                const std::function<void(const std::filesystem::path& temporary)>& fill);

// Checks sizes and SHA-256 of every file named in the manifest. Returns "" when whole, else what is wrong.
std::string check_directory(const std::filesystem::path& directory);

// Removes what a crash left in `parent`: files and folders whose name starts with ".tmp-". Not while another
// process may be writing there.
void remove_temporaries(const std::filesystem::path& parent);

}  // namespace sluice
