#include "buffers/spool.h"

#include <utility>

#include "base/byte_codec.h"
#include "base/failpoint.h"
#include "buffers/internal/record_log.h"

namespace sluice::buffers {
namespace {

// A history record stands for nothing before it being wanted.
constexpr uint8_t kGroup = internal::kSyncRecord + 1, kHistory = internal::kSyncRecord + 2;
constexpr uint64_t kLargeBytes = uint64_t{1} << 20;

}  // namespace

Spool::Spool(std::unique_ptr<LogFile> file, const std::string& name) {
  log_ = std::make_unique<internal::RecordLog>(
      std::move(file),
      internal::RecordFormat{.what = "spool", .file = name, .version = 1, .last_kind = kHistory},
      [this](uint8_t kind, std::string_view payload) {
        if (kind == kGroup) {
          left_.groups.emplace_back(payload);
          return;
        }
        ByteReader in(payload, "history");
        left_ = {.history = in.i64(), .groups = {}};
        in.finish();
      });
}

Spool::Spool(const std::filesystem::path& file)
    : Spool(open_log_file(file, LogAccess::Write), file.string()) {}

Spool::~Spool() = default;

void Spool::append(std::string_view group) {
  reach(Failpoint::SpoolBeforeWrite);
  log_->append(kGroup, group);
  reach(Failpoint::SpoolAfterWrite);
}

void Spool::clear(int64_t history) {
  if (log_->size() > kLargeBytes) log_->clear();
  ByteWriter out;
  out.i64(history);
  log_->append(kHistory, out.str());
}

void Spool::sync() {
  log_->sync();
  reach(Failpoint::SpoolAfterSync);
}

uint64_t Spool::size() const { return log_->size(); }

}  // namespace sluice::buffers
