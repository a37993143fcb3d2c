#include "model/float8.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace sluice::model {
namespace {

at::Tensor all_codes() { return at::arange(256).to(at::kByte).view({16, 16}).view(at::kFloat8_e4m3fn); }

// Sign, four bits of exponent with bias 7, three of mantissa; all ones is NaN and there is no infinity.
float e4m3(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 7 - 3);
  return static_cast<float>((code & 128) != 0 ? -magnitude : magnitude);
}

TEST(Float8, EveryCodeIsWhatTheFormatSaysTimesItsScale) {
  const auto scales = at::tensor({1.0f, 0.5f, 3.0f, 1e-3f}).view({2, 2});
  const auto values = dequantise_blocks(all_codes(), scales, 8, 8);
  const auto torch = all_codes().to(at::kFloat);
  for (int code = 0; code < 256; ++code) {
    const float scale = scales[code / 16 / 8][code % 16 / 8].item<float>();
    const float seen = values[code / 16][code % 16].item<float>();
    const float wanted = e4m3(code) * scale;
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(seen)) << code;
      EXPECT_TRUE(std::isnan(torch[code / 16][code % 16].item<float>())) << code;
    } else {
      EXPECT_EQ(seen, wanted) << code;
      EXPECT_EQ(std::signbit(seen), std::signbit(wanted)) << code;
      EXPECT_EQ(seen, torch[code / 16][code % 16].item<float>() * scale) << code;
    }
  }
}

TEST(Float8, TheLastBlocksMayBeSmaller) {
  // 5 x 7 in blocks of 2 x 3: three rows and three columns of scales.
  const auto ones = at::ones({5, 7}).to(at::kFloat8_e4m3fn);
  const auto scales = at::arange(1, 10).to(at::kFloat).view({3, 3});
  const auto values = dequantise_blocks(ones, scales, 2, 3);
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 7; ++j) {
      EXPECT_EQ(values[i][j].item<float>(), static_cast<float>(i / 2 * 3 + j / 3 + 1));
    }
  }
}

TEST(Float8, TakesOtherTypesOfScaleAndTheOtherFormat) {
  const auto ones = at::ones({2, 2}).to(at::kFloat8_e5m2);
  const auto values = dequantise_blocks(ones, at::full({1, 1}, 0.25).to(at::kBFloat16), 128, 128);
  EXPECT_TRUE(at::equal(values, at::full({2, 2}, 0.25f)));
  EXPECT_EQ(dequantise_blocks(at::zeros({0, 4}).to(at::kFloat8_e5m2), at::zeros({0, 1}), 128, 128).numel(),
            0);
}

TEST(Float8, ScalesThatDoNotFitAreNamedWithBothShapes) {
  const auto weight = at::ones({130, 128}).to(at::kFloat8_e4m3fn);
  try {
    dequantise_blocks(weight, at::ones({1, 1}), 128, 128);
    FAIL() << "taken";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("[130, 128]"));
    EXPECT_THAT(error.what(), testing::HasSubstr("[1, 1]"));
  }
  EXPECT_THROW(dequantise_blocks(weight, at::ones({2}), 128, 128), DataError);
  EXPECT_THROW(dequantise_blocks(weight, at::ones({2, 1}, at::kInt), 128, 128), DataError);
  EXPECT_THROW(dequantise_blocks(weight, at::ones({2, 1}), 0, 128), DataError);
  EXPECT_THROW(dequantise_blocks(at::ones({128, 128}), at::ones({1, 1}), 128, 128), DataError);
}

}  // namespace
}  // namespace sluice::model
