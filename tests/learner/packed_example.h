// An example of the specification as the learner sees it: the chosen tokens end to end.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "learner/aggregation.h"
#include "learner/policy_loss.h"
#include "tests/spec_example.h"

namespace sluice::learner {

using Matrix = std::vector<std::vector<double>>;

inline at::Tensor constant(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }
inline at::Tensor trained(const std::vector<double>& values) { return constant(values).requires_grad_(); }

inline void expect_near(const at::Tensor& values, const std::vector<double>& expected,
                        double tolerance = 1e-9) {
  ASSERT_EQ(values.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    const double scale = std::max(1.0, std::abs(expected[i]));
    EXPECT_NEAR(values[static_cast<int64_t>(i)].item<double>(), expected[i], tolerance * scale) << "at " << i;
  }
}

struct PackedExample {
  explicit PackedExample(const std::string& name) : example(spec_example(name)) {
    for (const auto& row : matrix("inputs", "mask")) {
      mask.push_back(row);
      lengths.push_back(std::ranges::count(row, 1.0));
      denominators.tokens += lengths.back();
      ++denominators.sequences;
      denominators.nonempty += lengths.back() > 0 ? 1 : 0;
    }
    denominators.max_length = example["hyperparameters"].value("L_max", int64_t{1});
  }

  Matrix matrix(const char* part, const char* key) const { return example[part][key].get<Matrix>(); }
  std::vector<double> packed(const char* part, const char* key) const {
    const auto values = matrix(part, key);
    std::vector<double> out;
    for (size_t i = 0; i < mask.size(); ++i) {
      for (size_t t = 0; t < mask[i].size(); ++t) {
        if (mask[i][t] != 0.0) out.push_back(values[i][t]);
      }
    }
    return out;
  }
  // What there is one of for each sequence, at each of its tokens.
  std::vector<double> spread(const char* part, const char* key) const {
    const auto values = example[part][key].get<std::vector<double>>();
    std::vector<double> out;
    for (size_t i = 0; i < lengths.size(); ++i)
      out.insert(out.end(), static_cast<size_t>(lengths[i]), values[i]);
    return out;
  }
  std::vector<double> packed_advantages() const {
    return example["inputs"].contains("token_advantages") ? packed("inputs", "token_advantages")
                                                          : spread("inputs", "advantages");
  }
  PolicyLossInputs inputs(Aggregation mode, const char* old_name = "old_logp") const {
    PolicyLossInputs in{.logprobs = trained(packed("inputs", "logp")),
                        .old_logprobs = {},
                        .ref_logprobs = {},
                        .advantages = constant(packed_advantages()),
                        .weights = aggregation_weights(mode, lengths, denominators),
                        .lengths = lengths};
    in.old_logprobs =
        example["inputs"].contains(old_name) ? constant(packed("inputs", old_name)) : in.logprobs.detach();
    if (example["inputs"].contains("ref_logp")) in.ref_logprobs = constant(packed("inputs", "ref_logp"));
    return in;
  }
  double expected(const char* key) const { return example["expected"][key].get<double>(); }

  const Json& example;
  Matrix mask;
  std::vector<int64_t> lengths;
  StepDenominators denominators;
};

inline void expect_loss(const PackedExample& packed, const PolicyLossInputs& in,
                        const PolicyLossOptions& options) {
  const auto result = policy_loss(in, options);
  result.loss.backward();
  EXPECT_NEAR(result.loss.item<double>(), packed.expected("loss"), 1e-9);
  const auto& expected = packed.example["expected"];
  if (expected.contains("per_token_loss"))
    expect_near(result.token_loss, packed.packed("expected", "per_token_loss"));
  if (expected.contains("per_sequence_loss"))
    expect_near(result.token_loss, packed.spread("expected", "per_sequence_loss"));
  expect_near(in.logprobs.grad(), packed.packed("expected", "grad_logp"));
}

}  // namespace sluice::learner
