#include "optim/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/shared_work.h"
#include "model/safetensors.h"
#include "tests/base/temp_folder.h"
#include "tests/optim/error_text.h"
#include "tests/spawn_ranks.h"
#include "tests/spec_example.h"
#include "tests/tiny_network.h"

namespace sluice::optim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kMatrix = "model.layers.0.mlp.down_proj.weight";
constexpr const char* kNorm = "model.norm.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// Two ranks with the same gradient, seen from one of them.
class TwinCollective final : public transport::Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& tensor) override { tensor.mul_(2.0); }
  void broadcast(at::Tensor&, int64_t /*root*/) override {}  // the other has the same
};

struct Fixture {
  explicit Fixture(const OptimizerOptions& options, int64_t total_steps = 100,
                   model::Rounding rounding = model::Rounding::None)
      : network([&] {
          auto made = tiny_network();
          made->round_products(rounding);
          return made;
        }()),
        optimizer(*network, collective, options, total_steps) {}

  const at::Tensor& parameter(const std::string& name) const {
    for (const auto& parameter : network->parameters()) {
      if (parameter.name == name) return parameter.tensor;
    }
    fail("no parameter is called ", name);
  }
  // The first numbers of a parameter.
  void set(const std::string& name, const std::vector<double>& values) const {
    const c10::NoGradGuard no_grad;
    head_of(parameter(name), values.size()).copy_(at::tensor(values));
  }
  void set_grad(const std::string& name, const std::vector<double>& values) const {
    head_of(parameter(name).grad(), values.size()).copy_(at::tensor(values));
  }
  static at::Tensor head_of(const at::Tensor& tensor, size_t count) {
    return tensor.detach().view(-1).narrow(0, 0, static_cast<int64_t>(count));
  }

  // Of its first moment, or its momentum: behind a first step with beta1 0 the gradient as it was used.
  at::Tensor remembered(const std::string& name, size_t count) const {
    for (const auto& slot : network->trained().slots()) {
      if (slot.name == name)
        return head_of(optimizer.state()[0].tensor.narrow(0, slot.offset, slot.count), count);
    }
    fail("no parameter is called ", name);
  }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  Optimizer optimizer;
};

void expect_near(const at::Tensor& values, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(values.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(values[static_cast<int64_t>(i)].item<double>(), expected[i], tolerance) << "at " << i;
  }
}

TEST(Optimizer, MovesWeightsAsTheSpecificationSays) {
  const Json& example = spec_example("adamw");
  const Json& numbers = example["hyperparameters"];
  Fixture fixture({.lr = numbers["lr"].get<double>(),
                   .beta1 = numbers["beta1"].get<double>(),
                   .beta2 = numbers["beta2"].get<double>(),
                   .eps = numbers["eps"].get<double>(),
                   .weight_decay = numbers["weight_decay"].get<double>(),
                   .max_grad_norm = 0.0});
  const auto grads = example["inputs"]["grads"].get<std::vector<std::vector<double>>>();
  const auto expected = example["expected"]["params_after_each_step"].get<std::vector<std::vector<double>>>();
  fixture.set(kMatrix, example["inputs"]["params"].get<std::vector<double>>());

  for (size_t i = 0; i < grads.size(); ++i) {
    fixture.optimizer.zero_grad();
    fixture.set_grad(kMatrix, grads[i]);
    EXPECT_TRUE(fixture.optimizer.step().applied);
    expect_near(Fixture::head_of(fixture.parameter(kMatrix), 2), expected[i],
                4e-7);  // 2 float32 roundings at 2
  }
}

TEST(Optimizer, DecaysMatricesAndSparesNormsAndEmbeddings) {
  for (const auto& kind : optimizer_kinds()) {
    for (const bool decay_all : {false, true}) {
      Fixture fixture({.kind = kind, .lr = 0.1, .weight_decay = 0.5, .decay_all = decay_all});
      for (const auto* name : {kMatrix, kHead, kNorm, kEmbedding}) fixture.set(name, {2.0});

      fixture.optimizer.step();  // no gradient: the decay alone, 2 * (1 - 0.1 * 0.5)

      for (const auto* name : {kMatrix, kHead}) {
        expect_near(Fixture::head_of(fixture.parameter(name), 1), {1.9}, 1e-6);
      }
      for (const auto* name : {kNorm, kEmbedding}) {
        expect_near(Fixture::head_of(fixture.parameter(name), 1), {decay_all ? 1.9 : 2.0}, 1e-6);
      }
    }
  }
}

