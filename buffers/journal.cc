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
  Trimmed,  // a Group without what it holds
  Owed,
};

constexpr uint8_t kVersion = 3;
constexpr size_t kArrivalBytes = 16;  // a Group begins with its id and oldest version, a Trimmed is these

RecordFormat format_of(const std::string& name) {
  return {.what = "journal",
          .file = name,
          .version = kVersion,
          .last_kind = static_cast<uint8_t>(RecordKind::Owed)};
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

void append_group(RecordLog& log, RecordKind kind, uint64_t group) {
  ByteWriter out;
  out.u64(group);
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

uint64_t group_of(std::string_view arrival) { return ByteReader(arrival, "journal").u64(); }

// A group that came, as far as somebody wants to know.
void dispatch_group(const Journal::Replay& replay, std::string_view payload, bool trimmed) {
  ByteReader in(payload.substr(0, kArrivalBytes), "journal");
  const auto id = in.u64();
  const auto oldest_version = in.i64();
  if (replay.arrived) replay.arrived(id, oldest_version);
  if (trimmed || !replay.group) return;
  auto group = decode_group(payload.substr(kArrivalBytes));
  require<DataError>(group.group == id, "group ", id, " holds group ", group.group);
  replay.group(std::move(group));
}

// Hands a record to its hook; what has no hook is not decoded.
void dispatch(const Journal::Replay& replay, RecordKind kind, std::string_view payload) {
  if (kind == RecordKind::Group) return dispatch_group(replay, payload, /*trimmed=*/false);
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
    case RecordKind::Owed: {
      const auto group = in.u64();
      if (replay.owed) replay.owed(group);
      break;
    }
    case RecordKind::Trimmed:
      require<DataError>(payload.size() == kArrivalBytes, "a trimmed group of ", payload.size(), " bytes");
      return dispatch_group(replay, payload, /*trimmed=*/true);
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
    : log_(std::make_unique<RecordLog>(std::move(file), format_of(name),
                                       [&](uint8_t kind, std::string_view payload) {
                                         dispatch(replay, static_cast<RecordKind>(kind), payload);
                                         if (static_cast<RecordKind>(kind) == RecordKind::Group) {
                                           held_[group_of(payload)] += payload.size() - kArrivalBytes;
                                         }
                                       })) {}

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

void Journal::issued(uint64_t group) { append_group(*log_, RecordKind::Issued, group); }

void Journal::group(const RolloutGroup& group) {
  ByteWriter arrival;
  arrival.u64(group.group);
  arrival.i64(group.oldest_version());
  const auto contents = encode_group(group);
  append(*log_, RecordKind::Group, arrival.take() + contents);
  held_[group.group] += contents.size();
}

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

void Journal::owed(uint64_t group) { append_group(*log_, RecordKind::Owed, group); }

void Journal::trim(const std::function<bool(uint64_t group)>& needed) {
  uint64_t bytes = 0;
  for (const auto& [group, held] : held_) {
    if (!needed(group)) bytes += held;
  }
  if (2 * bytes < log_->size()) return;
  log_->rewrite([&](uint8_t kind, std::string_view payload) -> std::pair<uint8_t, std::string> {
    const bool goes = static_cast<RecordKind>(kind) == RecordKind::Group && !needed(group_of(payload));
    if (!goes) return {kind, std::string(payload)};
    return {static_cast<uint8_t>(RecordKind::Trimmed), std::string(payload.substr(0, kArrivalBytes))};
  });
  std::erase_if(held_, [&](const auto& held) { return !needed(held.first); });
  reach(Failpoint::JournalTrimmed);
}

int64_t Journal::size() const { return static_cast<int64_t>(log_->size()); }

}  // namespace sluice::buffers
