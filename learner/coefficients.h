// What weighs the KL to the reference and the entropy in a step, and how that follows what steps measure.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "learner/entropy_bonus.h"
#include "learner/kl.h"

namespace sluice::learner {

struct CoefficientOptions {
  double beta = 0.0;       // of the KL; with a target: in the first step
  double kl_target = 0.0;  // 0: beta stays as it is
  double kl_horizon = 10'000;
  double entropy = 0.0;         // of the entropy bonus; with a target: what it begins with
  double entropy_target = 0.0;  // 0: it stays as it is
  double entropy_delta = 0.005;

  bool adapts_kl() const { return kl_target > 0.0; }
  bool adapts_entropy() const { return entropy_target > 0.0; }
  bool uses_entropy() const { return entropy != 0.0 || adapts_entropy(); }
};

// A step uses what the steps before it left.
class Coefficients {
 public:
  explicit Coefficients(const CoefficientOptions& options);

  double kl() const { return kl_.coefficient; }
  double entropy() const { return options_.adapts_entropy() ? entropy_.applied() : options_.entropy; }

  // Of a step that moved the policy: the mean over its `num_sequences` of their mean KL, and its mean
  // entropy, where they were measured.
  void after_step(std::optional<double> sequence_kl, int64_t num_sequences, std::optional<double> entropy);

  Json state() const;
  // Throws DataError naming `where` for what state() never gives.
  void load(const Json& state, std::string_view where);

 private:
  const CoefficientOptions options_;
  KlController kl_;
  EntropyController entropy_;
};

}  // namespace sluice::learner