TEST(Optimizer, ClipsByTheNormOfAllGradientsTogether) {
  const Json& example = spec_example("grad_clip_global_norm");
  const Json& clipped = example["expected"]["clipped"];
  auto rows = clipped[1].get<std::vector<std::vector<double>>>();
  rows[0].insert(rows[0].end(), rows[1].begin(), rows[1].end());
  for (const char* kind : {"adamw", "sgd"}) {
    Fixture fixture({.kind = kind,
                     .lr = 1.0,
                     .beta1 = 0.0,
                     .weight_decay = 0.0,
                     .momentum = 0.9,
                     .max_grad_norm = example["hyperparameters"]["max_norm"].get<double>()});
    fixture.set_grad(kNorm, {3.0, -4.0});
    fixture.set_grad(kMatrix, {1.0, 2.0, -2.0, 0.0});

    const auto report = fixture.optimizer.step();

    EXPECT_NEAR(report.grad_norm, example["expected"]["norm"].get<double>(), 1e-6);
    expect_near(fixture.remembered(kNorm, 2), clipped[0].get<std::vector<double>>(), 1e-6);
    expect_near(fixture.remembered(kMatrix, 4), rows[0], 1e-6);
  }
}

TEST(Optimizer, LeavesASmallGradientAsItIs) {
  Fixture fixture({.beta1 = 0.0, .max_grad_norm = 1.0});
  fixture.set_grad(kMatrix, {0.3, -0.4});
  EXPECT_NEAR(fixture.optimizer.step().grad_norm, 0.5, 1e-7);
  expect_near(fixture.remembered(kMatrix, 2), {0.3, -0.4}, 1e-7);
}

TEST(Optimizer, MeasuresTheNormOverWholeRowsAndTheRest) {
  Fixture fixture({.max_grad_norm = 0.0});
  for (const auto& parameter : fixture.network->parameters()) parameter.tensor.grad().fill_(0.5);
  const auto count = static_cast<double>(fixture.network->flat().numel());
  EXPECT_NEAR(fixture.optimizer.step().grad_norm, 0.5 * std::sqrt(count), 1e-4);
}

TEST(Optimizer, AddsTheGradientsOfTheRanksBeforeItClips) {
  const auto network = tiny_network();
  TwinCollective twin;
  Optimizer optimizer(*network, twin, {.beta1 = 0.0, .max_grad_norm = 1.0}, 10);
  network->parameters()[0].tensor.grad().view(-1)[0] = 3.0;
  EXPECT_NEAR(optimizer.step().grad_norm, 6.0, 1e-6);
  EXPECT_NEAR(optimizer.state()[0].tensor[0].item<double>(), 1.0, 1e-5);
}

TEST(Optimizer, BackwardAddsIntoTheFlatBufferInsteadOfReplacingIt) {
  Fixture fixture({});
  const auto& parameter = fixture.parameter(kMatrix);
  const auto* before = parameter.grad().const_data_ptr();

  for (int i = 0; i < 2; ++i) (parameter * 3.0).sum().backward();

  EXPECT_EQ(parameter.grad().const_data_ptr(), before);
  EXPECT_EQ(parameter.grad().min().item<double>(), 6.0);
  fixture.optimizer.zero_grad();
  EXPECT_EQ(parameter.grad().const_data_ptr(), before);
  EXPECT_EQ(parameter.grad().abs().max().item<double>(), 0.0);
}

TEST(Optimizer, BackwardThroughTheNetworkReachesEveryParameterInTheFlatBuffer) {
  Fixture fixture({});
  model::PackedBatchBuilder rows;
  const std::vector<int32_t> tokens = {3, 4, 5, 6};
  rows.add(tokens);
  const model::TokenTargets targets{at::tensor({0, 1, 2, 3}, at::kLong), at::tensor({4, 5, 6, 2}, at::kLong)};

  fixture.network->logprobs(rows.build(at::kCPU), targets, 1.0).logprobs.sum().backward();

  for (const auto& [name, tensor] : fixture.network->parameters()) {
    EXPECT_GT(tensor.grad().abs().sum().item<double>(), 0.0) << name;
  }
  EXPECT_TRUE(fixture.optimizer.step().applied);  // the views are still those of the optimizer
}

