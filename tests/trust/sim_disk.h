// A disk that can lose its power: what was not synced survives as far as chance has it.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log_file.h"
#include "tests/trust/sim_random.h"

namespace sluice::trust {

// Ends a process in the midst of what it does. No exception of the standard library, so that nobody between
// takes it for a failure.
struct Died {};

// The bytes of a file. Outlives the processes that open it.
class SimFile {
 public:
  // What the kernel had and the disk had not is gone, but for some of the changes: the first so many, or any
  // of them; the last of these torn.
  void lose_power(SimRandom& random) {
    bytes_ = synced_;
    const bool in_order = random.chance(0.5);
    const auto first = random.below(static_cast<int64_t>(changes_.size()) + 1);
    for (int64_t i = 0; i < std::ssize(changes_); ++i) {
      if (in_order ? i >= first : random.chance(0.5)) continue;
      auto change = changes_[static_cast<size_t>(i)];
      if (change.offset >= 0 && random.chance(0.2)) {
        change.bytes.resize(static_cast<size_t>(random.below(static_cast<int64_t>(change.bytes.size()) + 1)));
      }
      apply(change);
    }
    synced_ = bytes_;
    changes_.clear();
  }

  // So many changes and syncs the process that has it open still makes; in the next one it dies.
  std::optional<int64_t> dies_after;

 private:
  friend class SimLogFile;

  struct Change {
    int64_t offset = -1;  // of bytes that were written; -1: the file was cut to `size`
    std::string bytes;
    uint64_t size = 0;
  };

  bool is_the_end() { return dies_after && (*dies_after)-- == 0; }

  void change(Change change) {
    if (is_the_end()) {
      change.bytes.resize(change.bytes.size() / 2);
      if (change.offset >= 0) make(std::move(change));
      throw Died();
    }
    make(std::move(change));
  }
  void sync() {
    if (is_the_end()) throw Died();
    synced_ = bytes_;
    changes_.clear();
  }

  void replace(SimFile other) {
    if (is_the_end()) throw Died();
    bytes_ = synced_ = std::move(other.bytes_);
    changes_.clear();
    if (is_the_end()) throw Died();
  }

  void make(Change change) {
    apply(change);
    changes_.push_back(std::move(change));
  }
  void apply(const Change& change) {
    if (change.offset < 0) {
      bytes_.resize(change.size);
      return;
    }
    const auto offset = static_cast<size_t>(change.offset);
    if (bytes_.size() < offset + change.bytes.size()) bytes_.resize(offset + change.bytes.size());
    bytes_.replace(offset, change.bytes.size(), change.bytes);
  }

  std::string bytes_, synced_;
  std::vector<Change> changes_;  // since the last sync
};

class SimLogFile final : public LogFile {
 public:
  explicit SimLogFile(SimFile& file) : file_(file) {}

  uint64_t size() const override { return file_.bytes_.size(); }
  std::string read(uint64_t offset, uint64_t count) const override {
    require<DataError>(offset + count <= file_.bytes_.size(), "cannot read at byte ", offset);
    return file_.bytes_.substr(offset, count);
  }
  void write(uint64_t offset, std::string_view bytes) override {
    file_.change({.offset = static_cast<int64_t>(offset), .bytes = std::string(bytes)});
  }
  void truncate(uint64_t size) override { file_.change({.size = size}); }
  void sync() override { file_.sync(); }
  void replace(const std::function<void(LogFile& other)>& write_other) override {
    SimFile other;
    SimLogFile log(other);
    write_other(log);
    file_.replace(std::move(other));
  }

 private:
  SimFile& file_;
};

}  // namespace sluice::trust
