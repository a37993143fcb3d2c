// Which actor has which lease now, with the deadlines that the ledger gave: the ledger answers for groups,
// this for actors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "base/clock.h"

namespace sluice::learner::internal {

class LeaseBook {
 public:
  void lend(uint64_t group, const std::string& actor, Millis deadline) { loans_[group] = {actor, deadline}; }
  void end(uint64_t group) { loans_.erase(group); }

  void renew(const std::string& actor, Millis deadline) {
    for (auto& [group, loan] : loans_) {
      if (loan.actor == actor) loan.deadline = deadline;
    }
  }
  void release(const std::string& actor) {
    std::erase_if(loans_, [&](const auto& loan) { return loan.second.actor == actor; });
  }
  void expire(Millis now) {
    std::erase_if(loans_, [&](const auto& loan) { return loan.second.deadline <= now; });
  }

  int64_t size() const { return static_cast<int64_t>(loans_.size()); }
  int64_t held_by(const std::string& actor) const {
    return std::count_if(loans_.begin(), loans_.end(),
                         [&](const auto& loan) { return loan.second.actor == actor; });
  }

 private:
  struct Loan {
    std::string actor;
    Millis deadline = 0;
  };
  std::map<uint64_t, Loan> loans_;
};

}  // namespace sluice::learner::internal
