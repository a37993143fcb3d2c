// Where the ranks of a group find each other, and from which each knows how far the others are.
#pragma once

#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "transport/collective.h"

namespace sluice::transport::internal {

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
  void set(const std::string& key, int64_t value);
  // The ranks whose number under the name is lower, or not there.
  std::vector<int64_t> behind(const char* name, int64_t value);
  std::vector<int64_t> culprits();

  const RankOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  int64_t begun_ = 0;
};

// LibTorch's messages go on with a backtrace.
std::string first_line(const std::exception& error);

}  // namespace sluice::transport::internal
