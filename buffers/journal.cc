#include "buffers/journal.h"

#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "buffers/internal/record_log.h"

namespace sluice::buffers {
namespace {

using internal::RecordFormat;
using internal::RecordLog;

enum class RecordKind : uint8_t {
  Issued = internal::kSyncRecord + 1,
  Group,
  Batch,
  Fate,
  Trained,
  Rewind,
  Restore,
};

constexpr uint8_t kVersion = 2;

RecordFormat format_of(const std::string& name) {
  return {.what = "journal",
          .file = name,
          .version = kVersion,
          .last_kind = static_cast<uint8_t>(RecordKind::Restore)};
}

void append(RecordLog& log, RecordKind kind, std::string_view payload) {
  reach(Failpoint::JournalBeforeWrite);
  log.append(static_cast<uint8_t>(kind), payload);
  reach(Failpoint::JournalAfterWrite);
}

void append_step(RecordLog& log, RecordKind kind, int64_t step) {
  ByteWriter out;
  out.i64(step);
  append(log, kind, out.str());
}

std::vector<uint64_t> read_groups(ByteReader& in) {
  const uint64_t count = in.u32();
  require<DataError>(count * sizeof(uint64_t) <= in.remaining(), "a batch of ", count, " groups in ",
                     in.remaining(), " bytes");
  std::vector<uint64_t> groups(count);
  for (auto& group : groups) group = in.u64();
  return groups;
}

Fate read_fate(ByteReader& in) {
  Fate fate;
  const auto kind = in.u8();
  require<DataError>(
      kind == static_cast<uint8_t>(FateKind::Dropped) || kind == static_cast<uint8_t>(FateKind::Quarantined),
      "a fate of kind ", int{kind});
  fate.kind = static_cast<FateKind>(kind);
  fate.reason = in.bytes();
  return fate;
}

// Hands a record to its hook; what has no hook is not decoded.
void dispatch(const Journal::Replay& replay, RecordKind kind, std::string_view payload) {
  if (kind == RecordKind::Group) {
    if (replay.group) replay.group(decode_group(payload));
    return;
  }
  ByteReader in(payload, "journal");
  switch (kind) {
    case RecordKind::Issued: {
      const auto group = in.u64();
      if (replay.issued) replay.issued(group);
      break;
    }
    case RecordKind::Batch: {
      const auto step = in.i64();
      const auto groups = read_groups(in);
      if (replay.batch) replay.batch(step, groups);
      break;
    }
    case RecordKind::Fate: {
      const auto group = in.u64();
      const auto fate = read_fate(in);
      if (replay.fate) replay.fate(group, fate);
      break;
    }
    case RecordKind::Trained: {
      const auto step = in.i64();
      if (replay.trained) replay.trained(step);
      break;
    }
    case RecordKind::Rewind: {
      const auto step = in.i64();
      if (replay.rewind) replay.rewind(step);
      break;
    }
    case RecordKind::Restore: {
      const auto step = in.i64();
      if (replay.restore) replay.restore(step);
      break;
    }
    case RecordKind::Group:
      break;
  }
  in.finish();
}

internal::OnRecord told_to(const Journal::Replay& replay) {
  return [&replay](uint8_t kind, std::string_view payload) {
    dispatch(replay, static_cast<RecordKind>(kind), payload);
  };
}

}  // namespace

Journal::Journal(std::unique_ptr<LogFile> file, const std::string& name, const Replay& replay)
    : log_(std::make_unique<RecordLog>(std::move(file), format_of(name), told_to(replay))) {}

Journal::Journal(const std::filesystem::path& file, const Replay& replay)
    : Journal(open_log_file(file, LogAccess::Write), file.string(), replay) {}

Journal::Journal(Journal&& other) noexcept = default;
Journal::~Journal() = default;

int64_t Journal::read(const std::filesystem::path& file, const Replay& replay) {
  const auto opened = open_log_file(file, LogAccess::Read);
  const auto found = internal::read_records(*opened, format_of(file.string()), told_to(replay));
  return static_cast<int64_t>(found.torn_bytes);
}

void Journal::read(const Replay& replay) const {
  internal::read_records(log_->file(), log_->format(), told_to(replay));
}

void Journal::sync() {
  log_->sync();
  reach(Failpoint::JournalAfterSync);
}

int64_t Journal::torn_bytes() const { return static_cast<int64_t>(log_->torn_bytes()); }

void Journal::issued(uint64_t group) {
  ByteWriter out;
  out.u64(group);
  append(*log_, RecordKind::Issued, out.str());
}

void Journal::group(const RolloutGroup& group) { append(*log_, RecordKind::Group, encode_group(group)); }

void Journal::batch(int64_t step, const std::vector<uint64_t>& groups) {
  ByteWriter out;
  out.i64(step);
  out.u32(static_cast<uint32_t>(groups.size()));
  for (const uint64_t group : groups) out.u64(group);
  append(*log_, RecordKind::Batch, out.str());
}

void Journal::fate(uint64_t group, const Fate& fate) {
  require(fate.kind != FateKind::Trained, "journal: the fate of group ", group,
          " is to be recorded by trained(), with its whole batch");
  ByteWriter out;
  out.u64(group);
  out.u8(static_cast<uint8_t>(fate.kind));
  out.bytes(fate.reason);
  append(*log_, RecordKind::Fate, out.str());
}

void Journal::trained(int64_t step) { append_step(*log_, RecordKind::Trained, step); }

void Journal::rewind(int64_t step) { append_step(*log_, RecordKind::Rewind, step); }

void Journal::restore(int64_t step) { append_step(*log_, RecordKind::Restore, step); }

}  // namespace sluice::buffers
