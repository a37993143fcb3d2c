#include "buffers/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/files.h"
#include "buffers/internal/journal_records.h"

namespace sluice::buffers {
namespace {

using internal::RecordKind;

std::string errno_text() { return std::generic_category().message(errno); }

uint64_t file_size(int fd, const std::filesystem::path& file) {
  struct stat status {};
  require<EnvironmentError>(::fstat(fd, &status) == 0, "journal ", file.string(),
                            ": cannot be examined: ", errno_text());
  return static_cast<uint64_t>(status.st_size);
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
    case RecordKind::Start: {
      const auto version = in.u8();
      require<DataError>(version == internal::kJournalVersion, "format ", int{version},
                         ", this program reads ", int{internal::kJournalVersion});
      break;
    }
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

uint64_t read_all(int fd, const std::filesystem::path& file, uint64_t size, const Journal::Replay& replay) {
  return internal::read_records(
      fd, file, size, [&](RecordKind kind, std::string_view payload) { dispatch(replay, kind, payload); });
}

class OpenFile {
 public:
  OpenFile(const std::filesystem::path& file, int flags)
      : fd_(::open(file.c_str(), flags | O_CLOEXEC, 0644)) {
    require<DataError>(fd_ >= 0, "journal ", file.string(), ": cannot be opened: ", errno_text());
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace

Journal::Journal(const std::filesystem::path& file, const Replay& replay) : file_(file) {
  OpenFile opened(file, O_RDWR | O_CREAT);
  const uint64_t size = file_size(opened.get(), file);
  end_ = read_all(opened.get(), file, size, replay);
  torn_bytes_ = static_cast<int64_t>(size - end_);
  fd_ = opened.release();
  try {
    start();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

// Makes the file end with its last whole record, and begin with its first.
void Journal::start() {
  if (torn_bytes_ > 0) {
    require<EnvironmentError>(::ftruncate(fd_, static_cast<off_t>(end_)) == 0, "journal ", file_.string(),
                              ": cannot cut a torn end: ", errno_text());
  }
  if (end_ == 0) {
    append(static_cast<uint8_t>(RecordKind::Start), std::string(1, char{internal::kJournalVersion}));
    sync_directory(file_.has_parent_path() ? file_.parent_path() : ".");
  }
  sync();  // what was read is built upon from here, so it must not be lost any more
}

Journal::~Journal() { ::close(fd_); }

int64_t Journal::read(const std::filesystem::path& file, const Replay& replay) {
  const OpenFile opened(file, O_RDONLY);
  const uint64_t size = file_size(opened.get(), file);
  return static_cast<int64_t>(size - read_all(opened.get(), file, size, replay));
}

void Journal::require_sound() const {
  require<EnvironmentError>(!failed_, "journal ", file_.string(),
                            ": an earlier write failed, it takes no more");
}

void Journal::append(uint8_t kind, std::string_view payload) {
  require_sound();
  const std::string record = internal::frame_record(end_, static_cast<RecordKind>(kind), payload);
  for (size_t done = 0; done < record.size();) {
    const ssize_t wrote =
        ::pwrite(fd_, record.data() + done, record.size() - done, static_cast<off_t>(end_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    failed_ = wrote <= 0;
    require<EnvironmentError>(!failed_, "journal ", file_.string(), ": cannot write ", record.size(),
                              " bytes at byte ", end_, ": ", errno_text());
    done += static_cast<size_t>(wrote);
  }
  end_ += record.size();
}

// Not tried again when it fails: the kernel then calls pages clean that never reached the disk.
void Journal::sync() {
  require_sound();
  failed_ = ::fdatasync(fd_) != 0;
  require<EnvironmentError>(!failed_, "journal ", file_.string(), ": fdatasync: ", errno_text());
}

void Journal::issued(uint64_t group) {
  ByteWriter out;
  out.u64(group);
  append(static_cast<uint8_t>(RecordKind::Issued), out.str());
}

void Journal::group(const RolloutGroup& group) {
  append(static_cast<uint8_t>(RecordKind::Group), encode_group(group));
}

void Journal::batch(int64_t step, const std::vector<uint64_t>& groups) {
  ByteWriter out;
  out.i64(step);
  out.u32(static_cast<uint32_t>(groups.size()));
  for (const uint64_t group : groups) out.u64(group);
  append(static_cast<uint8_t>(RecordKind::Batch), out.str());
}

void Journal::fate(uint64_t group, const Fate& fate) {
  require(fate.kind != FateKind::Trained, "journal: the fate of group ", group,
          " is to be recorded by trained(), with its whole batch");
  ByteWriter out;
  out.u64(group);
  out.u8(static_cast<uint8_t>(fate.kind));
  out.bytes(fate.reason);
  append(static_cast<uint8_t>(RecordKind::Fate), out.str());
}

void Journal::trained(int64_t step) { append_step(static_cast<uint8_t>(RecordKind::Trained), step); }

void Journal::rewind(int64_t step) { append_step(static_cast<uint8_t>(RecordKind::Rewind), step); }

void Journal::restore(int64_t step) { append_step(static_cast<uint8_t>(RecordKind::Restore), step); }

void Journal::append_step(uint8_t kind, int64_t step) {
  ByteWriter out;
  out.i64(step);
  append(kind, out.str());
}

}  // namespace sluice::buffers
