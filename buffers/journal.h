// The write-ahead log of rollout groups: what the ledger can be rebuilt from.
//
// A file of records, each: u32 length, u32 CRC-32C, u8 kind, payload. A torn last record is what a crash
// leaves and is cut off when the journal is opened again; a damaged record before the end is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "buffers/ledger.h"
#include "buffers/rollout_group.h"

namespace sluice::buffers {

// Not safe from several threads.
class Journal {
 public:
  // Opens or creates the file, checks it and cuts a torn end. `on_record` hooks see every whole record in order.
  struct Replay {
    std::function<void(uint64_t group)> issued;
    std::function<void(RolloutGroup group)> group;
    std::function<void(int64_t step, const std::vector<uint64_t>& groups)> batch;
    std::function<void(uint64_t group, const Fate& fate)> fate;  // dropped and quarantined
    std::function<void(int64_t step)> trained;                   // the groups of that step's last batch
    std::function<void(int64_t step)> rewind;
  };
  explicit Journal(const std::filesystem::path& file, const Replay& replay = {});
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Each appends one record; durable only after sync().
  void issued(uint64_t group);
  void group(const RolloutGroup& group);
  void batch(int64_t step, const std::vector<uint64_t>& groups);
  void fate(uint64_t group, const Fate& fate);
  void trained(int64_t step);
  void rewind(int64_t step);

  // fdatasync. A failure is final: the file is not to be trusted any more, so it throws.
  void sync();

  int64_t torn_bytes() const { return torn_bytes_; }  // cut off when it was opened

 private:
  void append(uint8_t kind, std::string_view payload);
  const std::filesystem::path file_;
  int fd_ = -1;
  int64_t torn_bytes_ = 0;
};

// A ledger and the groups still queued, rebuilt from a journal file; trained steps at or after `from_step`
// are rewound. The journal is opened for appending and the rewind is recorded.
struct Recovered {
  Ledger ledger;
  std::vector<RolloutGroup> queued;  // by ordinal
};
Recovered recover(const LedgerOptions& options, const std::filesystem::path& file, int64_t from_step);

}  // namespace sluice::buffers