TEST(Optimizer, RefusesAGradientThatWasReplaced) {
  Fixture fixture({});
  fixture.parameter(kMatrix).mutable_grad() = at::zeros_like(fixture.parameter(kMatrix));
  EXPECT_THROW(fixture.optimizer.step(), Error);
}

void expect_same(const std::vector<model::NamedTensor>& state,
                 const std::vector<model::NamedTensor>& expected, const std::string& but) {
  ASSERT_EQ(state.size(), expected.size());
  for (size_t i = 0; i < state.size(); ++i) {
    EXPECT_EQ(at::equal(state[i].tensor, expected[i].tensor), state[i].name != but) << state[i].name;
  }
}

std::vector<model::NamedTensor> kept(const Optimizer& optimizer) {
  auto state = optimizer.state();
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

TEST(Optimizer, SkipsAGradientThatIsNotFiniteAndCountsIt) {
  for (const auto& kind : optimizer_kinds()) {
    Fixture fixture({.kind = kind, .lr = 0.1});
    fixture.set_grad(kMatrix, {1.0});
    fixture.optimizer.step();
    const auto weights = fixture.network->flat().clone();
    const auto state = kept(fixture.optimizer);

    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      fixture.set_grad(kMatrix, {bad});
      EXPECT_FALSE(fixture.optimizer.step().applied);
    }

    EXPECT_EQ(fixture.optimizer.num_steps(), 3);
    EXPECT_EQ(fixture.optimizer.num_skipped(), 2);
    EXPECT_TRUE(at::equal(fixture.network->flat(), weights)) << kind;
    expect_same(fixture.optimizer.state(), state, /*but=*/"optimizer.counters");
  }
}

TEST(Optimizer, SkipsAStepThatWasRejectedAndGoesOnAfterwards) {
  Fixture fixture({});
  fixture.optimizer.reject();
  EXPECT_FALSE(fixture.optimizer.step().applied);
  fixture.optimizer.zero_grad();
  EXPECT_TRUE(fixture.optimizer.step().applied);
  EXPECT_EQ(fixture.optimizer.num_skipped(), 1);
}

Fixture float16_fixture(const OptimizerOptions& options = {.lr = 0.1}) {
  return Fixture(options, /*total_steps=*/100, model::Rounding::Float16Both);
}

TEST(Optimizer, TakesTheScaleOfTheLossOutOfTheGradientToTheLastBit) {
  Fixture plain({.lr = 0.1});
  auto scaled = float16_fixture();
  EXPECT_EQ(plain.optimizer.loss_scale(), 1.0);
  EXPECT_EQ(scaled.optimizer.loss_scale(), 65536.0);
  for (int i = 0; i < 3; ++i) {
    plain.set_grad(kMatrix, {3.1, -4.7});  // clipped to a norm of 1
    scaled.set_grad(kMatrix, {65536 * 3.1, -65536 * 4.7});
    EXPECT_EQ(scaled.optimizer.step().grad_norm, plain.optimizer.step().grad_norm);
  }
  EXPECT_TRUE(at::equal(scaled.network->flat(), plain.network->flat()));
}

TEST(Optimizer, KeepsGradientsThatAreTooSmallForFloat16) {
  const auto largest = [](bool scales) {
    auto fixture = float16_fixture();
    model::PackedBatchBuilder builder;
    builder.add(std::vector<int32_t>{1, 2, 3});
    const auto loss =
        1e-9 * fixture.network->logprobs(builder.build(at::kCPU), {at::arange(3), at::arange(3)}, 1.0)
                   .logprobs.sum();
    scales ? fixture.optimizer.backward(loss) : loss.backward();
    return fixture.parameter(kMatrix).grad().abs().max().item<double>() / (scales ? 65536 : 1);
  };
  EXPECT_EQ(largest(/*scales=*/false), 0.0);
  EXPECT_GT(largest(/*scales=*/true), 1e-13);
}

