#include "buffers/internal/journal_records.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include "base/byte_codec.h"
#include "base/crc32c.h"
#include "base/error.h"

namespace sluice::buffers::internal {
namespace {

constexpr uint64_t kFrameBytes = 8;  // length and checksum

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
  ByteReader in(bytes.substr(0, kFrameBytes), "journal record");
  const uint32_t length = in.u32();
  return {length, in.u32()};
}

bool is_kind(char byte) {
  return byte >= static_cast<char>(RecordKind::Start) && byte <= static_cast<char>(RecordKind::Restore);
}

// Fills `out` with [offset, offset + n) of the file.
void read_at(int fd, const std::filesystem::path& file, uint64_t offset, uint64_t n, std::string& out) {
  out.resize(n);
  for (uint64_t done = 0; done < n;) {
    const ssize_t got = ::pread(fd, out.data() + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    require<DataError>(got > 0, "journal ", file.string(), ": cannot read at byte ", offset + done, ": ",
                       got == 0 ? "the file has become shorter" : std::generic_category().message(errno));
    done += static_cast<uint64_t>(got);
  }
}

// The first whole record in `tail` (the file from `offset` on) that starts behind its first byte. A torn end
// has none, since nothing is written behind it.
std::optional<uint64_t> find_record(std::string_view tail, uint64_t offset) {
  for (uint64_t at = 1; at + kFrameBytes < tail.size(); ++at) {
    if (!is_kind(tail[at + kFrameBytes])) continue;
    const auto frame = read_frame(tail.substr(at));
    if (frame.length == 0 || frame.length > tail.size() - at - kFrameBytes) continue;
    const auto body = tail.substr(at + kFrameBytes, frame.length);
    if (checksum(offset + at, frame.length, body) == frame.crc) return offset + at;
  }
  return std::nullopt;
}

// Returns when what stands at `offset` can be the last, torn record.
void require_torn(int fd, const std::filesystem::path& file, uint64_t offset, uint64_t size) {
  require<DataError>(size - offset <= kFrameBytes + kMaxRecordBytes, "journal ", file.string(),
                     ": the record at byte ", offset, " is damaged; ", size - offset, " bytes are behind it");
  std::string tail;
  read_at(fd, file, offset, size - offset, tail);
  const auto next = find_record(tail, offset);
  require<DataError>(!next, "journal ", file.string(), ": the record at byte ", offset,
                     " is damaged; a whole one follows at byte ", next.value_or(0));
}

void deliver(const std::filesystem::path& file, uint64_t offset, std::string_view body,
             const std::function<void(RecordKind, std::string_view)>& on_record) {
  const auto kind = static_cast<RecordKind>(body[0]);
  try {
    require<DataError>(is_kind(body[0]), "kind ", int{static_cast<uint8_t>(body[0])}, " is unknown");
    require<DataError>((kind == RecordKind::Start) == (offset == 0),
                       "the start of a journal stands first and once");
    on_record(kind, body.substr(1));
  } catch (const Error& error) {
    fail<DataError>("journal ", file.string(), ": record at byte ", offset, ": ", error.what());
  }
}

}  // namespace

std::string frame_record(uint64_t offset, RecordKind kind, std::string_view payload) {
  require(payload.size() < kMaxRecordBytes, "journal: a record of ", payload.size(), " bytes, at most ",
          kMaxRecordBytes - 1, " are allowed");
  std::string body(1, static_cast<char>(kind));
  body += payload;
  const auto length = static_cast<uint32_t>(body.size());
  ByteWriter out;
  out.u32(length);
  out.u32(checksum(offset, length, body));
  return out.take() + body;
}

uint64_t read_records(int fd, const std::filesystem::path& file, uint64_t size,
                      const std::function<void(RecordKind kind, std::string_view payload)>& on_record) {
  std::string head;
  std::string body;
  uint64_t offset = 0;
  while (offset < size) {
    const uint64_t left = size - offset;
    bool whole = false;
    if (left > kFrameBytes) {
      read_at(fd, file, offset, kFrameBytes, head);
      const auto frame = read_frame(head);
      if (frame.length > 0 && frame.length <= std::min(kMaxRecordBytes, left - kFrameBytes)) {
        read_at(fd, file, offset + kFrameBytes, frame.length, body);
        whole = checksum(offset, frame.length, body) == frame.crc;
      }
    }
    if (!whole) {
      // The first record is synced before another is written, so a torn one is all there is.
      require<DataError>(offset > 0 || size < frame_record(0, RecordKind::Start, "v").size(), "journal ",
                         file.string(), ": does not begin as a journal does");
      require_torn(fd, file, offset, size);
      return offset;
    }
    deliver(file, offset, body, on_record);
    offset += kFrameBytes + body.size();
  }
  return offset;
}

}  // namespace sluice::buffers::internal
