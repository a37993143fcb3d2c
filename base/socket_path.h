// A path for a unix socket, which the kernel limits to 107 bytes.
#pragma once

#include <filesystem>

namespace sluice {

// `wanted` when it fits, else a short name in a folder of the system's temporary directory that only this
// user can enter, the same for the same `wanted`.
std::filesystem::path short_socket_path(const std::filesystem::path& wanted);

}  // namespace sluice