TEST(Optimizer, SkipsAnOverflowOfFloat16AndCountsItApart) {
  auto fixture = float16_fixture();
  const auto weights = fixture.network->flat().clone();
  fixture.set_grad(kMatrix, {std::numeric_limits<double>::infinity()});

  const auto report = fixture.optimizer.step();

  EXPECT_TRUE(report.overflow);
  EXPECT_FALSE(report.applied);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  EXPECT_EQ(fixture.optimizer.num_skipped(), 0);
  EXPECT_EQ(fixture.optimizer.metrics().at("overflow_skips"), 1.0);
  EXPECT_EQ(fixture.optimizer.metrics().at("loss_scale"), 32768.0);

  auto resumed = float16_fixture();
  resumed.optimizer.load(kept(fixture.optimizer));
  EXPECT_EQ(resumed.optimizer.metrics(), fixture.optimizer.metrics());
  EXPECT_EQ(resumed.optimizer.num_steps(), 1);
  fixture.optimizer.zero_grad();
  fixture.set_grad(kMatrix, {1.0});
  EXPECT_TRUE(fixture.optimizer.step().applied);
}

TEST(Optimizer, BlamesTheScaleForNothingThatItCannotHelp) {
  auto fixture = float16_fixture();
  fixture.optimizer.reject();
  EXPECT_FALSE(fixture.optimizer.step().is_sound());
  EXPECT_EQ(fixture.optimizer.loss_scale(), 65536.0);
  for (int i = 0; i < 17; ++i) {
    fixture.optimizer.zero_grad();
    fixture.set_grad(kMatrix, {std::numeric_limits<double>::quiet_NaN()});
    EXPECT_EQ(fixture.optimizer.step().overflow, i < 16);
  }
  EXPECT_EQ(fixture.optimizer.num_skipped(), 2);
}

TEST(Optimizer, OverflowsOnAllRanksOrOnNone) {
  spawn_ranks(2, [](transport::Collective& ranks) {
    const auto network = tiny_network();
    network->round_products(model::Rounding::Float16Both);
    Optimizer optimizer(*network, ranks, {.lr = 0.1}, 100);
    const auto update = [&](auto spoil) {
      optimizer.zero_grad();
      if (ranks.rank() == 1) spoil();
      return optimizer.step();
    };
    const auto& grad = network->parameters().front().tensor.grad();
    EXPECT_TRUE(update([&] { grad.fill_(std::numeric_limits<float>::infinity()); }).overflow);
    EXPECT_FALSE(update([&] { optimizer.reject(); }).overflow);
    EXPECT_TRUE(update([] {}).applied);
    EXPECT_EQ(optimizer.loss_scale(), 32768.0);
    EXPECT_EQ(optimizer.num_skipped(), 1);
  });
}

TEST(Optimizer, LeavesAGradientOfZerosBehind) {
  for (const auto& kind : optimizer_kinds()) {
    Fixture fixture({.kind = kind});
    const auto& grad = fixture.parameter(kMatrix).grad();
    fixture.set_grad(kMatrix, {2.0});
    EXPECT_TRUE(fixture.optimizer.step().applied);
    EXPECT_EQ(grad.abs().max().item<double>(), 0.0) << kind;

    fixture.optimizer.zero_grad();
    fixture.set_grad(kMatrix, {2.0});  // of an update that comes to no end
    fixture.optimizer.zero_grad();
    EXPECT_EQ(grad.abs().max().item<double>(), 0.0) << kind;

    fixture.set_grad(kMatrix, {2.0});
    fixture.optimizer.reject();
    EXPECT_FALSE(fixture.optimizer.step().applied);
    fixture.optimizer.zero_grad();  // what was not applied is still there
    EXPECT_EQ(grad.abs().max().item<double>(), 0.0) << kind;
  }
}

