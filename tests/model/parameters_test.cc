#include "model/parameters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace sluice::model {
namespace {

Parameters matrix_and_buffer() {
  Parameters parameters;
  parameters.add({.name = "matrix", .shape = {2, 3}});
  parameters.add({.name = "bias", .shape = {4}, .kind = ParameterKind::Buffer, .initial = 0.5});
  return parameters;
}

TEST(Parameters, ABufferIsAPlaceInTheFlatOneAndNeverTrained) {
  auto parameters = matrix_and_buffer();
  const auto flat = at::zeros({10});
  parameters.bind(flat, /*requires_grad=*/true);
  EXPECT_EQ(parameters[1].const_data_ptr<float>(), flat.const_data_ptr<float>() + 6);
  EXPECT_TRUE(parameters[0].requires_grad());
  EXPECT_FALSE(parameters[1].requires_grad());
}

TEST(Parameters, ABufferOfBfloat16WeightsStaysInFloat32HoweverOftenTheyAreBound) {
  auto parameters = matrix_and_buffer();
  const auto flat = at::ones({10}, at::kBFloat16);
  parameters.bind(flat, /*requires_grad=*/false);
  EXPECT_TRUE(at::equal(parameters[1], at::full({4}, 0.5f)));
  EXPECT_TRUE(at::equal(flat, at::tensor({1, 1, 1, 1, 1, 1, 0, 0, 0, 0}).to(at::kBFloat16)));
  parameters[1].detach().fill_(16.001f);  // 16 in bfloat16
  parameters.bind(flat, /*requires_grad=*/false);
  EXPECT_TRUE(at::equal(parameters[1], at::full({4}, 16.001f)));
}

}  // namespace
}  // namespace sluice::model
