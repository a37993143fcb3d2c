#include "actors/speculative.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "tests/spec_example.h"

namespace sluice::actors {
namespace {

using Distributions = std::vector<std::vector<double>>;

void expect_near(const std::vector<double>& values, const Json& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i].get<double>(), 1e-12);
}

TEST(Speculative, KeepsAndReplacesDraftsAsTheSpecificationDoes) {
  const Json& example = spec_example("speculative_decoding");
  const auto& in = example["inputs"];
  const auto& expected = example["expected"];
  const auto p = in["p_target"].get<Distributions>(), q = in["q_draft"].get<Distributions>();
  for (size_t i = 0; i < q.size(); ++i) {
    const auto kept = acceptance(p[i], q[i]), left = residual(p[i], q[i]);
    expect_near(kept, expected["accept_prob"][i]);
    expect_near(left, expected["residual"][i]);
    // Drafts kept and replaced together are drawn from p.
    double rate = 0.0;
    for (size_t v = 0; v < q[i].size(); ++v) rate += q[i][v] * kept[v];
    EXPECT_NEAR(rate, expected["acceptance_rate"][i].get<double>(), 1e-12);
    for (size_t v = 0; v < q[i].size(); ++v)
      EXPECT_NEAR(q[i][v] * kept[v] + (1.0 - rate) * left[v], p[i][v], 1e-12);
  }
  const auto kept = [&](const char* drafts, const char* uniforms) {
    return num_kept(in[drafts].get<std::vector<int>>(), in[uniforms].get<std::vector<double>>(), p, q);
  };
  EXPECT_EQ(kept("draft_a", "u_a"), expected["accepted_a"].get<size_t>());
  EXPECT_EQ(kept("draft_b", "u_b"), expected["accepted_b"].get<size_t>());
  EXPECT_NEAR(expected_tokens(0.7, 3), expected["expected_tokens_per_step_alpha0.7_gamma3"].get<double>(),
              1e-12);
}

TEST(Speculative, ADraftThatIsTheTargetIsAlwaysKeptAndHasNoResidual) {
  const std::vector<double> p = {0.25, 0.75};
  EXPECT_EQ(acceptance(p, p), (std::vector<double>{1.0, 1.0}));
  EXPECT_EQ(residual(p, p), p);
  EXPECT_EQ(acceptance(p, std::vector<double>{1.0, 0.0})[1], 0.0);
  EXPECT_THROW(residual(p, std::vector<double>{1.0}), Error);
}

}  // namespace
}  // namespace sluice::actors