TEST(Optimizer, SkipsAStepWhoseGradientNormIsFarAboveTheUsualOne) {
  Fixture fixture({.lr = 0.1, .spike_ratio = 10.0, .spike_window = 5});
  for (int i = 0; i < 10; ++i) {
    fixture.set_grad(kMatrix, {2.0});
    EXPECT_TRUE(fixture.optimizer.step().applied);
    fixture.optimizer.zero_grad();
  }
  const auto weights = fixture.network->flat().clone();
  const auto state = kept(fixture.optimizer);

  fixture.set_grad(kMatrix, {30.0});
  const auto report = fixture.optimizer.step();

  EXPECT_FALSE(report.applied);
  EXPECT_TRUE(report.spike);
  EXPECT_NEAR(report.grad_norm, 30.0, 1e-5);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  const auto after = fixture.optimizer.state();
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::equal(after[i].tensor, state[i].tensor)) << after[i].name;
  EXPECT_EQ(fixture.optimizer.num_spikes(), 1);
  EXPECT_EQ(fixture.optimizer.num_skipped(), 0);  // those whose gradient is not finite
  EXPECT_EQ(fixture.optimizer.num_steps(), 11);
  fixture.set_grad(kMatrix, {2.0});
  EXPECT_TRUE(fixture.optimizer.step().applied);
}

TEST(Optimizer, SkipsASpikeOfOneRankOnAllOfThem) {
  std::array<std::unique_ptr<model::Network>, 2> networks = {tiny_network(), tiny_network()};
  std::array<std::vector<bool>, 2> applied;
  spawn_ranks(2, [&](transport::Collective& ranks) {
    const auto at = static_cast<size_t>(ranks.rank());
    Optimizer optimizer(*networks[at], ranks, {.lr = 0.1, .spike_ratio = 10.0}, 100);
    for (int step = 0; step < 12; ++step) {
      const bool is_spike = step == 10 && ranks.rank() == 1;
      networks[at]->parameters()[0].tensor.grad().fill_(is_spike ? 100.0 : 1.0);
      applied[at].push_back(optimizer.step().applied);
    }
  });
  std::vector<bool> expected(12, true);
  expected[10] = false;
  EXPECT_EQ(applied[0], expected);
  EXPECT_EQ(applied[1], expected);
  EXPECT_TRUE(at::equal(networks[0]->flat(), networks[1]->flat()));
}

// Gradients that are another one in each step.
std::vector<at::Tensor> some_grads(const model::Network& network, int64_t num_steps) {
  std::vector<at::Tensor> grads;
  for (int64_t step = 0; step < num_steps; ++step) {
    const auto places = at::arange(network.trained().num_numbers(), at::kDouble);
    grads.push_back((places * 0.37 + static_cast<double>(step)).sin().to(at::kFloat) * 0.1);
  }
  return grads;
}

void update(const model::Network& network, Optimizer& optimizer, const at::Tensor& grad) {
  const auto& parameters = network.trained();
  for (size_t i = 0; i < parameters.slots().size(); ++i) {
    const auto& slot = parameters.slots()[i];
    parameters[i].grad().copy_(grad.narrow(0, slot.offset, slot.count).view(slot.shape));
  }
  optimizer.step();
}

// Six updates in one go, or three and three with a checkpoint between: the same bits.
TEST(Optimizer, GoesOnFromItsStateWithTheSameBits) {
  for (const auto& kind : optimizer_kinds()) {
    const OptimizerOptions options{
        .kind = kind, .lr = 0.01, .spike_ratio = 5.0, .schedule = {.kind = "cosine", .warmup_steps = 2}};
    Fixture whole(options), first(options), second(options);
    const auto grads = some_grads(*whole.network, 6);
    for (const auto& grad : grads) update(*whole.network, whole.optimizer, grad);

    for (size_t i = 0; i < 3; ++i) update(*first.network, first.optimizer, grads[i]);
    const auto state = kept(first.optimizer);
    const auto weights = first.network->flat().clone();
    update(*first.network, first.optimizer, grads[0]);
    second.network->flat().copy_(weights);
    second.optimizer.load(state);
    for (size_t i = 3; i < 6; ++i) update(*second.network, second.optimizer, grads[i]);

    EXPECT_TRUE(at::equal(second.network->flat(), whole.network->flat())) << kind;
    EXPECT_EQ(second.optimizer.num_steps(), 6);
    expect_same(second.optimizer.state(), whole.optimizer.state(), /*but=*/"");
  }
}

