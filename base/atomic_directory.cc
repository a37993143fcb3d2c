// Directories that are whole or absent (part of base/files.h).
#include <cstdio>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/internal/posix.h"
#include "base/internal/sync.h"
#include "base/json.h"
#include "base/pulse.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr int64_t kSchema = 1;

// Syncs every file and folder below `root` and describes the files.
Json sync_and_describe(const fs::path& root) {
  std::map<std::string, fs::path> files;  // sorted, so that the manifest does not depend on the file system
  std::vector<fs::path> folders;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const auto status = entry.symlink_status();
    if (fs::is_directory(status)) {
      folders.push_back(entry.path());
      continue;
    }
    require(fs::is_regular_file(status), "write_directory_atomically: ", entry.path(),
            " is no file and no folder");
    files.emplace(entry.path().lexically_relative(root).generic_string(), entry.path());
  }
  require(!files.contains(kManifest), "write_directory_atomically: ", kManifest,
          " is written here, not by `fill`");

  Json described = Json::object();
  for (const auto& [name, path] : files) {
    beat();  // each may take long on a slow disk
    internal::sync_file(path);
    described[name] = {{"bytes", fs::file_size(path)}, {"sha256", sha256_file(path)}};
  }
  for (const auto& folder : folders) sync_directory(folder);
  return {{"schema", kSchema}, {"files", std::move(described)}};
}

// A name in a manifest stays inside the directory.
bool is_inside(const fs::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  for (const auto& part : name) {
    if (part == ".." || part == ".") return false;
  }
  return true;
}

std::string check_file(const fs::path& directory, const std::string& name, const Json& described) {
  const auto file = directory / name;
  const auto where = (directory / kManifest).string() + ", file \"" + name + "\"";
  require<DataError>(is_inside(name), where, ": the name leaves the directory");
  const auto bytes = json_member<int64_t>(described, "bytes", where);
  const auto sha256 = json_member<std::string>(described, "sha256", where);

  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(file, error))) return file.string() + " is missing";
  const auto seen_bytes = fs::file_size(file);
  if (bytes < 0 || seen_bytes != static_cast<uint64_t>(bytes)) {
    return file.string() + " has " + std::to_string(seen_bytes) + " bytes, the manifest says " +
           std::to_string(bytes);
  }
  const auto seen = sha256_file(file);
  if (seen != sha256) return file.string() + " has SHA-256 " + seen + ", the manifest says " + sha256;
  return "";
}

}  // namespace

void write_directory_atomically(const fs::path& directory,
                                const std::function<void(const fs::path& temporary)>& fill) {
  require(directory.has_filename(), "write_directory_atomically: ", directory, " ends without a name");
  require(!fs::exists(fs::symlink_status(directory)), "write_directory_atomically: ", directory,
          " already exists");
  const auto temporary = internal::temporary_beside(directory);
  fs::remove_all(temporary);  // left by a dead process that had this number
  std::error_code error;
  require<EnvironmentError>(fs::create_directory(temporary, error), "cannot create the folder ", temporary,
                            ": ", error.message());
  try {
    fill(temporary);
    internal::write_new_file(temporary / kManifest, sync_and_describe(temporary).dump(1) + "\n");
    sync_directory(temporary);
    reach(Failpoint::CheckpointWritten);
    // rename() refuses a directory that somebody filled in the meantime.
    const bool renamed = ::rename(temporary.c_str(), directory.c_str()) == 0;
    require<EnvironmentError>(renamed, "cannot rename ", temporary, " to ", directory, ": ",
                              internal::errno_text(errno));
  } catch (...) {
    fs::remove_all(temporary, error);  // the first error is the one to report
    throw;
  }
  sync_directory(internal::folder_of(directory));
}

std::string check_directory(const fs::path& directory) {
  const auto manifest = directory / kManifest;
  if (!fs::exists(manifest)) return manifest.string() + " is missing";
  try {
    const auto read = read_json(manifest);
    const auto schema = json_member<int64_t>(read, "schema", manifest.string());
    require<DataError>(schema == kSchema, manifest, ": schema ", schema, ", ", kSchema, " is known");
    const auto files = json_member<Json>(read, "files", manifest.string());
    require<DataError>(files.is_object(), manifest, ": \"files\" should be an object, saw ",
                       files.type_name());
    for (const auto& [name, described] : files.items()) {
      if (auto wrong = check_file(directory, name, described); !wrong.empty()) return wrong;
    }
  } catch (const DataError& error) {
    return error.what();
  } catch (const fs::filesystem_error& error) {
    return error.what();
  }
  return "";
}

void remove_temporaries(const fs::path& parent) {
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(parent)) {
    if (entry.path().filename().string().starts_with(".tmp-")) left.push_back(entry.path());
  }
  for (const auto& path : left) fs::remove_all(path);
}

}  // namespace sluice
