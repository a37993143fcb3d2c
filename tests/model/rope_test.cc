#include "model/internal/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "model/families/decoder_config.h"
#include "tests/spec_example.h"

namespace sluice::model {
namespace {

using testing::DoubleNear;
using testing::Pointwise;

// The rope of a config.json with this table, for heads of 8 numbers.
RopeConfig rope_of(const Json& scaling, double theta = 10000.0, int64_t max_position = 16384) {
  const Json json = {{"max_position_embeddings", max_position}, {"rope_scaling", scaling}};
  return read_rope(ConfigReader(json, "config.json"), /*head_dim=*/8, theta);
}

MATCHER_P(IsNear, expected, "") {
  return testing::ExplainMatchResult(
      Pointwise(DoubleNear(1e-9), expected.template get<std::vector<double>>()), arg, result_listener);
}

TEST(RopeFrequencies, AreThoseOfTheExampleOfTheSpec) {
  const auto& expected = spec_example("rope_frequencies").at("expected");
  const auto plain = rope_of({{"rope_type", "default"}});
  EXPECT_THAT(rope_frequencies(plain, 0), IsNear(expected.at("default")));

  const auto linear = rope_of({{"rope_type", "linear"}, {"factor", 4.0}});
  EXPECT_THAT(rope_frequencies(linear, 0), IsNear(expected.at("linear")));

  const auto dynamic = rope_of({{"rope_type", "dynamic"}, {"factor", 4.0}}, 10000.0, /*max_position=*/4096);
  EXPECT_THAT(rope_frequencies(dynamic, 16384), IsNear(expected.at("dynamic_ntk")));
  EXPECT_THAT(rope_frequencies(dynamic, 4096), IsNear(expected.at("default")));

  const auto yarn =
      rope_of({{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 4096}});
  EXPECT_THAT(rope_frequencies(yarn, 0), IsNear(expected.at("yarn")));
  EXPECT_NEAR(yarn.table_scale, expected.at("yarn_attention_factor").get<double>(), 1e-9);
}

TEST(RopeFrequencies, OfLlama3AreThoseOfTheExampleOfTheSpec) {
  const auto& expected = spec_example("rope_frequencies").at("expected");
  EXPECT_THAT(rope_frequencies(rope_of(nullptr, 500000.0), 0), IsNear(expected.at("llama3_unscaled")));
  const auto llama3 = rope_of({{"rope_type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 8192}},
                              500000.0);
  EXPECT_THAT(rope_frequencies(llama3, 0), IsNear(expected.at("llama3")));
}

TEST(RopeFrequencies, YarnAndLinearOfFactorOneChangeNothing) {
  const auto plain = rope_frequencies(rope_of(nullptr), 0);
  const auto yarn =
      rope_of({{"rope_type", "yarn"}, {"factor", 1.0}, {"original_max_position_embeddings", 16384}});
  EXPECT_THAT(rope_frequencies(yarn, 0), Pointwise(DoubleNear(1e-15), plain));
  EXPECT_EQ(yarn.table_scale, 1.0);
  EXPECT_EQ(rope_frequencies(rope_of({{"rope_type", "linear"}, {"factor", 1.0}}), 0), plain);
}

TEST(RopeFrequencies, OfLongRopeFollowTheLengthOfTheSequence) {
  const auto rope = rope_of({{"rope_type", "longrope"},
                             {"original_max_position_embeddings", 4096},
                             {"short_factor", {1.0, 1.0, 1.0, 1.0}},
                             {"long_factor", {1.0, 2.0, 4.0, 8.0}}});
  EXPECT_THAT(rope_frequencies(rope, 4096), Pointwise(DoubleNear(1e-12), {1.0, 0.1, 0.01, 0.001}));
  EXPECT_THAT(rope_frequencies(rope, 4097), Pointwise(DoubleNear(1e-12), {1.0, 0.05, 0.0025, 0.000125}));
  EXPECT_NEAR(rope.table_scale, std::sqrt(1.0 + std::log(4.0) / std::log(4096.0)), 1e-12);
}

}  // namespace
}  // namespace sluice::model