TEST(Optimizer, CountsSpikesInItsState) {
  const OptimizerOptions options{.spike_ratio = 2.0};
  Fixture fixture(options), other(options);
  for (int i = 0; i < 10; ++i) {
    fixture.set_grad(kMatrix, {1.0});
    fixture.optimizer.step();
    fixture.optimizer.zero_grad();
  }
  fixture.set_grad(kMatrix, {3.0});
  EXPECT_TRUE(fixture.optimizer.step().spike);

  other.optimizer.load(fixture.optimizer.state());

  EXPECT_EQ(other.optimizer.num_spikes(), 1);
  EXPECT_EQ(other.optimizer.num_steps(), 11);
}

// What each rule remembers, with the numbers of tensors: all, the hidden matrices, the others.
TEST(Optimizer, KeepsNoMoreStateThanItsRuleNeeds) {
  using Sizes = std::vector<std::pair<std::string, int64_t>>;
  const auto network = tiny_network();
  const int64_t all = network->flat().numel(), others = 2 * 23 * 16 + 5 * 16;  // embedding and head; norms
  const std::vector<std::pair<OptimizerOptions, Sizes>> cases = {
      {{.kind = "adamw"}, {{"optimizer.first_moment", all}, {"optimizer.second_moment", all}}},
      {{.kind = "muon"},
       {{"optimizer.momentum", all - others},
        {"optimizer.first_moment", others},
        {"optimizer.second_moment", others}}},
      {{.kind = "sgd"}, {{"optimizer.momentum", all}}},
      {{.kind = "sgd", .momentum = 0.0}, {}},
  };
  for (auto [options, expected] : cases) {
    expected.push_back({"optimizer.counters", 3});
    options.spike_ratio = 10.0;
    expected.push_back({"optimizer.usual_grad_norm", 3});
    Sizes sizes;
    for (const auto& [name, tensor] : Fixture(options).optimizer.state()) {
      sizes.push_back({name, tensor.numel()});
    }
    EXPECT_EQ(sizes, expected) << options.kind;
  }
}

TEST(Optimizer, GivesItsStateWithoutCopyingIt) {
  Fixture fixture({});
  fixture.set_grad(kMatrix, {1.0});
  const auto before = fixture.optimizer.state();
  fixture.optimizer.step();
  EXPECT_TRUE(before[0].tensor.is_alias_of(fixture.optimizer.state()[0].tensor));
  EXPECT_NE(before[0].tensor.abs().sum().item<double>(), 0.0);
}

TEST(Optimizer, OfAdaptersGoesOnWithMuonFromAFile) {
  const TempFolder folder;
  const auto network = tiny_network(), other = tiny_network();
  transport::SoloCollective collective;
  for (const auto* each : {&network, &other}) (*each)->add_adapter({.rank = 2}, /*seed=*/1);
  Optimizer first(*network, collective, {.kind = "muon", .lr = 0.01}, 10);
  Optimizer second(*other, collective, {.kind = "muon", .lr = 0.01}, 10);
  const auto grads = some_grads(*network, 4);
  for (size_t i = 0; i < 3; ++i) update(*network, first, grads[i]);

  model::write_safetensors(folder / "optimizer.safetensors", first.state());
  other->trained().flat().copy_(network->trained().flat());
  second.load(model::read_safetensors(folder / "optimizer.safetensors"));
  update(*network, first, grads[3]);
  update(*other, second, grads[3]);

  EXPECT_TRUE(at::equal(other->trained().flat(), network->trained().flat()));
  EXPECT_EQ(other->weights_hash(), network->weights_hash());
}

