// The bytes of a journal: framing, checksums, and telling a torn end from damage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace sluice::buffers::internal {

enum class RecordKind : uint8_t {
  Start = 1,  // u8 format version
  Issued = 2,
  Group = 3,
  Batch = 4,
  Fate = 5,
  Trained = 6,
  Rewind = 7,
  Restore = 8,
};

inline constexpr uint8_t kJournalVersion = 1;
inline constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;  // of kind and payload

// A whole record as it stands at `offset` of the file.
std::string frame_record(uint64_t offset, RecordKind kind, std::string_view payload);

// Reads the records of an open file of `size` bytes from its start. Returns where the whole records end;
// what is behind is torn. Throws DataError naming file and offset for damage, and for what `on_record`
// throws.
uint64_t read_records(int fd, const std::filesystem::path& file, uint64_t size,
                      const std::function<void(RecordKind kind, std::string_view payload)>& on_record);

}  // namespace sluice::buffers::internal
