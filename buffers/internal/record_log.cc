#include "buffers/internal/record_log.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/byte_codec.h"
#include "base/crc32c.h"
#include "base/error.h"

namespace sluice::buffers::internal {
namespace {

constexpr uint64_t kFrameBytes = 8;                // length and checksum
constexpr uint64_t kStartBytes = kFrameBytes + 2;  // of the first record
constexpr size_t kPieceBytes = size_t{1} << 20;    // that a new file is written in

uint32_t checksum(uint64_t offset, uint32_t length, std::string_view body) {
  ByteWriter head;
  head.u64(offset);
  head.u32(length);
  return crc32c(body, crc32c(head.str()));
}

struct Frame {
  uint32_t length;
  uint32_t crc;
};

Frame read_frame(std::string_view bytes) {
  ByteReader in(bytes.substr(0, kFrameBytes), "record");
  const uint32_t length = in.u32();
  return {length, in.u32()};
}

// A whole record as it stands at `offset` of the file.
std::string frame_record(uint64_t offset, uint8_t kind, std::string_view payload) {
  std::string body(1, static_cast<char>(kind));
  body += payload;
  const auto length = static_cast<uint32_t>(body.size());
  ByteWriter out;
  out.u32(length);
  out.u32(checksum(offset, length, body));
  return out.take() + body;
}

// Records on their way into a file, many with each write.
class RecordWriter {
 public:
  explicit RecordWriter(LogFile& file) : file_(file) {}

  void append(uint8_t kind, std::string_view payload) {
    piece_ += frame_record(written_ + piece_.size(), kind, payload);
    if (piece_.size() >= kPieceBytes) flush();
  }
  // Returns where they end.
  uint64_t flush() {
    file_.write(written_, piece_);
    written_ += piece_.size();
    piece_.clear();
    return written_;
  }

 private:
  LogFile& file_;
  uint64_t written_ = 0;
  std::string piece_;
};

// Lets what the file says of itself begin with its name.
template <class Call>
auto named(const RecordFormat& format, Call call) {
  try {
    return call();
  } catch (const Error& error) {
    throw DataError(format.name() + ": " + error.what());
  }
}

// The records of a file, from its start.
class RecordReader {
 public:
  RecordReader(const LogFile& file, const RecordFormat& format)
      : file_(file), format_(format), size_(named(format, [&] { return file.size(); })) {}

  RecordsRead read(const OnRecord& on_record) {
    while (offset_ < size_) {
      const auto body = next();
      if (!body) {
        // The first record is synced before another is written, so a torn one is all there is.
        require<DataError>(offset_ > 0 || size_ <= kStartBytes, format_.name(), ": does not begin as a ",
                           format_.what, " does");
        require_torn();
        break;
      }
      deliver(*body, on_record);
      offset_ += kFrameBytes + body->size();
    }
    return {.whole_bytes = offset_, .torn_bytes = size_ - offset_};
  }

 private:
  std::string bytes(uint64_t offset, uint64_t count) const {
    return named(format_, [&] { return file_.read(offset, count); });
  }
  bool is_kind(char byte) const {
    const auto kind = static_cast<uint8_t>(byte);
    return kind >= kStartRecord && kind <= format_.last_kind;
  }

  // Kind and payload of the record at offset_; empty when it is not whole.
  std::optional<std::string> next() const {
    const uint64_t left = size_ - offset_;
    if (left <= kFrameBytes) return std::nullopt;
    const auto frame = read_frame(bytes(offset_, kFrameBytes));
    if (frame.length == 0 || frame.length > std::min(kMaxRecordBytes, left - kFrameBytes))
      return std::nullopt;
    auto body = bytes(offset_ + kFrameBytes, frame.length);
    if (checksum(offset_, frame.length, body) != frame.crc) return std::nullopt;
    return body;
  }

  void deliver(std::string_view body, const OnRecord& on_record) const {
    const auto kind = static_cast<uint8_t>(body[0]);
    try {
      require<DataError>(is_kind(body[0]), "kind ", int{kind}, " is unknown");
      require<DataError>((kind == kStartRecord) == (offset_ == 0), "the start stands first and once");
      if (kind == kSyncRecord) return;
      if (kind != kStartRecord) return on_record(kind, body.substr(1));
      ByteReader in(body.substr(1), "start");
      const auto version = in.u8();
      in.finish();
      require<DataError>(version == format_.version, "format ", int{version}, ", this program reads ",
                         int{format_.version});
    } catch (const Error& error) {
      fail<DataError>(format_.name(), ": record at byte ", offset_, ": ", error.what());
    }
  }