// Large enough that every pass over the numbers is shared among threads, in pieces of odd lengths.
TEST(Optimizer, GivesTheSameBitsWithAnyNumberOfThreads) {
  model::LlamaShape shape;
  shape.vocab_size = 501;
  shape.hidden_size = 120;
  shape.intermediate_size = 333;
  shape.num_layers = 2;
  shape.num_heads = 3;
  shape.num_kv_heads = 1;
  shape.head_dim = 40;
  const auto config = model::llama_config(shape);
  const int before = work_threads();
  for (const auto& kind : optimizer_kinds()) {
    at::Tensor expected;  // with one thread
    std::vector<at::Tensor> grads;
    for (const int threads : {1, 2, 3}) {
      set_work_threads(threads);
      transport::SoloCollective collective;
      model::Network network(config, at::kCPU);
      network.init(/*seed=*/3);
      Optimizer optimizer(network, collective, {.kind = kind, .lr = 0.01, .weight_decay = 0.1}, 10);
      if (grads.empty()) grads = some_grads(network, 3);
      for (const auto& grad : grads) update(network, optimizer, grad);
      if (!expected.defined()) expected = network.flat();
      EXPECT_TRUE(at::equal(network.flat(), expected)) << kind << " with " << threads << " threads";
    }
  }
  set_work_threads(before);
}

TEST(Optimizer, RefusesAStateThatIsNotItsOwn) {
  Fixture fixture({});
  const auto good = fixture.optimizer.state();
  auto renamed = good, short_one = good, other_type = good, counted_wrong = good;
  renamed[0].name = "exp_avg";
  short_one[1].tensor = short_one[1].tensor.slice(0, 1);
  other_type[1].tensor = other_type[1].tensor.to(at::kDouble);
  counted_wrong[2].tensor = at::tensor({5, 1, 1}, at::kLong);
  for (const auto& state : {renamed, short_one, other_type, counted_wrong}) {
    EXPECT_THROW(fixture.optimizer.load(state), DataError);
  }
  EXPECT_NO_THROW(fixture.optimizer.load(good));
}

TEST(Optimizer, RefusesTheStateOfAnotherRuleAndSaysWhatIsMissing) {
  const auto adamw = Fixture({}).optimizer.state();
  EXPECT_THAT(error_text([&] { Fixture({.kind = "muon"}).optimizer.load(adamw); }),
              HasSubstr("there is no tensor optimizer.momentum"));
  const auto muon = Fixture({.kind = "muon"}).optimizer.state();
  EXPECT_THAT(error_text([&] { Fixture({}).optimizer.load(muon); }), HasSubstr("optimizer.first_moment"));
  EXPECT_THAT(error_text([&] { Fixture({.kind = "sgd", .momentum = 0.0}).optimizer.load(adamw); }),
              HasSubstr("1 tensors make the state of sgd, saw 3"));
  EXPECT_THAT(error_text([&] { Fixture({.spike_ratio = 10.0}).optimizer.load(adamw); }),
              HasSubstr("there is no tensor optimizer.usual_grad_norm"));
}

TEST(Optimizer, RefusesNamesThatItDoesNotKnowAndListsThoseItDoes) {
  EXPECT_THAT(optimizer_kinds(), ElementsAre("adamw", "muon", "sgd"));
  EXPECT_THAT(muon_adjustments(), ElementsAre("match_rms_adamw", "original"));
  EXPECT_EQ(error_text([] { Fixture({.kind = "adam"}); }),
            "Optimizer: kind is \"adam\", known are adamw, muon, sgd");
  EXPECT_EQ(error_text([] { Fixture({.kind = "muon", .muon = {.adjust = "rms"}}); }),
            "Optimizer: muon.adjust is \"rms\", known are match_rms_adamw, original");
}

TEST(Optimizer, RefusesOptionsThatMakeNoSense) {
  const std::vector<std::pair<OptimizerOptions, std::string>> cases = {
      {{.lr = -1.0}, "a learning rate of -1"},
      {{.beta2 = 1.0}, "beta2 is 1"},
      {{.momentum = 1.0}, "momentum is 1"},
      {{.muon = {.ns_steps = 0}}, "muon.ns_steps is 0"},
      {{.muon = {.adamw_lr_factor = -2.0}}, "muon.adamw_lr_factor is -2"},
      {{.spike_ratio = 0.5}, "spike_ratio 0.5 is neither 0 nor more than 1"},
      {{.spike_window = 0}, "a spike_window of 0 steps"},
      {{.schedule = {.kind = "step"}}, "kind is \"step\""},
  };
  for (const auto& [options, text] : cases) {
    EXPECT_THAT(error_text([&, &options = options] { Fixture{options}; }), HasSubstr(text));
  }
  EXPECT_THAT(error_text([] { Fixture({}, /*total_steps=*/0); }), HasSubstr("a run of 0 steps"));
}

