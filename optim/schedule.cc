#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "optim/internal/named_choice.h"

namespace sluice::optim {
namespace {

double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
}

double half_cosine(double q) { return 0.5 * (1.0 + std::cos(std::numbers::pi * q)); }

// From 1 at q = 0 to 0 at q = 1.
using Shape = double (*)(double q);
constexpr NamedChoice<Shape> kShapes[] = {{"linear", [](double q) { return 1.0 - q; }},
                                          {"cosine", half_cosine},
                                          {"1-sqrt", [](double q) { return 1.0 - std::sqrt(q); }}};

double from_min(const ScheduleOptions& options, double share) {
  return options.min_ratio + (1.0 - options.min_ratio) * share;
}

double constant(const ScheduleOptions&, int64_t, int64_t) { return 1.0; }

double linear(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  return std::max(0.0, ratio(total_steps - step, total_steps - options.warmup_steps));
}

double cosine(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  const int64_t warmup = options.warmup_steps;
  return from_min(options, half_cosine(std::min(1.0, ratio(step - warmup, total_steps - warmup))));
}

double wsd(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  const auto what_is_left = [](int64_t all, int64_t part) { return std::max<int64_t>(0, all - part); };
  const int64_t rest = what_is_left(total_steps, options.warmup_steps);
  const int64_t stable = options.stable_steps.value_or(
      options.decay_steps ? what_is_left(rest, *options.decay_steps) : rest * 9 / 10);
  const int64_t decay = options.decay_steps.value_or(what_is_left(rest, stable));

  const int64_t decayed = step - options.warmup_steps - stable;
  if (decayed < 0) return 1.0;
  if (decayed >= decay) return options.min_ratio;
  const auto shape = choose<Shape>(kShapes, options.decay_shape, "schedule_multiplier: decay_shape");
  return from_min(options, shape(ratio(decayed, decay)));
}

double inverse_sqrt(const ScheduleOptions& options, int64_t step, int64_t) {
  return std::sqrt(ratio(options.warmup_steps, step));
}

// The multiplier after the warm-up.
using Schedule = double (*)(const ScheduleOptions& options, int64_t step, int64_t total_steps);
constexpr NamedChoice<Schedule> kSchedules[] = {{"constant", constant},
                                                {"linear", linear},
                                                {"cosine", cosine},
                                                {"wsd", wsd},
                                                {"inverse_sqrt", inverse_sqrt}};

void check(const ScheduleOptions& options) {
  require(options.warmup_steps >= 0, "schedule_multiplier: a warm-up of ", options.warmup_steps, " steps");
  require(options.min_ratio >= 0.0 && options.min_ratio <= 1.0, "schedule_multiplier: min_ratio is ",
          options.min_ratio);
  const int64_t stable = options.stable_steps.value_or(0), decay = options.decay_steps.value_or(0);
  require(stable >= 0 && decay >= 0, "schedule_multiplier: ", stable, " stable steps and ", decay,
          " of decay");
  choose<Shape>(kShapes, options.decay_shape, "schedule_multiplier: decay_shape");
  // The formula, sqrt(warmup_steps / s), would be 0 for the whole run.
  require(options.kind != "inverse_sqrt" || options.warmup_steps > 0,
          "schedule_multiplier: inverse_sqrt with a warm-up of 0 steps");
}

}  // namespace

const std::vector<std::string>& schedule_kinds() {
  static const auto kinds = names_of<Schedule>(kSchedules);
  return kinds;
}

const std::vector<std::string>& decay_shapes() {
  static const auto shapes = names_of<Shape>(kShapes);
  return shapes;
}

double schedule_multiplier(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  const auto schedule = choose<Schedule>(kSchedules, options.kind, "schedule_multiplier: kind");
  check(options);
  require(step >= 0, "schedule_multiplier: step ", step);
  if (step >= options.warmup_steps) return schedule(options, step, total_steps);
  const double risen = ratio(options.warmup_from_zero ? step : step + 1, options.warmup_steps);
  return options.kind == "wsd" ? from_min(options, risen) : risen;
}

}  // namespace sluice::optim
