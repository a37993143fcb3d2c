#include "learner/preference_learner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <limits>
#include <numbers>

#include "learner/kto_learner.h"
#include "tests/float16_step.h"
#include "tests/learner/preference_examples.h"
#include "tests/loss_checks.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"
#include "transport/collective.h"

namespace sluice::learner {
namespace {

// A network, and a reference that counts how often it is asked.
struct Fixture {
  explicit Fixture(const optim::OptimizerOptions& update = {.max_grad_norm = 0}, uint64_t reference_seed = 8,
                   std::unique_ptr<model::Network> trained = tiny_network())
      : network(std::move(trained)),
        optimizer(*network, collective, update, /*total_steps=*/100),
        reference(tiny_network(reference_seed)) {}

  ReferenceLogps logps(double ld_alpha = 1.0) {
    return [this, ld_alpha](std::span<const PreferenceExample> examples) {
      ++asked;
      return reference_logps(reference, examples, at::kCPU, {.micro_batch_tokens = 50, .ld_alpha = ld_alpha});
    };
  }
  StepMetrics step(const std::vector<PreferenceExample>& pairs, const PreferenceLearnerOptions& options) {
    return PreferenceLearner(*network, optimizer, logps(options.ld_alpha), options).step(pairs);
  }
  StepMetrics measure(const std::vector<PreferenceExample>& pairs, const PreferenceLearnerOptions& options) {
    return PreferenceLearner(*network, optimizer, logps(options.ld_alpha), options).measure(pairs);
  }
  StepMetrics kto_step(const std::vector<PreferenceExample>& examples, const KtoLearnerOptions& options) {
    return KtoLearner(*network, optimizer, logps(), options).step(examples);
  }
  at::Tensor grad() const { return step_gradient(optimizer); }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  optim::Optimizer optimizer;
  reference::ReferencePolicy reference;
  int asked = 0;
};

std::unique_ptr<model::Network> policy_like_reference() { return tiny_network(/*seed=*/8); }

// Gradient and loss of `step` are the same for every budget of rows that it is given.
void expect_same_however_cut(const std::function<StepMetrics(Fixture&, int64_t rows)>& step) {
  at::Tensor whole_grad;
  StepMetrics whole;
  for (const int64_t rows : {1 << 20, 60, 1}) {
    Fixture fixture;
    const auto metrics = step(fixture, rows);
    const auto grad = fixture.grad();
    if (!whole_grad.defined()) {
      whole_grad = grad;
      whole = metrics;
      EXPECT_GT(grad.norm().item<double>(), 1e-4);
    }
    EXPECT_LE((grad - whole_grad).norm().item<double>(), 1e-5 * whole_grad.norm().item<double>());
    for (const auto& [name, value] : whole) {
      SCOPED_TRACE(name);
      EXPECT_NEAR(metrics.at(name), value, 1e-5 * std::max(1.0, std::abs(value)));
    }
  }
}

TEST(PreferenceLearner, DpoOfThePolicyThatIsTheReferenceIsLnTwo) {
  Fixture fixture({.max_grad_norm = 0}, 8, policy_like_reference());
  const auto metrics = fixture.step(random_examples(5, 2, /*seed=*/1), {});
  EXPECT_NEAR(metrics.at("loss"), std::numbers::ln2, 1e-6);
  EXPECT_NEAR(metrics.at("rewards/margins"), 0.0, 1e-6);
  EXPECT_EQ(metrics.at("learning_rate"), 1e-6);
  EXPECT_GT(metrics.at("grad_norm"), 0.0);
  EXPECT_NEAR(metrics.at("entropy"), std::log(23.0), 0.05);  // a network that has learned nothing
  EXPECT_FALSE(metrics.contains("nll_loss"));
  EXPECT_EQ(fixture.asked, 1);
}

TEST(PreferenceLearner, HasTheSameGradientHoweverTheStepIsCut) {
  const auto pairs = random_examples(8, 2, /*seed=*/5);
  for (const auto& name : preference_names()) {
    if (name == "sft") continue;
    SCOPED_TRACE(name);
    expect_same_however_cut([&](Fixture& fixture, int64_t rows) {
      return fixture.step(pairs, {.terms = preference_terms(name), .micro_batch_tokens = rows});
    });
  }
}

TEST(PreferenceLearner, HasTheSameGradientHoweverItIsCutWhenTokensOrPairsAreWeighed) {
  const auto pairs = random_examples(8, 2, /*seed=*/5);
  auto sorted = preference_terms("aot");
  sorted.push_back({.type = PreferenceType::Sft});
  for (const auto& options :
       {PreferenceLearnerOptions{.terms = preference_terms("rpo"), .ld_alpha = 0.5},
        PreferenceLearnerOptions{.terms = sorted, .ld_alpha = 0.5, .nll_over_prompt = true},
        PreferenceLearnerOptions{.terms = preference_terms("rpo"), .wpo = true, .nll_over_prompt = true},
        PreferenceLearnerOptions{.wpo = true}}) {
    expect_same_however_cut([&](Fixture& fixture, int64_t rows) {
      auto cut = options;
      cut.micro_batch_tokens = rows;
      return fixture.step(pairs, cut);
    });
  }
}

TEST(PreferenceLearner, SendsTheGradientOfTermsThatSortAsOthersAreSent) {
  // A step of one pair has nothing to sort: aot is the sigmoid of the difference.
  const auto pair = random_examples(1, 2, /*seed=*/6);
  Fixture sorted, plain;
  const auto metrics = sorted.step(pair, {.terms = preference_terms("aot")});
  const auto expected = plain.step(pair, {});
  EXPECT_NEAR(metrics.at("loss"), expected.at("loss"), 1e-9);
  const auto grad = plain.grad();
  EXPECT_LE((sorted.grad() - grad).norm().item<double>(), 1e-5 * grad.norm().item<double>());
}

TEST(PreferenceLearner, MeasuresWhatEachCompletionGivesAlone) {
  Fixture fixture;
  const auto pairs = random_examples(4, 2, /*seed=*/7);
  double chosen = 0.0, rejected = 0.0, targets = 0.0, tokens = 0.0;
  for (const auto& pair : pairs) {
    chosen += logp_alone(*fixture.network, pair, 0);
    rejected += logp_alone(*fixture.network, pair, 1);
    targets += static_cast<double>(num_targets(pair.completions[0]));
    tokens += static_cast<double>(2 * pair.prompt.size() + pair.completions[0].tokens.size() +
                                  pair.completions[1].tokens.size());
  }
  const auto metrics = fixture.step(pairs, {.terms = preference_terms("cpo")});
  EXPECT_NEAR(metrics.at("logps/chosen"), chosen / 4, 1e-5);
  EXPECT_NEAR(metrics.at("logps/rejected"), rejected / 4, 1e-5);
  EXPECT_NEAR(metrics.at("rewards/margins"), 0.1 * (chosen - rejected) / 4, 1e-5);
  EXPECT_NEAR(metrics.at("nll_loss"), -chosen / targets, 1e-5);
  EXPECT_EQ(metrics.at("num_tokens"), tokens);
  EXPECT_EQ(fixture.asked, 0);  // without a reference none is asked for
}

// All logits that predict a counted token of these completions, there at once, and their mean.
double mean_logit(const model::Network& network, const std::vector<PreferenceExample>& examples,
                  const std::function<bool(const PreferenceExample&, size_t)>& takes) {
  std::vector<at::Tensor> logits;
  for (const auto& example : examples) {
    for (size_t k = 0; k < example.completions.size(); ++k) {
      if (!takes(example, k)) continue;
      const auto [batch, targets] = completion_alone(example, k);
      logits.push_back(network.scaled_logits(network.forward(batch).index_select(0, targets.rows), 1.0));
    }
  }
  return at::cat(logits).mean(at::kDouble).item<double>();
}

// Gemma 2 caps its logits, so that their mean is not that of the head's rows.
TEST(PreferenceLearner, ReportsTheMeanLogitOfTheChosenAndOfTheRejected) {
  const auto loud = [](std::optional<double> cap) {
    auto config = tiny_config();
    config.logit_soft_cap = cap;
    auto network = std::make_unique<model::Network>(config, at::kCPU);
    network->init(/*seed=*/7);
    const c10::NoGradGuard no_grad;
    network->flat().mul_(4);  // logits of up to 8, not of a few hundredths
    return network;
  };
  const auto pairs = random_examples(6, 2, /*seed=*/7), judged = random_examples(6, 1, /*seed=*/7);
  const auto in_place = [](size_t place) {
    return [place](const PreferenceExample&, size_t completion) { return completion == place; };
  };
  for (const std::optional<double> cap : {std::optional<double>(), std::optional(0.5)}) {
    SCOPED_TRACE(cap.value_or(0.0));
    const auto untouched = loud(cap);
    const double chosen = mean_logit(*untouched, pairs, in_place(0));
    const double rejected = mean_logit(*untouched, pairs, in_place(1));
    EXPECT_GT(std::abs(chosen - rejected), 1e-3);
    for (const int64_t rows : {1 << 20, 1}) {
      Fixture fixture({.max_grad_norm = 0}, 8, loud(cap));
      // The prompts' tokens, targets too, are none of theirs.
      const auto metrics = fixture.step(
          pairs, {.terms = preference_terms("rpo"), .nll_over_prompt = true, .micro_batch_tokens = rows});
      EXPECT_NEAR(metrics.at("logits/chosen"), chosen, 1e-5);
      EXPECT_NEAR(metrics.at("logits/rejected"), rejected, 1e-5);
    }
    Fixture fixture({.max_grad_norm = 0}, 8, loud(cap));
    const auto metrics = fixture.kto_step(judged, {});
    const auto good = [](const PreferenceExample& example, size_t) { return example.desirable; };
    EXPECT_NEAR(metrics.at("logits/chosen"), mean_logit(*untouched, judged, good), 1e-5);
    EXPECT_NEAR(metrics.at("logits/rejected"), mean_logit(*untouched, judged, std::not_fn(good)), 1e-5);
  }
}

TEST(PreferenceLearner, TheNllIsOverThePromptTooWhereItIsAsked) {
  const auto pairs = random_examples(4, 2, /*seed=*/7);
  Fixture of_completions, of_both;
  double nll = 0.0, tokens = 0.0;
  for (const auto& pair : pairs) {
    // A prompt of its first token, and the rest of it as a completion.
    PreferenceExample prompt{.prompt = {pair.prompt.front()}, .completions = {}};
    prompt.completions.push_back(completion_of({pair.prompt.begin() + 1, pair.prompt.end()}));
    nll -= logp_alone(*of_both.network, pair, 0) + logp_alone(*of_both.network, prompt, 0);
    tokens += static_cast<double>(num_targets(pair.completions[0]) + std::ssize(pair.prompt) - 1);
  }
  const auto without = of_completions.step(pairs, {.terms = preference_terms("orpo")});
  const auto with = of_both.step(pairs, {.terms = preference_terms("orpo"), .nll_over_prompt = true});
  EXPECT_NEAR(with.at("nll_loss"), nll / tokens, 1e-5);
  EXPECT_NEAR(with.at("loss") - with.at("nll_loss"), without.at("loss") - without.at("nll_loss"), 1e-5);
  for (const char* same : {"entropy", "logps/chosen", "rewards/margins"}) {
    EXPECT_NEAR(with.at(same), without.at(same), 1e-5) << same;
  }
}

TEST(PreferenceLearner, AStepRaisesTheMargin) {
  for (const char* name : {"sigmoid", "ipo", "simpo", "cpo", "orpo", "aot"}) {
    SCOPED_TRACE(name);
    Fixture fixture({.lr = 1e-3, .weight_decay = 0, .max_grad_norm = 0});
    const auto pairs = random_examples(4, 2, /*seed=*/8);
    const PreferenceLearnerOptions options{.terms = preference_terms(name)};
    const double before = fixture.step(pairs, options).at("rewards/margins");
    EXPECT_GT(fixture.step(pairs, options).at("rewards/margins"), before);
  }
}

TEST(PreferenceLearner, MeasuresWhatTheNextStepWouldReport) {
  for (const char* name : {"sigmoid", "aot", "simpo"}) {
    SCOPED_TRACE(name);
    Fixture fixture;
    const auto pairs = random_examples(5, 2, /*seed=*/8);
    const PreferenceLearnerOptions options{.terms = preference_terms(name), .micro_batch_tokens = 40};
    fixture.step(pairs, options);
    const auto measured = fixture.measure(pairs, options);
    EXPECT_EQ(measured, fixture.measure(pairs, options));  // nothing has moved
    const auto step = fixture.step(pairs, options);
    EXPECT_EQ(measured.size(), 6u);
    for (const auto& [metric, value] : measured) EXPECT_NEAR(step.at(metric), value, 1e-6) << metric;
  }
}

TEST(PreferenceLearner, GivesTheSameBitsTwice) {
  Fixture first, second;
  for (uint64_t step = 0; step < 3; ++step) {
    const auto pairs = random_examples(4, 2, step);
    EXPECT_EQ(first.step(pairs, {}), second.step(pairs, {}));
  }
  EXPECT_TRUE(at::equal(first.network->flat(), second.network->flat()));
}

TEST(PreferenceLearner, AddsTheBalanceOfExpertsToTheLoss) {
  const auto pairs = random_examples(3, 2, /*seed=*/2);
  const PreferenceLearnerOptions simpo{.terms = preference_terms("simpo")};
  Fixture plain({.max_grad_norm = 0}, 8, tiny_mixtral()), balanced({.max_grad_norm = 0}, 8, tiny_mixtral());
  auto with_aux = simpo;
  with_aux.router_aux_loss = 0.5;
  const auto without = plain.step(pairs, simpo), with = balanced.step(pairs, with_aux);
  EXPECT_GE(with.at("aux_loss"), 1.0);
  EXPECT_NEAR(with.at("loss"), without.at("loss") + 0.5 * with.at("aux_loss"), 1e-6);
}

TEST(PreferenceLearner, SkipsAStepWhoseLossIsNotFinite) {
  Fixture fixture;
  const auto before = fixture.network->flat().clone();
  const ReferenceLogps broken = [](std::span<const PreferenceExample> pairs) {
    return at::full({std::ssize(pairs), 2}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  };
  PreferenceLearner learner(*fixture.network, fixture.optimizer, broken, {});
  EXPECT_EQ(learner.step(random_examples(2, 2, 1)).at("nonfinite_skips"), 1.0);
  EXPECT_TRUE(at::equal(fixture.network->flat(), before));
}

TEST(PreferenceLearner, ScalesItsLossForProductsOfFloat16) {
  for (const char* name : {"sigmoid", "aot"}) {  // of each pair, and of the whole step at once
    SCOPED_TRACE(name);
    expect_loss_scaled([&](model::Rounding products) {
      Fixture fixture({}, 8, with_products(products, tiny_network()));
      return fixture.step(random_examples(3, 2, /*seed=*/5), {.terms = preference_terms(name)})
          .at("grad_norm");
    });
  }
}

TEST(PreferenceLearner, RefusesWhatMakesNoSense) {
  Fixture fixture;
  const auto make = [&](ReferenceLogps reference, const PreferenceLearnerOptions& options) {
    PreferenceLearner(*fixture.network, fixture.optimizer, std::move(reference), options);
  };
  expect_refused([&] { make({}, {}); }, "needs a reference and there is none");
  expect_refused([&] { make(fixture.logps(), {.micro_batch_tokens = 0}); }, "micro-batches of 0 tokens");
  expect_refused([&] { make(fixture.logps(), {.terms = preference_terms("aot"), .wpo = true}); },
                 "terms that sort");
  expect_refused([&] { fixture.step({}, {}); }, "a step without pairs");
  expect_refused([&] { fixture.step(random_examples(2, 1, 1), {}); }, "1 completions is no pair");
}

TEST(KtoLearner, HasTheSameGradientHoweverTheStepIsCut) {
  const auto examples = random_examples(9, 1, /*seed=*/5);
  for (const bool has_z0 : {true, false}) {
    expect_same_however_cut([&](Fixture& fixture, int64_t rows) {
      return fixture.kto_step(
          examples, {.loss = {.undesirable_weight = 1.2}, .has_z0 = has_z0, .micro_batch_tokens = rows});
    });
  }
}

TEST(KtoLearner, MeasuresZ0OnPromptsWithTheCompletionBefore) {
  Fixture fixture;
  const auto examples = random_examples(3, 1, /*seed=*/2);
  const auto reference = tiny_network(8);
  double ratio = 0.0;
  for (size_t i = 0; i < 3; ++i) {
    PreferenceExample other{.prompt = examples[i].prompt, .completions = examples[(i + 2) % 3].completions};
    ratio += logp_alone(*fixture.network, other, 0) - logp_alone(*reference, other, 0);
  }
  const auto metrics = fixture.kto_step(examples, {});
  EXPECT_NEAR(metrics.at("kl"), std::max(0.0, ratio / 3), 1e-5);
  EXPECT_EQ(fixture.asked, 2);
}

TEST(KtoLearner, OfThePolicyThatIsTheReferenceIsAHalf) {
  Fixture fixture({.max_grad_norm = 0}, 8, policy_like_reference());
  const auto metrics = fixture.kto_step(random_examples(4, 1, /*seed=*/1), {});
  EXPECT_NEAR(metrics.at("loss"), 0.5, 1e-6);
  EXPECT_NEAR(metrics.at("kl"), 0.0, 1e-5);
}

TEST(KtoLearner, AStepRaisesTheMarginAndAnEmptyClassHasNoMetrics) {
  Fixture fixture({.lr = 1e-3, .weight_decay = 0, .max_grad_norm = 0});
  auto examples = random_examples(4, 1, /*seed=*/8);
  const double before = fixture.kto_step(examples, {}).at("rewards/margins");
  EXPECT_GT(fixture.kto_step(examples, {}).at("rewards/margins"), before);

  for (auto& example : examples) example.desirable = true;
  const auto metrics = fixture.kto_step(examples, {});
  EXPECT_TRUE(metrics.contains("rewards/chosen"));
  EXPECT_FALSE(metrics.contains("rewards/rejected"));
  EXPECT_FALSE(metrics.contains("rewards/margins"));
}

TEST(KtoLearner, CutsMismatchedCompletionsToTheLengthOfTheOthers) {
  const std::vector<PreferenceExample> examples = {
      {.prompt = {3, 4, 5}, .completions = {completion_of({6})}},
      {.prompt = {3}, .completions = {{.tokens = {7, 8, 9}, .mask = {0, 1, 1}}}}};
  const auto others = mismatched(examples, /*max_length=*/4);
  EXPECT_EQ(others[0].completions[0].tokens, (std::vector<int32_t>{7, 8}));  // 4, and one that counts
  EXPECT_EQ(others[0].prompt, examples[0].prompt);
  EXPECT_EQ(others[0].row, -1);
  EXPECT_EQ(others[1].completions[0].tokens, (std::vector<int32_t>{6}));
}

TEST(KtoLearner, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Fixture fixture({}, 8, with_products(products, tiny_network()));
    return fixture.kto_step(random_examples(3, 1, /*seed=*/5), {}).at("grad_norm");
  });
}

TEST(KtoLearner, RefusesWhatMakesNoSense) {
  Fixture fixture;
  expect_refused([&] { KtoLearner(*fixture.network, fixture.optimizer, {}, {}); }, "there is no reference");
  expect_refused([&] { fixture.kto_step(random_examples(1, 1, 1), {}); }, "a step of 1 examples");
  expect_refused([&] { fixture.kto_step(random_examples(2, 2, 1), {}); }, "an example of 2 completions");
  expect_refused([&] { fixture.kto_step({}, {}); }, "a step without examples");
}

}  // namespace
}  // namespace sluice::learner
