// How the learning rate moves over the steps of a run (spec section 17.4).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::optim {

struct ScheduleOptions {
  std::string kind = "constant";  // one of schedule_kinds()
  int64_t warmup_steps = 0;       // rises as (s + 1) / warmup_steps, so that the first update already moves
  bool warmup_from_zero = false;  // rises as s / warmup_steps: the first update changes the moments alone
  double min_ratio = 0.0;         // cosine, wsd: what it falls to; wsd also rises from there
  // wsd: steps at 1 after the warm-up, then steps of the fall. What is left out is the rest of the run; where
  // both are, nine tenths and one tenth of it.
  std::optional<int64_t> stable_steps = {}, decay_steps = {};
  std::string decay_shape = "cosine";  // wsd: one of decay_shapes()
};

const std::vector<std::string>& schedule_kinds();  // constant, linear, cosine, wsd, inverse_sqrt
const std::vector<std::string>& decay_shapes();    // linear, cosine, 1-sqrt

// Multiplier on the learning rate at optimizer step `step`, the first being 0. Throws Error for options that
// make no sense: an unknown name, a negative count, inverse_sqrt without a warm-up.
double schedule_multiplier(const ScheduleOptions& options, int64_t step, int64_t total_steps);

}  // namespace sluice::optim
