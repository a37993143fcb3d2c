#include "learner/preference_loss.h"

#include <numbers>

#include "learner/internal/pair_losses.h"
#include "tests/loss_checks.h"
#include "tests/spec_example.h"

namespace sluice::learner {
namespace {

using Terms = std::vector<PreferenceTerm>;

PreferenceLossInputs inputs_of(const Json& numbers, at::ScalarType type = at::kDouble) {
  const auto vector = [&](const char* name) { return numbers.at(name).get<std::vector<double>>(); };
  return {.policy_chosen = trained(vector("policy_chosen_logps"), type),
          .policy_rejected = trained(vector("policy_rejected_logps"), type),
          .ref_chosen = constant(vector("ref_chosen_logps")).to(type),
          .ref_rejected = constant(vector("ref_rejected_logps")).to(type),
          .chosen_lengths = numbers.at("chosen_lengths").get<std::vector<int64_t>>(),
          .rejected_lengths = numbers.at("rejected_lengths").get<std::vector<int64_t>>()};
}

// Pairs B of the specification.
const Json& shared_pairs() { return spec_example("dpo_sigmoid").at("inputs"); }
PreferenceLossInputs pairs_b() { return inputs_of(shared_pairs()); }
constexpr PreferenceDenominators kStepB{.pairs = 3, .sft_tokens = 20};

PreferenceLossInputs slice(const PreferenceLossInputs& in, int64_t first, int64_t count) {
  const auto lengths = [&](const std::vector<int64_t>& all) {
    return std::vector<int64_t>(all.begin() + first, all.begin() + first + count);
  };
  return {.policy_chosen = in.policy_chosen.narrow(0, first, count),
          .policy_rejected = in.policy_rejected.narrow(0, first, count),
          .ref_chosen = in.ref_chosen.narrow(0, first, count),
          .ref_rejected = in.ref_rejected.narrow(0, first, count),
          .chosen_lengths = lengths(in.chosen_lengths),
          .rejected_lengths = lengths(in.rejected_lengths)};
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const auto values = tensor.detach().contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

// What is named, and with a divergence or label smoothing what is not.
std::vector<std::pair<std::string, Terms>> all_losses() {
  using enum PreferenceType;
  std::vector<std::pair<std::string, Terms>> losses;
  for (const auto& name : preference_names()) {
    if (name != "sft") losses.emplace_back(name, preference_terms(name));
  }
  for (const auto type : {Sigmoid, Cdpo, Robust, Hinge, ExoPair, Discopop}) {
    const double e = type == Cdpo || type == Robust || type == ExoPair ? 0.1 : 0.0;
    for (const auto divergence : {Divergence::ForwardKl, Divergence::Js, Divergence::Alpha}) {
      losses.emplace_back("divergence " + std::to_string(static_cast<int>(divergence)) + " of type " +
                              std::to_string(static_cast<int>(type)),
                          Terms{{.type = type, .label_smoothing = e, .divergence = divergence}});
    }
  }
  for (const auto type : {Aot, AotUnpaired, Simpo, Cpo}) {
    losses.emplace_back("smoothed type " + std::to_string(static_cast<int>(type)),
                        Terms{{.type = type, .label_smoothing = 0.2}});
  }
  return losses;
}

struct SpecCase {
  std::string example;
  std::string loss;  // as a recipe names it
};

const std::vector<SpecCase> kSpecCases = {{"dpo_sigmoid", "sigmoid"},
                                          {"dpo_label_smoothed_cdpo", "cdpo"},
                                          {"dpo_robust", "robust"},
                                          {"dpo_hinge", "hinge"},
                                          {"dpo_ipo_length_normalised", "ipo"},
                                          {"dpo_ipo_sum", "ipo_sum"},
                                          {"dpo_sigmoid_norm", "sigmoid_norm"},
                                          {"dpo_exo_pair", "exo_pair"},
                                          {"dpo_nca_pair", "nca_pair"},
                                          {"dpo_bco_pair", "bco_pair"},
                                          {"dpo_sppo_hard", "sppo_hard"},
                                          {"dpo_apo_zero", "apo_zero"},
                                          {"dpo_apo_down", "apo_down"},
                                          {"dpo_discopop", "discopop"},
                                          {"dpo_aot", "aot"},
                                          {"dpo_aot_unpaired", "aot_unpaired"},
                                          {"dpo_fdiv_forward_kl", "sigmoid"},
                                          {"dpo_fdiv_js", "sigmoid"},
                                          {"dpo_fdiv_alpha_0p5", "sigmoid"},
                                          {"dpo_plus_sft", "irpo"},
                                          {"simpo", "simpo"},
                                          {"cpo_sigmoid_no_nll", "cpo"},
                                          {"cpo_sigmoid_with_nll", "cpo"},
                                          {"orpo_odds_ratio_term", "orpo"},
                                          {"orpo_total", "orpo"}};

Terms terms_of(const SpecCase& spec_case, const Json& hyperparameters) {
  const auto or_default = [&](const char* name, double value) { return hyperparameters.value(name, value); };
  const auto divergence = hyperparameters.value("f_divergence", std::string("reverse_kl"));
  Terms terms = preference_terms(spec_case.loss);
  for (auto& term : terms) {
    if (term.type == PreferenceType::Sft) {
      term.weight = or_default("alpha", or_default("cpo_alpha", term.weight));
      if (spec_case.example == "orpo_odds_ratio_term") term.weight = 0.0;
      continue;
    }
    term.beta = or_default("beta", or_default("lambda", term.beta));
    term.label_smoothing = or_default("label_smoothing", term.label_smoothing);
    term.tau = or_default("tau", term.tau);
    term.gamma = or_default("gamma", term.gamma);
    if (divergence == "forward_kl") term.divergence = Divergence::ForwardKl;
    if (divergence == "js") term.divergence = Divergence::Js;
    if (divergence == "alpha_0.5") term.divergence = Divergence::Alpha;
  }
  return terms;
}

void expect_example(const SpecCase& spec_case, at::ScalarType type, const Tolerance& tolerance) {
  SCOPED_TRACE(spec_case.example);
  const Json& example = spec_example(spec_case.example);
  const Json& expected = example.at("expected");
  const auto expect_list = [&](const at::Tensor& values, const char* name) {
    if (expected.contains(name)) expect_near(values, expected[name].get<std::vector<double>>(), tolerance);
  };

  const auto in = inputs_of(example.at("inputs"), type);
  const auto result = preference_loss(in, terms_of(spec_case, example.at("hyperparameters")), kStepB);
  result.loss.backward();

  expect_near(result.loss.item<double>(), expected.at("loss").get<double>(), tolerance);
  expect_list(result.pair_loss, "per_pair_loss");
  expect_list(in.policy_chosen.grad(), "grad_policy_chosen_logps");
  expect_list(in.policy_rejected.grad(), "grad_policy_rejected_logps");
  for (const char* name : {"nll", "sft_loss"}) {
    if (expected.contains(name)) expect_near(result.sums.nll / 20.0, expected[name].get<double>(), tolerance);
  }
}

TEST(PreferenceLoss, GivesTheValuesAndGradientsOfTheSpecification) {
  for (const auto& spec_case : kSpecCases) expect_example(spec_case, at::kDouble, {});
}

TEST(PreferenceLoss, GivesThemInFloat32) {
  for (const auto& spec_case : kSpecCases) expect_example(spec_case, at::kFloat, kFloat32);
}

TEST(PreferenceLoss, MeasuresWhatTheSpecificationMeasures) {
  const Json& expected = spec_example("dpo_sigmoid").at("expected");
  const auto sum = [&](const char* name) {
    double total = 0.0;
    for (const double value : expected[name].get<std::vector<double>>()) total += value;
    return total;
  };
  const auto sums = preference_loss(pairs_b(), preference_terms("sigmoid"), kStepB).sums;
  EXPECT_EQ(sums.pairs, 3);
  expect_near(sums.rewards_chosen, sum("rewards_chosen"));
  expect_near(sums.rewards_rejected, sum("rewards_rejected"));
  expect_near((sums.rewards_chosen - sums.rewards_rejected) / 3,
              expected["rewards_margin_mean"].get<double>());
  expect_near(sums.correct / 3, expected["rewards_accuracy"].get<double>());
  expect_near(sums.logps_chosen, -37.5);    // -12 - 20.5 - 5
  expect_near(sums.logps_rejected, -63.0);  // -15 - 18 - 30
}

TEST(PreferenceLoss, WithoutAReferenceRewardsLogProbsAsTheLossSeesThem) {
  const auto in = pairs_b();
  const auto rewards = [&](const char* name) {
    return preference_loss(in, preference_terms(name), kStepB).sums.rewards_chosen;
  };
  const double averages = -12.0 / 6 - 20.5 / 10 - 5.0 / 4;
  expect_near(rewards("cpo"), 0.1 * -37.5);
  expect_near(rewards("cpo_ipo"), 0.1 * averages);
  expect_near(rewards("orpo"), 0.1 * averages);
  expect_near(rewards("simpo"), 2.0 * averages);
}

TEST(PreferenceLoss, CountsOnlyWhatIsStrictlyBetterAsCorrect) {
  auto in = pairs_b();
  in.policy_chosen = in.ref_chosen;
  in.policy_rejected = in.ref_rejected;
  EXPECT_EQ(preference_loss(in, preference_terms("sigmoid"), kStepB).sums.correct, 0.0);
}

TEST(LogOddsRatio, IsThatOfTheSpecification) {
  const auto ratio = internal::log_odds_ratio(constant({-12.0 / 6, -20.5 / 10, -5.0 / 4}),
                                              constant({-15.0 / 8, -18.0 / 7, -30.0 / 12}));
  const Json& expected = spec_example("orpo_odds_ratio_term").at("expected");
  expect_near(ratio, expected["log_odds_ratio"].get<std::vector<double>>());
}

TEST(PreferenceLoss, HasTheGradientOfCentralDifferences) {
  const auto in = pairs_b();
  const auto both = values_of(at::cat({in.policy_chosen, in.policy_rejected}));
  for (const auto& [name, terms] : all_losses()) {
    SCOPED_TRACE(name);
    expect_gradient(
        [&](const at::Tensor& values) {
          auto moved = in;
          moved.policy_chosen = values.narrow(0, 0, 3);
          moved.policy_rejected = values.narrow(0, 3, 3);
          return preference_loss(moved, terms, kStepB).loss;
        },
        both);
  }
}

TEST(PreferenceLoss, IsTheSameCutIntoMicroBatches) {
  for (const auto& [name, terms] : all_losses()) {
    SCOPED_TRACE(name);
    const auto whole = pairs_b(), cut = pairs_b();
    if (needs_whole_step(terms)) {
      expect_refused([&] { preference_loss(slice(cut, 0, 2), terms, kStepB); }, "2 of the step's 3 pairs");
      continue;
    }
    const auto expected = preference_loss(whole, terms, kStepB);
    expected.loss.backward();
    const auto first = preference_loss(slice(cut, 0, 2), terms, kStepB);
    const auto second = preference_loss(slice(cut, 2, 1), terms, kStepB);
    first.loss.backward();
    second.loss.backward();

    expect_near(first.loss.item<double>() + second.loss.item<double>(), expected.loss.item<double>());
    expect_near(cut.policy_chosen.grad(), values_of(whole.policy_chosen.grad()));
    expect_near(cut.policy_rejected.grad(), values_of(whole.policy_rejected.grad()));
    expect_near(first.sums.rewards_chosen + second.sums.rewards_chosen, expected.sums.rewards_chosen);
    EXPECT_EQ(first.sums.correct + second.sums.correct, expected.sums.correct);
  }
}

TEST(PreferenceLoss, StaysFiniteForExtremeLogRatios) {
  const std::vector<double> chosen = {-1000, -1, -1000, -1, 0}, rejected = {-1, -1000, -1000, -1, -1};
  const std::vector<double> ref_chosen = {-1, -1000, -1, -1000, 0}, ref_rejected = {-1000, -1, -1, -1000, -1};
  for (const auto& [name, terms] : all_losses()) {
    for (const auto type : {at::kFloat, at::kDouble}) {
      SCOPED_TRACE(name);
      const PreferenceLossInputs in{.policy_chosen = trained(chosen, type),
                                    .policy_rejected = trained(rejected, type),
                                    .ref_chosen = constant(ref_chosen).to(type),
                                    .ref_rejected = constant(ref_rejected).to(type),
                                    .chosen_lengths = {2, 2, 2, 2, 2},
                                    .rejected_lengths = {1, 2, 3, 2, 1}};
      const auto result = preference_loss(in, terms, {.pairs = 5, .sft_tokens = 10});
      result.loss.backward();
      expect_finite(result.loss.detach());
      expect_finite(in.policy_chosen.grad());
      expect_finite(in.policy_rejected.grad());
    }
  }
}

TEST(PreferenceLoss, WherePolicyIsReferenceIsLnTwo) {
  auto in = pairs_b();
  in.ref_chosen = in.policy_chosen;
  in.ref_rejected = in.policy_rejected;
  for (const char* name : {"sigmoid", "cdpo", "sigmoid_norm", "aot", "aot_unpaired"}) {
    SCOPED_TRACE(name);
    const auto loss = preference_loss(in, preference_terms(name), kStepB).loss;
    expect_near(loss.item<double>(), std::numbers::ln2);
  }
}

TEST(PreferenceLoss, WithoutSmoothingIsThatOfCertainLabels) {
  const auto in = pairs_b();
  const auto loss = [&](const PreferenceTerm& term) { return preference_loss(in, {term}, kStepB).loss; };
  const auto sigmoid = loss({});
  EXPECT_TRUE(at::equal(loss({.type = PreferenceType::Cdpo}), sigmoid));
  EXPECT_TRUE(at::allclose(loss({.type = PreferenceType::Robust}), sigmoid, 1e-12));
}

TEST(PreferenceLoss, SmoothsAotAsCdpo) {
  const auto in = inputs_of(spec_example("dpo_aot").at("inputs"));
  const auto loss = preference_loss(in, {{.type = PreferenceType::Aot, .label_smoothing = 0.1}}, kStepB).loss;
  // That example is Pairs B with another order of the references.
  expect_near(loss.item<double>(),
              spec_example("dpo_label_smoothed_cdpo").at("expected").at("loss").get<double>());
}

TEST(PreferenceLoss, TakesTheKlDivergencesAsEndsOfTheAlphaFamily) {
  const auto in = pairs_b();
  const auto loss = [&](Divergence divergence, double alpha) {
    const PreferenceTerm term{.divergence = divergence, .divergence_alpha = alpha};
    return preference_loss(in, {term}, kStepB).loss;
  };
  EXPECT_TRUE(at::equal(loss(Divergence::Alpha, 1.0), loss(Divergence::ReverseKl, 0.5)));
  EXPECT_TRUE(at::equal(loss(Divergence::Alpha, 0.0), loss(Divergence::ForwardKl, 0.5)));
}

// One pair with averages of -ln 2 and -2 ln 2: probabilities of a half and a quarter per token.
TEST(PreferenceLoss, ShapesTheRewardsOfAlphaPo) {
  const PreferenceLossInputs in{.policy_chosen = trained({-2 * std::numbers::ln2}),
                                .policy_rejected = trained({-4 * std::numbers::ln2}),
                                .chosen_lengths = {2},
                                .rejected_lengths = {2}};
  const auto loss = [&](double alpha) {
    return preference_loss(in, {{.type = PreferenceType::Simpo, .beta = 1.0, .gamma = 0.5, .alpha = alpha}},
                           {.pairs = 1})
        .loss.item<double>();
  };
  expect_near(loss(1.0), std::log1p(std::exp(-1.5)));                     // rewards of -1 and -3
  expect_near(loss(-1.0), std::log1p(std::exp(0.25)));                    // of -1/2 and -3/4
  expect_near(loss(0.0), std::log1p(std::exp(0.5 - std::numbers::ln2)));  // SimPO
}

TEST(PreferenceLoss, OfCpoHasAHingeAndASquare) {
  const PreferenceLossInputs in{.policy_chosen = trained({-4.0}),
                                .policy_rejected = trained({-6.0}),
                                .chosen_lengths = {2},
                                .rejected_lengths = {2}};
  const auto loss = [&](PreferenceType type) {
    return preference_loss(in, {{.type = type, .beta = 0.25}}, {.pairs = 1}).loss.item<double>();
  };
  expect_near(loss(PreferenceType::CpoHinge), 0.5);  // 1 - 0.25 * (-4 + 6)
  expect_near(loss(PreferenceType::CpoIpo), 1.0);    // (-2 + 3 - 2)^2
}

TEST(PreferenceLoss, AddsItsTermsByWeight) {
  const auto loss = preference_loss(pairs_b(), preference_terms("mpo"), kStepB).loss;
  const auto expected = [](const char* name) {
    return spec_example(name).at("expected").at("loss").get<double>();
  };
  expect_near(loss.item<double>(), 0.8 * expected("dpo_sigmoid") + 0.2 * expected("dpo_bco_pair") + 1.875);
}

TEST(PreferenceLoss, WeighsPairsButNotTheirLikelihood) {
  auto in = pairs_b();
  in.pair_weights = constant({0.5, 0.0, 2.0});
  const auto result = preference_loss(in, preference_terms("irpo"), kStepB);
  const auto pair_loss = spec_example("dpo_sigmoid").at("expected").at("per_pair_loss");
  const double first = 0.5 * pair_loss[0].get<double>(), third = 2.0 * pair_loss[2].get<double>();
  expect_near(result.pair_loss, {first, 0.0, third});
  expect_near(result.loss.item<double>(), (first + third) / 3 + 1.875);
}

TEST(PreferenceLoss, LearnsTheLikelihoodOfWhatItIsGiven) {
  auto in = pairs_b();
  in.sft_logps = trained({-15.0, -25.0, -10.0});
  const auto result = preference_loss(in, preference_terms("irpo"), {.pairs = 3, .sft_tokens = 25});
  result.loss.backward();
  expect_near(result.sums.nll, 50.0);
  expect_near(in.sft_logps.grad(), {-0.04, -0.04, -0.04});  // 1 / 25
  expect_near(
      in.policy_chosen.grad(),
      spec_example("dpo_sigmoid").at("expected").at("grad_policy_chosen_logps").get<std::vector<double>>());
}

TEST(PreferenceLoss, LeavesConstantsWithoutGradients) {
  for (const auto& [name, terms] : all_losses()) {
    SCOPED_TRACE(name);
    auto in = pairs_b();
    in.ref_chosen.requires_grad_();
    in.ref_rejected.requires_grad_();
    if (!needs_whole_step(terms)) in.pair_weights = trained({1.0, 2.0, 0.5});
    preference_loss(in, terms, kStepB).loss.backward();
    EXPECT_TRUE(in.policy_chosen.grad().defined());
    EXPECT_FALSE(in.ref_chosen.grad().defined());
    EXPECT_FALSE(in.ref_rejected.grad().defined());
    EXPECT_FALSE(in.pair_weights.defined() && in.pair_weights.grad().defined());
  }
}

TEST(PreferenceLoss, OfNoPairIsAZeroThatBackwardCanRunThrough) {
  for (const auto& [name, terms] : all_losses()) {
    if (needs_whole_step(terms)) continue;
    SCOPED_TRACE(name);
    const auto none = constant({}), chosen = trained({}), rejected = trained({});
    const auto result = preference_loss({chosen, rejected, none, none}, terms, kStepB);
    result.loss.backward();
    EXPECT_EQ(result.loss.item<double>(), 0.0);
    EXPECT_EQ(chosen.grad().numel(), 0);
  }
}

TEST(PreferenceLoss, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::string& part, const std::function<void(PreferenceLossInputs&)>& spoil,
                          const char* name = "irpo", const PreferenceDenominators& step = kStepB) {
    auto in = pairs_b();
    spoil(in);
    expect_refused([&] { preference_loss(in, preference_terms(name), step); }, part);
  };
  const auto nothing = [](PreferenceLossInputs&) {};
  refused("policy_rejected is [2], policy_chosen is [3]", [](auto& in) {
    in.policy_rejected = constant({-1, -2});
  });
  refused("ref_rejected is [2], policy_chosen is [3]", [](auto& in) {
    in.ref_rejected = constant({-1, -2});
  });
  refused("there is no ref_chosen", [](auto& in) { in.ref_chosen = at::Tensor(); });
  refused("there is no policy_chosen", [](auto& in) { in.policy_chosen = at::Tensor(); });
  refused("policy_chosen is [3, 1]", [](auto& in) { in.policy_chosen = in.policy_chosen.unsqueeze(1); });
  refused("sft_logps is [1]", [](auto& in) { in.sft_logps = constant({-1}); });
  refused("pair_weights is [1]", [](auto& in) { in.pair_weights = constant({1}); });
  refused("2 lengths of chosen completions for 3 pairs", [](auto& in) { in.chosen_lengths = {6, 10}; });
  refused("the rejected completion of pair 1 has 0 tokens", [](auto& in) { in.rejected_lengths[1] = 0; });
  refused("3 pairs of a step of 2", nothing, "sigmoid", {.pairs = 2});
  refused("sft in a step of 0 tokens", nothing, "irpo", {.pairs = 3});
  refused("none of the 1 terms compares", nothing, "sft");
  refused(
      "part the 3 pairs",
      [](auto& in) {
        in.pair_weights = constant({1, 1, 1});
      },
      "aot");
}

}  // namespace
}  // namespace sluice::learner
