#include "learner/kto_loss.h"

#include "tests/loss_checks.h"
#include "tests/spec_example.h"

namespace sluice::learner {
namespace {

const Json& spec() { return spec_example("kto"); }
std::vector<double> input(const char* name) {
  return spec().at("inputs").at(name).get<std::vector<double>>();
}
std::vector<double> expected_list(const char* name) {
  return spec().at("expected").at(name).get<std::vector<double>>();
}
double expected(const char* name) { return spec().at("expected").at(name).get<double>(); }

KtoLossInputs spec_inputs(at::ScalarType type = at::kDouble) {
  return {.policy_logps = trained(input("policy_logps"), type),
          .ref_logps = constant(input("ref_logps")).to(type),
          .desirable = constant(input("labels")).to(at::kBool)};
}

KtoLossInputs slice(const KtoLossInputs& in, int64_t first, int64_t count) {
  return {.policy_logps = in.policy_logps.narrow(0, first, count),
          .ref_logps = in.ref_logps.narrow(0, first, count),
          .desirable = in.desirable.narrow(0, first, count)};
}

constexpr KtoLossOptions kOptions{.undesirable_weight = 1.2};

TEST(KtoLoss, GivesTheValuesAndGradientsOfTheSpecification) {
  const double z0 = kto_z0(constant(input("policy_kl_logps")), constant(input("ref_kl_logps")));
  expect_near(z0, expected("z0"));
  for (const auto type : {at::kDouble, at::kFloat}) {
    const Tolerance tolerance = type == at::kFloat ? kFloat32 : Tolerance{};
    const auto in = spec_inputs(type);
    const auto result = kto_loss(in, z0, 4, kOptions);
    result.loss.backward();
    expect_near(result.loss.item<double>(), expected("loss"), tolerance);
    expect_near(result.example_loss, expected_list("per_example_loss"), tolerance);
    expect_near(in.policy_logps.grad(), expected_list("grad_policy_logps"), tolerance);
  }
}

TEST(KtoLoss, SumsWhatItMeasuresByClass) {
  const auto result = kto_loss(spec_inputs(), 0.3, 4);
  EXPECT_EQ(result.desirable.examples, 2);
  EXPECT_EQ(result.undesirable.examples, 2);
  expect_near(result.desirable.rewards, 0.12);    // 0.1 * (1 + 0.2)
  expect_near(result.undesirable.rewards, 0.05);  // 0.1 * (-0.5 + 1)
  expect_near(result.desirable.logps, -18.0);
  expect_near(result.undesirable.logps, -21.0);
}

TEST(KtoLoss, OfOneClassCountsNothingOfTheOther) {
  auto in = spec_inputs();
  in.desirable = at::ones({4}, at::kBool);
  const auto result = kto_loss(in, 0.3, 4);
  EXPECT_EQ(result.undesirable.examples, 0);
  EXPECT_EQ(result.undesirable.rewards, 0.0);
  expect_finite(result.loss.detach());
}

TEST(KtoLoss, IsTheSameCutIntoMicroBatches) {
  const auto whole = spec_inputs(), cut = spec_inputs();
  const auto loss = kto_loss(whole, 0.3, 4, kOptions).loss;
  loss.backward();
  const auto first = kto_loss(slice(cut, 0, 3), 0.3, 4, kOptions).loss;
  const auto second = kto_loss(slice(cut, 3, 1), 0.3, 4, kOptions).loss;
  (first + second).backward();
  expect_near((first + second).item<double>(), loss.item<double>());
  EXPECT_TRUE(at::allclose(cut.policy_logps.grad(), whole.policy_logps.grad(), 1e-12, 0.0));
}

TEST(KtoLoss, HasTheGradientOfCentralDifferences) {
  for (const double z0 : {0.0, 0.3}) {
    expect_gradient(
        [&](const at::Tensor& values) {
          auto in = spec_inputs();
          in.policy_logps = values;
          return kto_loss(in, z0, 4, kOptions).loss;
        },
        input("policy_logps"));
  }
}

TEST(KtoLoss, WithoutAReferencePointIsApoZero) {
  const auto in = spec_inputs();
  const auto gain = 0.1 * (in.policy_logps - in.ref_logps).detach();
  const auto expected_loss = at::where(in.desirable, 1.0 - gain.sigmoid(), gain.sigmoid());
  EXPECT_TRUE(at::allclose(kto_loss(in, 0.0, 4).example_loss, expected_loss, 1e-12));
}

TEST(KtoLoss, StaysFiniteForExtremeLogRatios) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const KtoLossInputs in{.policy_logps = trained({-1000, -1, -1000, -1}, type),
                           .ref_logps = constant({-1, -1000, -1, -1000}).to(type),
                           .desirable = constant({1, 1, 0, 0}).to(at::kBool)};
    const auto loss = kto_loss(in, 1000.0, 4).loss;
    loss.backward();
    expect_finite(loss.detach());
    expect_finite(in.policy_logps.grad());
  }
}

TEST(KtoLoss, LeavesConstantsWithoutGradients) {
  auto in = spec_inputs();
  in.ref_logps.requires_grad_();
  const auto mismatched = trained(input("policy_kl_logps"));
  kto_loss(in, kto_z0(mismatched, constant(input("ref_kl_logps"))), 4).loss.backward();
  EXPECT_FALSE(in.ref_logps.grad().defined());
  EXPECT_FALSE(mismatched.grad().defined());
}

TEST(KtoLoss, OfNoExampleIsAZeroThatBackwardCanRunThrough) {
  const auto logps = trained({});
  const auto result = kto_loss({logps, constant({}), constant({}).to(at::kBool)}, 0.3, 4);
  result.loss.backward();
  EXPECT_EQ(result.loss.item<double>(), 0.0);
  EXPECT_EQ(logps.grad().numel(), 0);
}

TEST(KtoZ0, IsNeverNegative) { EXPECT_EQ(kto_z0(constant({-3, -2}), constant({-2, -1})), 0.0); }

TEST(KtoLoss, RefusesWhatDoesNotFit) {
  const auto good = spec_inputs();
  const auto with = [&](const std::function<void(KtoLossInputs&)>& spoil) {
    auto in = good;
    spoil(in);
    return in;
  };
  const auto refused = [](const KtoLossInputs& in, const std::string& part) {
    expect_refused([&] { kto_loss(in, 0.3, 4); }, part);
  };
  refused(with([](auto& in) { in.ref_logps = at::Tensor(); }), "there is no ref_logps");
  refused(with([](auto& in) { in.ref_logps = constant({-1}); }), "ref_logps is [1], policy_logps is [4]");
  refused(with([](auto& in) { in.desirable = constant({1, 0, 1, 0}); }), "desirable has type double");
  expect_refused([&] { kto_loss(good, -0.1, 4); }, "z0 is -0.1");
  expect_refused([&] { kto_loss(good, 0.3, 3); }, "4 examples of a step of 3");
  expect_refused([&] { kto_loss(good, 0.3, 4, {.beta = 0.0}); }, "beta is 0");
  expect_refused([&] { kto_loss(good, 0.3, 4, {.desirable_weight = -1.0}); }, "desirable_weight is -1");
  expect_refused([] { kto_z0(constant({-1}), constant({-1})); }, "a step of 1 examples");
  expect_refused([] { kto_z0(constant({-1, -2}), constant({-1})); }, "policy_mismatched is [2]");
}

}  // namespace
}  // namespace sluice::learner
