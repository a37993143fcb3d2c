// Records one behind the other in a file: what the journal and the spools are made of.
//
// Each is: u32 length, u32 CRC-32C, u8 kind, payload. The length is that of kind and payload; the checksum is
// over the record's offset in the file (u64), the length, the kind and the payload, so nothing that stands
// inside a payload passes for a record. The first, of kind kStartRecord, names the format's version.
//
// A crash may leave a torn end: what was written since the last sync, of which later parts may be whole where
// earlier ones are not. So a sync is followed by a record of kind kSyncRecord, which says that all before it
// was on the disk: damage with one behind it is an error, any other is a torn end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/log_file.h"

namespace sluice::buffers::internal {

inline constexpr uint8_t kStartRecord = 1;                      // u8 version
inline constexpr uint8_t kSyncRecord = 2;                       // empty
inline constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;  // of kind and payload

struct RecordFormat {
  std::string what;  // "journal"
  std::string file;
  uint8_t version = 1;
  uint8_t last_kind = kSyncRecord;

  std::string name() const { return what + " " + file; }  // for messages
};

// Sees every record but those of the two kinds above. What it throws ends the reading with a DataError that
// names the record.
using OnRecord = std::function<void(uint8_t kind, std::string_view payload)>;

struct RecordsRead {
  uint64_t whole_bytes = 0;  // where the whole records end
  uint64_t torn_bytes = 0;   // behind them
};
// Reads a file that may be in use, changes nothing. Throws DataError naming file and offset for damage.
RecordsRead read_records(const LogFile& file, const RecordFormat& format, const OnRecord& on_record);

// Not safe from several threads.
class RecordLog {
 public:
  // Reads what is there, cuts a torn end off, writes the first record of a new file, and syncs: what was read
  // is built upon from here.
  RecordLog(std::unique_ptr<LogFile> file, RecordFormat format, const OnRecord& on_record);

  // Durable only after sync(). A failed write is final, as a failed sync() is: the log takes no more.
  void append(uint8_t kind, std::string_view payload);
  void sync();
  // Takes all records back but the first, and syncs that.
  void clear();
  // Writes the file anew, each record as `change` makes it (kind and payload), and syncs that: a crash leaves
  // the old or the new one.
  using Change = std::function<std::pair<uint8_t, std::string>(uint8_t kind, std::string_view payload)>;
  void rewrite(const Change& change);

  uint64_t size() const { return end_; }
  uint64_t torn_bytes() const { return torn_bytes_; }  // cut off when it was opened
  const LogFile& file() const { return *file_; }
  const RecordFormat& format() const { return format_; }

 private:
  template <class Call>
  void attempt(Call call);

  std::unique_ptr<LogFile> file_;
  RecordFormat format_;
  uint64_t end_ = 0;  // where the next record goes
  uint64_t torn_bytes_ = 0;
  bool marked_ = true;  // nothing was appended since the last sync
  bool failed_ = false;
};

}  // namespace sluice::buffers::internal
