// Where the ranks of a group find each other, and from which each knows how far the others are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "transport/collective.h"

namespace sluice::transport::internal {

// How far each rank is: what was begun and what failed last, by number. In a file of 16 bytes beside the
// meeting's for each of one host, in the store for others.
class Progress {
 public:
  Progress(const RankOptions& options, c10::intrusive_ptr<c10d::Store> store);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  enum Kind { Begun, Failed };
  void tell(Kind kind, int64_t number);
  // The ranks whose number is lower, or not there.
  std::vector<int64_t> behind(Kind kind, int64_t number) const;

 private:
  int64_t read(Kind kind, int64_t rank) const;

  RankOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  int own_ = -1;  // the file, where there is one
};

// Used by one thread.
class Meeting {
 public:
  // Returns when all ranks are there. Throws UsageError for a rank outside the group, EnvironmentError naming
  // the ranks that have not come in time.
  explicit Meeting(const RankOptions& options);

  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }
  // "rank 0 of 3"
  std::string who() const;

  // Another sum, or another wait, is begun here. Returns its number.
  int64_t begin();
  // Waits until all have begun what begin() began last; throws Error naming those that have not.
  void wait_for_all(Millis patience_ms);
  // Throws Error for what was begun last and went wrong: names the ranks that have not begun it in time or,
  // where all have, those that do not know of the failure within some seconds.
  [[noreturn]] void give_up(const std::string& what, const std::exception& error);

 private:
  void open();

  const RankOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<Progress> progress_;
  int64_t begun_ = 0;
  std::chrono::steady_clock::time_point begun_at_;
};

// LibTorch's messages go on with a backtrace.
std::string first_line(const std::exception& error);

}  // namespace sluice::transport::internal
