// When numbers go wrong: what ends a stage before its policy is lost. Told what each step did, in order; the
// process that asks does the rest.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::learner {

// What a step did, as far as it matters here.
struct StepHealth {
  std::string skipped;       // why it moved no weight, "the gradient is not finite"; "" where it did
  std::string broken;        // why no later step will do better; "" where one may
  std::optional<double> kl;  // from the reference, where there is one
};

enum class Verdict {
  GoOn,
  GoBack,  // to the last checkpoint
  Stop,
};

// Skips of a kind that a later step may not have (one bad group, one overflow) are borne: two in a row, four
// in fifty steps. A KL is borne above its bound for two steps in a row.
class HealthGuard {
 public:
  static constexpr int64_t kSkipsInARow = 3, kSkips = 5, kWindow = 50, kStepsAboveKl = 3;

  explicit HealthGuard(double max_kl = 0.0) : max_kl_(max_kl) {}  // 0: no bound

  Verdict after(const StepHealth& step);
  // Of the last verdict that was not GoOn: "3 steps in a row were skipped, the last as the loss is not
  // finite".
  const std::string& cause() const { return cause_; }
  int64_t num_skipped() const { return num_skipped_; }

  // For a run that has gone back: what led there is no part of its way.
  void forgive();

  Json state() const;
  // Throws DataError naming `where` for what state() never gives.
  void load(const Json& state, std::string_view where);

 private:
  Verdict judge(const StepHealth& step);

  const double max_kl_;
  int64_t num_steps_ = 0, num_skipped_ = 0;
  int64_t skips_in_a_row_ = 0, steps_above_kl_ = 0;
  std::deque<int64_t> skips_;  // of the last kWindow steps, by their number
  std::string cause_;
};

}  // namespace sluice::learner
