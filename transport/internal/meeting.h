// Where the ranks of a group find each other, and from which each knows how far the others are.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "transport/collective.h"

namespace sluice::transport::internal {

// What a rank lets the others know.
struct Signs {
  int64_t begun = -1, failed = -1;  // last, by number
  int64_t met = -1;                 // the last wait of which it knows that all have begun it
  int64_t beats = -1;               // signs of life
};

// How far each rank is, and whether it lives: in a file of its own beside the meeting's for each of one host,
// in the store for others. A thread gives the signs of life, as long as the process is not overdue with its
// own.
class Progress {
 public:
  Progress(const RankOptions& options, c10::intrusive_ptr<c10d::Store> store);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void tell_begun(int64_t number);
  void tell_failed(int64_t number);
  void tell_met(int64_t number);
  // While this rank waits for others, which has a limit of its own, that is a sign of life of the process.
  void set_waiting(bool waits) { waits_ = waits; }
  // Of every rank; numbers of -1 for one that has told nothing.
  std::vector<Signs> look() const;

 private:
  void tell(int64_t Signs::*what, int64_t number);
  void beat(const std::stop_token& stop);
  Signs read(int64_t rank) const;

  const RankOptions options_;
  const c10::intrusive_ptr<c10d::Store> store_;
  std::mutex mutex_;
  Signs signs_ = {};  // guarded by mutex_
  int own_ = -1;      // the file, where there is one
  std::atomic<bool> waits_ = false;
  std::jthread heart_;  // last: uses what stands above
};

// Used by one thread.
class Meeting {
 public:
  // Returns when all ranks are there. Throws UsageError for a rank outside the group, EnvironmentError naming
  // the ranks that have not come in time.
  explicit Meeting(const RankOptions& options);
  // The store goes with the rank that has it: where the last that was begun is a wait, that rank lets the
  // others see first that it is over.
  ~Meeting();

  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }
  // "rank 0 of 3"
  std::string who() const;

  // What this rank has begun with the others.
  struct Begun {
    int64_t number = 0;
    std::chrono::steady_clock::time_point at;
  };
  // Another sum, or another wait, is begun here.
  Begun begin();
  // While it lives this rank waits for others in a sum.
  class Wait {
   public:
    explicit Wait(Meeting& meeting) : progress_(*meeting.progress_) { progress_.set_waiting(true); }
    ~Wait() { progress_.set_waiting(false); }

   private:
    Progress& progress_;
  };
  // Begins a wait and returns when all have begun it. Throws Error naming those that have not and give no
  // sign of life.
  void wait_for_all();
  // Throws Error for what went wrong: names the ranks that have not begun it in time or, where all have,
  // those that do not know of the failure within some seconds.
  [[noreturn]] void give_up(const Begun& begun, const std::string& what, const std::exception& error);

 private:
  void open();
  void know_all_have_met(const Begun& begun);

  const RankOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<Progress> progress_;
  int64_t num_begun_ = 0, met_ = 0;
};

// LibTorch's messages go on with a backtrace.
std::string first_line(const std::exception& error);

}  // namespace sluice::transport::internal
