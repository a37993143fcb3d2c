#include "learner/coefficients.h"

#include <cmath>

#include "base/error.h"

namespace sluice::learner {

Coefficients::Coefficients(const CoefficientOptions& options)
    : options_(options),
      kl_{.coefficient = options.beta,
          .target = options.adapts_kl() ? options.kl_target : 1.0,
          .horizon = options.kl_horizon},
      entropy_{
          .coefficient = options.entropy, .target = options.entropy_target, .delta = options.entropy_delta} {
  require(!options.adapts_kl() || options.beta > 0.0, "Coefficients: a KL of ", options.kl_target,
          " is the target, and beta, which is to reach it, is ", options.beta);
}

void Coefficients::after_step(std::optional<double> sequence_kl, int64_t num_sequences,
                              std::optional<double> entropy) {
  if (options_.adapts_kl() && sequence_kl) kl_.update(*sequence_kl, num_sequences);
  if (options_.adapts_entropy() && entropy) entropy_.update(*entropy);
}

Json Coefficients::state() const {
  return {{"kl", kl_.coefficient},
          {"entropy", entropy_.coefficient},
          {"measured_entropy", entropy_.measured ? Json(*entropy_.measured) : Json()}};
}

void Coefficients::load(const Json& state, std::string_view where) {
  const auto read = [&](const char* key) {
    const auto value = json_member<double>(state, key, where);
    require<DataError>(std::isfinite(value) && value >= 0.0, where, ": the coefficient ", key, " is ", value);
    return value;
  };
  kl_.coefficient = read("kl");
  entropy_.coefficient = read("entropy");
  entropy_.measured.reset();
  if (state.contains("measured_entropy") && !state["measured_entropy"].is_null()) {
    entropy_.measured = json_member<double>(state, "measured_entropy", where);
  }
}

}  // namespace sluice::learner
