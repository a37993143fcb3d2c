#include "learner/guards.h"

#include <sstream>
#include <vector>

#include "base/error.h"

namespace sluice::learner {
namespace {

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace

Verdict HealthGuard::after(const StepHealth& step) {
  ++num_steps_;
  while (!skips_.empty() && skips_.front() <= num_steps_ - kWindow) skips_.pop_front();
  if (step.skipped.empty()) {
    skips_in_a_row_ = 0;
  } else {
    ++num_skipped_;
    ++skips_in_a_row_;
    skips_.push_back(num_steps_);
  }
  if (step.kl) steps_above_kl_ = max_kl_ > 0.0 && *step.kl > max_kl_ ? steps_above_kl_ + 1 : 0;
  return judge(step);
}

Verdict HealthGuard::judge(const StepHealth& step) {
  if (!step.broken.empty()) {
    cause_ = step.broken;
    return Verdict::GoBack;
  }
  if (skips_in_a_row_ >= kSkipsInARow) {
    cause_ = sentence(skips_in_a_row_, " steps in a row were skipped, the last as ", step.skipped);
    return Verdict::GoBack;
  }
  if (!step.skipped.empty() && std::ssize(skips_) >= kSkips) {
    cause_ =
        sentence(skips_.size(), " of the last ", kWindow, " steps were skipped, this one as ", step.skipped);
    return Verdict::GoBack;
  }
  if (steps_above_kl_ >= kStepsAboveKl) {
    cause_ = sentence("the KL was above guard.max_kl ", max_kl_, " for ", steps_above_kl_,
                      " steps, in the last it was ", *step.kl);
    return Verdict::Stop;
  }
  return Verdict::GoOn;
}

void HealthGuard::forgive() {
  skips_in_a_row_ = 0;
  steps_above_kl_ = 0;
  skips_.clear();
}

Json HealthGuard::state() const {
  return {{"steps", num_steps_},
          {"skipped", num_skipped_},
          {"skipped_in_a_row", skips_in_a_row_},
          {"skipped_lately", skips_},
          {"above_max_kl", steps_above_kl_}};
}

void HealthGuard::load(const Json& state, std::string_view where) {
  const auto count = [&](const char* key) {
    const auto value = json_member<int64_t>(state, key, where);
    require<DataError>(value >= 0, where, ": ", key, " is ", value);
    return value;
  };
  const auto lately = json_member<std::vector<int64_t>>(state, "skipped_lately", where);
  num_steps_ = count("steps");
  num_skipped_ = count("skipped");
  skips_in_a_row_ = count("skipped_in_a_row");
  steps_above_kl_ = count("above_max_kl");
  require<DataError>(num_skipped_ <= num_steps_ && std::ssize(lately) <= kWindow, where, ": ", num_skipped_,
                     " of ", num_steps_, " steps were skipped, ", lately.size(), " of the last ", kWindow);
  skips_.assign(lately.begin(), lately.end());
}

}  // namespace sluice::learner
