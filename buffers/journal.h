// The write-ahead log of rollout groups: what the ledger can be rebuilt from.
//
// A file of records with checksums (buffers/internal/record_log.h). What a crash leaves of an unsynced end is
// cut off when the journal is opened again; damage to what was synced is an error. What groups hold is most
// of it, and goes once nobody can come to need it; that they were there, and what became of them, stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log_file.h"
#include "buffers/ledger.h"
#include "buffers/rollout_group.h"

namespace sluice::buffers {

namespace internal {
class RecordLog;
}

// Not safe from several threads.
class Journal {
 public:
  // What sees every whole record in order; an empty one is left out. A hook that throws an Error ends the
  // reading with a DataError that names the record.
  struct Replay {
    std::function<void(uint64_t group)> issued = {};
    std::function<void(uint64_t group, int64_t oldest_version)> arrived = {};
    std::function<void(RolloutGroup group)> group = {};  // the same one, right after; unless it was trimmed
    std::function<void(int64_t step, const std::vector<uint64_t>& groups)> batch = {};
    // Dropped and quarantined; of a group of the last batch: poisoned in its step, once that is trained.
    std::function<void(uint64_t group, const Fate& fate)> fate = {};
    std::function<void(int64_t step)> trained = {};  // the groups of that step's last batch
    std::function<void(int64_t step)> rewind = {};
    std::function<void(int64_t step)> restore = {};
    std::function<void(uint64_t group)> owed = {};  // it is to be sampled again, since it was trimmed
  };
  // Reads what is there and cuts a torn end. `name` is for messages.
  Journal(std::unique_ptr<LogFile> file, const std::string& name, const Replay& replay);
  // Opens or creates the file.
  explicit Journal(const std::filesystem::path& file, const Replay& replay);
  explicit Journal(const std::filesystem::path& file) : Journal(file, Replay()) {}
  Journal(Journal&& other) noexcept;
  ~Journal();

  // Reads a journal that may be in use and changes nothing; returns the bytes of a torn end, left unread.
  static int64_t read(const std::filesystem::path& file, const Replay& replay);
  // The same of this one.
  void read(const Replay& replay) const;

  // Each appends one record; durable only after sync(). A failed write is final, as a failed sync() is.
  void issued(uint64_t group);
  void group(const RolloutGroup& group);
  void batch(int64_t step, const std::vector<uint64_t>& groups);
  void fate(uint64_t group, const Fate& fate);
  void trained(int64_t step);
  void rewind(int64_t step);
  void restore(int64_t step);
  void owed(uint64_t group);

  // Once that makes the file half as long: writes it anew, and syncs it, without what those groups hold that
  // are not `needed`.
  void trim(const std::function<bool(uint64_t group)>& needed);
  int64_t size() const;  // in bytes

  // fdatasync. A failure is final: the file is not to be trusted any more, so it throws.
  void sync();

  int64_t torn_bytes() const;  // cut off when it was opened

 private:
  std::unordered_map<uint64_t, uint64_t> held_;  // bytes that a group's records take, until they are trimmed
  std::unique_ptr<internal::RecordLog> log_;
};

// The ledger that a journal tells of, as it stands; read only. Groups that were issued and have not arrived
// are nobody's. `torn_bytes`: as Journal::read() returns them.
Ledger replay_ledger(const LedgerOptions& options, const std::filesystem::path& file,
                     int64_t* torn_bytes = nullptr);

// A ledger and the groups still queued, rebuilt from a journal file for going on at step `from_step`: trained
// steps at or after it are rewound; a batch before it counts as trained, since the weights hold it, even
// if the journal lost the record of that. A journal that does not know of every other step before it is not
// that of the checkpoint: a DataError. A group that is queued again but was trimmed, since no checkpoint so
// old was thought to be needed, is owed again. What was made up for or rewound is recorded and synced. The
// caller publishes the version it holds.
struct Recovered {
  Journal journal;
  Ledger ledger;
  std::vector<RolloutGroup> queued;         // by slot
  std::optional<int64_t> restored_to = {};  // the step the last restore() went back to
  int64_t restores = 0;                     // how many there were
};
Recovered recover(const LedgerOptions& options, std::unique_ptr<LogFile> file, const std::string& name,
                  int64_t from_step);
Recovered recover(const LedgerOptions& options, const std::filesystem::path& file, int64_t from_step);

}  // namespace sluice::buffers
