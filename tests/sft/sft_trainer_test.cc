#include "sft/sft_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/philox.h"
#include "tests/tiny_network.h"

namespace sluice::sft {
namespace {

// "a" is 3, "b" is 4 and so on.
class LetterTokenizer final : public text::Tokenizer {
 public:
  explicit LetterTokenizer(std::optional<text::TokenId> eos = 2) : eos_(eos) {}
  std::vector<text::TokenId> encode(std::string_view text, text::Specials) const override {
    std::vector<text::TokenId> ids;
    for (const char letter : text) ids.push_back(letter - 'a' + 3);
    return ids;
  }
  std::vector<text::TokenId> with_specials(std::vector<text::TokenId> ids) const override { return ids; }
  std::string decode(std::span<const text::TokenId>, bool) const override { return {}; }
  std::optional<text::TokenId> find(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return 23; }
  std::optional<text::TokenId> bos_id() const override { return std::nullopt; }
  std::optional<text::TokenId> eos_id() const override { return eos_; }
  std::optional<text::TokenId> pad_id() const override { return std::nullopt; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path&) const override {}

 private:
  const std::optional<text::TokenId> eos_;
  const std::string hash_ = "letters";
};

text::Row row_of(const std::string& prompt, const std::string& completion) {
  text::Row row;
  row.prompt = prompt;
  row.completion = completion;
  return row;
}

using Tokens = std::vector<int32_t>;
using Mask = std::vector<uint8_t>;

TEST(TokenizeExamples, PutTheLossOnCompletionAndEndOfSequence) {
  const auto result = tokenize_examples({row_of("ab", "cd")}, LetterTokenizer(), {});
  ASSERT_EQ(result.examples.size(), 1u);
  EXPECT_EQ(result.examples[0].tokens, (Tokens{3, 4, 5, 6, 2}));
  EXPECT_EQ(result.examples[0].loss_mask, (Mask{0, 0, 1, 1, 1}));
}

TEST(TokenizeExamples, WithoutAPromptPutTheLossOnAllButTheFirstToken) {
  const auto result = tokenize_examples({row_of("", "abc")}, LetterTokenizer(), {.append_eos = false});
  EXPECT_EQ(result.examples[0].tokens, (Tokens{3, 4, 5}));
  EXPECT_EQ(result.examples[0].loss_mask, (Mask{0, 1, 1}));
}

TEST(TokenizeExamples, KeepTheStartOfWhatIsTooLongAndDropWhatHasNoTargetLeft) {
  const auto result = tokenize_examples({row_of("ab", "cde"), row_of("abcd", "e"), row_of("", "a")},
                                        LetterTokenizer(), {.append_eos = false, .max_length = 4});
  ASSERT_EQ(result.examples.size(), 1u);
  EXPECT_EQ(result.examples[0].tokens, (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(result.dropped, 2);
}

TEST(TokenizeExamples, RefuseToAppendAnEndOfSequenceThatDoesNotExist) {
  EXPECT_THROW(tokenize_examples({}, LetterTokenizer(std::nullopt), {}), DataError);
}

std::vector<Example> random_examples(int count, uint64_t seed) {
  uint64_t draws = 0;
  const auto up_to = [&](int n) {
    return static_cast<int32_t>(random_uniform(seed, RandomUse::Data, 1, 0, draws++) * n);
  };
  std::vector<Example> examples;
  for (int i = 0; i < count; ++i) {
    Example example;
    const int prompt = 1 + up_to(5), length = prompt + 1 + up_to(10);
    for (int t = 0; t < length; ++t) {
      example.tokens.push_back(up_to(23));
      example.loss_mask.push_back(t < prompt ? 0 : 1);
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

struct Fixture {
  Fixture(std::vector<Example> examples, const SftOptions& options,
          const optim::OptimizerOptions& update = {.max_grad_norm = 0.0},
          std::unique_ptr<model::Network> trained = tiny_network())
      : network(std::move(trained)),
        optimizer(*network, collective, update, /*total_steps=*/100),
        trainer(*network, optimizer, std::move(examples), options) {}

  at::Tensor grad() const {
    std::vector<at::Tensor> grads;
    for (const auto& parameter : network->parameters()) grads.push_back(parameter.tensor.grad().view(-1));
    return at::cat(grads).clone();
  }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  optim::Optimizer optimizer;
  SftTrainer trainer;
};

TEST(SftTrainer, HasTheSameGradientHoweverTheStepIsPacked) {
  const auto examples = random_examples(12, /*seed=*/3);
  at::Tensor whole;
  double loss = 0.0;
  for (const int64_t rows : {1 << 20, 40, 17, 1}) {  // 1: every example in a pack of its own
    Fixture fixture(examples, {.examples_per_step = 12, .micro_batch_tokens = rows});
    const auto metrics = fixture.trainer.step(0);
    const auto grad = fixture.grad();
    if (!whole.defined()) {
      whole = grad;
      loss = metrics.at("loss");
      EXPECT_NEAR(loss, std::log(23.0), 0.2);
    }
    EXPECT_LE((grad - whole).norm().item<double>(), 1e-5 * whole.norm().item<double>());
    EXPECT_NEAR(metrics.at("loss"), loss, 1e-5);
  }
}

TEST(SftTrainer, LearnsAnExampleByHeart) {
  Fixture fixture({{.tokens = {3, 4, 5, 6, 2}, .loss_mask = {0, 0, 1, 1, 1}}}, {.examples_per_step = 2},
                  {.lr = 1e-2});
  const double before = fixture.trainer.step(0).at("loss");
  StepMetrics metrics;
  for (int64_t step = 1; step < 40; ++step) metrics = fixture.trainer.step(step);
  EXPECT_GT(before, 2.5);
  EXPECT_LT(metrics.at("loss"), 0.1);
  EXPECT_EQ(metrics.at("num_tokens"), 10.0);
  EXPECT_GT(metrics.at("grad_norm"), 0.0);
  EXPECT_EQ(metrics.at("learning_rate"), 1e-2);
}

// Two updates in one go, or a fresh trainer that starts at the second: what is learned from is the same.
TEST(SftTrainer, StepNamesItsExamplesWhateverWasDoneBefore) {
  const SftOptions options{.examples_per_step = 3, .micro_batch_tokens = 64, .seed = 5};
  const optim::OptimizerOptions frozen{.lr = 0.0, .weight_decay = 0.0, .max_grad_norm = 0.0};
  Fixture whole(random_examples(5, /*seed=*/4), options, frozen),
      resumed(random_examples(5, /*seed=*/4), options, frozen);
  for (int64_t step = 0; step < 4; ++step) whole.trainer.step(step);
  const auto grad = whole.grad();
  resumed.trainer.step(3);
  EXPECT_TRUE(at::equal(resumed.grad(), grad));
}

TEST(SftTrainer, SeesEveryExampleOnceAnEpoch) {
  std::vector<Example> examples;
  for (int32_t i = 0; i < 6; ++i) {  // lengths 3, 4, ... 8 tell them apart
    examples.push_back(
        {.tokens = Tokens(static_cast<size_t>(i) + 3, i), .loss_mask = Mask(static_cast<size_t>(i) + 3, 1)});
    examples.back().loss_mask[0] = 0;
  }
  Fixture fixture(examples, {.examples_per_step = 1, .seed = 9});
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::set<double> seen;
    for (int64_t i = 0; i < 6; ++i) seen.insert(fixture.trainer.step(epoch * 6 + i).at("num_tokens"));
    EXPECT_EQ(seen.size(), 6u);
  }
}

TEST(SftTrainer, RefusesToStartWithoutAnExample) { EXPECT_THROW(Fixture({}, {}), DataError); }

at::Tensor router_grad(const model::Network& network) {
  for (const auto& [name, tensor] : network.parameters()) {
    if (name.ends_with("0.block_sparse_moe.gate.weight")) return tensor.grad().clone();
  }
  return {};
}

TEST(SftTrainer, MovesTheRouterByTheBalancingLoss) {
  const auto examples = random_examples(6, /*seed=*/4);
  const auto trained = [&](double coefficient, double& loss, double& aux_loss) {
    Fixture fixture(examples,
                    {.examples_per_step = 6, .micro_batch_tokens = 32, .router_aux_loss = coefficient},
                    {.max_grad_norm = 0.0}, tiny_mixtral());
    const auto metrics = fixture.trainer.step(0);
    loss = metrics.at("loss");
    aux_loss = metrics.at("aux_loss");
    return router_grad(*fixture.network);
  };
  double loss = 0, weighted_loss = 0, twice_loss = 0, aux_loss = 0, ignored = 0;
  const auto plain = trained(0.0, loss, aux_loss);
  const auto weighted = trained(0.5, weighted_loss, ignored);
  EXPECT_EQ(ignored, aux_loss);  // before the coefficient
  const auto twice = trained(1.0, twice_loss, ignored);
  EXPECT_GE(aux_loss, 0.9);  // about 1 when balanced
  EXPECT_LE(aux_loss, 2.0);  // all tokens to the same two of four experts
  EXPECT_NEAR(weighted_loss, loss + 0.5 * aux_loss, 1e-5);
  EXPECT_NEAR(twice_loss, loss + aux_loss, 1e-5);
  const auto added = weighted - plain;
  EXPECT_GT(added.norm().item<double>(), 1e-4);
  EXPECT_LE((twice - plain - 2 * added).norm().item<double>(), 1e-4 * added.norm().item<double>());
}

TEST(SftTrainer, ReportsNoBalancingLossWithoutExperts) {
  Fixture fixture(random_examples(2, 4), {.examples_per_step = 2, .router_aux_loss = 0.5});
  EXPECT_FALSE(fixture.trainer.step(0).contains("aux_loss"));
}

TEST(SftTrainer, MovesTheAdapterAlone) {
  auto network = tiny_network();
  network->add_adapter({.rank = 2}, /*seed=*/1);
  const auto weights = network->flat().clone(), adapter = network->trained().flat().clone();
  Fixture fixture(random_examples(4, 4), {.examples_per_step = 4}, {.lr = 0.01, .weight_decay = 0.1},
                  std::move(network));
  const double first = fixture.trainer.step(0).at("loss");
  double last = 0.0;
  for (int64_t step = 1; step < 8; ++step) last = fixture.trainer.step(step).at("loss");
  EXPECT_LT(last, first - 0.01);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  for (const auto& [name, tensor] : fixture.network->parameters()) {
    EXPECT_FALSE(tensor.grad().defined()) << name;
  }
  int64_t moved = 0;
  for (size_t i = 0; i < fixture.network->trained().slots().size(); ++i) {
    const auto& slot = fixture.network->trained().slots()[i];
    const auto before = adapter.narrow(0, slot.offset, slot.count).view(slot.shape);
    if (!at::equal(fixture.network->trained()[i], before)) ++moved;
  }
  EXPECT_EQ(moved, std::ssize(fixture.network->trained().slots()));
  for (const auto& [name, tensor] : fixture.optimizer.state()) {
    EXPECT_LE(tensor.numel(), adapter.numel()) << name;  // moments of A and B alone
  }
}

}  // namespace
}  // namespace sluice::sft