  // Returns when what stands at offset_ can have been written since the last sync.
  void require_torn() const {
    require<DataError>(size_ - offset_ <= kFrameBytes + kMaxRecordBytes, format_.name(),
                       ": the record at byte ", offset_, " is damaged; ", size_ - offset_,
                       " bytes are behind it");
    const auto synced = find_sync(bytes(offset_, size_ - offset_));
    require<DataError>(!synced, format_.name(), ": the record at byte ", offset_,
                       " is damaged; it was on the disk, as one at byte ", synced.value_or(0), " says");
  }

  // The first record in `tail` (the file from offset_ on) that says what was synced.
  std::optional<uint64_t> find_sync(std::string_view tail) const {
    for (uint64_t at = 1; at + kFrameBytes < tail.size(); ++at) {
      if (tail[at + kFrameBytes] != static_cast<char>(kSyncRecord)) continue;
      const auto frame = read_frame(tail.substr(at));
      if (frame.length != 1) continue;
      const auto body = tail.substr(at + kFrameBytes, 1);
      if (checksum(offset_ + at, frame.length, body) == frame.crc) return offset_ + at;
    }
    return std::nullopt;
  }

  const LogFile& file_;
  const RecordFormat& format_;
  const uint64_t size_;
  uint64_t offset_ = 0;
};

}  // namespace

RecordsRead read_records(const LogFile& file, const RecordFormat& format, const OnRecord& on_record) {
  return RecordReader(file, format).read(on_record);
}

RecordLog::RecordLog(std::unique_ptr<LogFile> file, RecordFormat format, const OnRecord& on_record)
    : file_(std::move(file)), format_(std::move(format)) {
  const auto found = read_records(*file_, format_, on_record);
  end_ = found.whole_bytes;
  torn_bytes_ = found.torn_bytes;
  if (torn_bytes_ > 0) attempt([this] { file_->truncate(end_); });
  if (end_ == 0) append(kStartRecord, std::string(1, static_cast<char>(format_.version)));
  attempt([this] { file_->sync(); });
}

template <class Call>
void RecordLog::attempt(Call call) {
  require<EnvironmentError>(!failed_, format_.name(), ": an earlier write failed, it takes no more");
  failed_ = true;
  try {
    call();
  } catch (const Error& error) {
    throw EnvironmentError(format_.name() + ": " + error.what());
  }
  failed_ = false;
}

void RecordLog::append(uint8_t kind, std::string_view payload) {
  require(payload.size() < kMaxRecordBytes, format_.name(), ": a record of ", payload.size(),
          " bytes, at most ", kMaxRecordBytes - 1, " are allowed");
  const auto record = frame_record(end_, kind, payload);
  attempt([&] { file_->write(end_, record); });
  end_ += record.size();
  marked_ = kind == kSyncRecord;
}

void RecordLog::sync() {
  attempt([this] { file_->sync(); });
  if (!marked_) append(kSyncRecord, "");
}

void RecordLog::rewrite(const Change& change) {
  uint64_t end = 0;
  attempt([&] {
    file_->replace([&](LogFile& other) {
      RecordWriter out(other);
      out.append(kStartRecord, std::string(1, static_cast<char>(format_.version)));
      read_records(*file_, format_, [&](uint8_t kind, std::string_view payload) {
        const auto [new_kind, new_payload] = change(kind, payload);
        out.append(new_kind, new_payload);
      });
      out.append(kSyncRecord, "");  // it takes the place of the old file only once it is synced
      end = out.flush();
    });
  });
  end_ = end;
  marked_ = true;
}

void RecordLog::clear() {
  attempt([this] {
    file_->truncate(kStartBytes);
    file_->sync();  // else a crash could leave new records with old ones behind them
  });
  end_ = kStartBytes;
  marked_ = true;
}

}  // namespace sluice::buffers::internal
