#include "recipes/run_record.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace sluice::recipes {
namespace {

std::filesystem::path record_file(const std::filesystem::path& root) { return root / "ended.json"; }

}  // namespace

void write_run_record(const std::filesystem::path& root, const RunRecord& record) {
  Json json = {{"schema", 1}, {"resume", record.resume}, {"started", record.started}};
  if (record.code) {
    json["code"] = *record.code;
    json["ended"] = record.ended;
    json["cause"] = record.cause;
  }
  write_file_atomically(record_file(root), json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<RunRecord> read_run_record(const std::filesystem::path& root) {
  const auto file = record_file(root);
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    const Json json = read_json(file);
    RunRecord record{.resume = json_member<std::string>(json, "resume", file.string()),
                     .started = json_member<double>(json, "started", file.string()),
                     .code = std::nullopt,
                     .ended = json_member_or<double>(json, "ended", 0.0, file.string()),
                     .cause = json_member_or<std::string>(json, "cause", "", file.string())};
    if (json.contains("code"))
      record.code = static_cast<int>(json_member<int64_t>(json, "code", file.string()));
    return record;
  } catch (const DataError&) {
    return std::nullopt;
  }
}

}  // namespace sluice::recipes