// Twenty updates by gradients of the seed, which are the ranks' shares of them.
struct Moved {
  at::Tensor weights;
  std::vector<model::NamedTensor> state;
  int64_t state_bytes = 0;
};

Moved move(const OptimizerOptions& options, transport::Collective& ranks,
           const std::vector<model::NamedTensor>& loaded = {}) {
  const auto network = tiny_network();
  Optimizer optimizer(*network, ranks, options, /*total_steps=*/100);
  if (!loaded.empty()) optimizer.load(loaded);
  for (int64_t step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const c10::NoGradGuard no_grad;
    for (const auto& [name, tensor] : network->parameters()) {
      tensor.mutable_grad().copy_((tensor * static_cast<double>(step + 1)).sin() /
                                  static_cast<double>(ranks.size()));
    }
    EXPECT_TRUE(optimizer.step().applied);
  }
  optimizer.collect();
  return {network->flat().clone(), ranks.rank() == 0 ? optimizer.state() : std::vector<model::NamedTensor>(),
          optimizer.state_bytes()};
}

TEST(ShardedOptimizer, MovesTheSameWeightsWithAPartOfTheMomentsEach) {
  for (const char* kind : {"adamw", "sgd"}) {
    for (const int64_t size : {2, 4}) {
      std::vector<Moved> whole(static_cast<size_t>(size)), parts(whole);
      spawn_ranks(size, [&](transport::Collective& ranks) {
        const auto rank = static_cast<size_t>(ranks.rank());
        whole[rank] = move({.kind = kind, .lr = 1e-3}, ranks);
        parts[rank] = move({.kind = kind, .lr = 1e-3, .shard = "moments"}, ranks);
      });
      const int64_t numbers = whole[0].weights.numel(), moments = std::string(kind) == "adamw" ? 2 : 1;
      EXPECT_EQ(whole[0].state_bytes, moments * 4 * numbers);
      int64_t bytes = 0;
      for (int64_t rank = 0; rank < size; ++rank) {
        const auto& part = parts[static_cast<size_t>(rank)];
        EXPECT_TRUE(at::equal(part.weights, whole[0].weights)) << kind << " on rank " << rank;
        EXPECT_EQ(part.state_bytes, moments * 4 * shard_of(numbers, rank, size).count);
        EXPECT_LE(part.state_bytes, moments * 4 * (numbers / size + 64));
        bytes += part.state_bytes;
      }
      EXPECT_EQ(bytes, whole[0].state_bytes);
      ASSERT_EQ(parts[0].state.size(), whole[0].state.size());
      for (size_t i = 0; i < parts[0].state.size(); ++i) {
        EXPECT_EQ(parts[0].state[i].name, whole[0].state[i].name);
        EXPECT_TRUE(at::equal(parts[0].state[i].tensor, whole[0].state[i].tensor));
      }
    }
  }
}

TEST(ShardedOptimizer, GoesOnFromTheStateOfAnotherNumberOfRanks) {
  transport::SoloCollective alone;
  const auto before = move({.lr = 1e-3}, alone);
  const auto expected = move({.lr = 1e-3}, alone, before.state);
  spawn_ranks(3, [&](transport::Collective& ranks) {
    const auto moved = move({.lr = 1e-3, .shard = "moments"}, ranks, before.state);
    EXPECT_LE((moved.weights - expected.weights).norm().item<double>(),
              1e-5 * expected.weights.norm().item<double>());
  });
}

TEST(ShardedOptimizer, IsNotForMuonAndSaysWhatIsNotCollected) {
  spawn_ranks(2, [](transport::Collective& ranks) {
    const auto network = tiny_network();
    EXPECT_THROW(Optimizer(*network, ranks, {.kind = "muon", .shard = "moments"}, 10), Error);
    const Optimizer optimizer(*network, ranks, {.shard = "moments"}, 10);
    EXPECT_THROW(optimizer.state(), Error);
    ranks.meet();  // or one is gone before the other has found it
  });
}

}  // namespace
}  // namespace sluice::optim
