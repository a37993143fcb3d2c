// Networks of every family against what transformers computed for the same weights: log-probs, greedy tokens
// and gradients, decoded without a cache, with one, and together with others of other lengths.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/json.h"
#include "model/model_directory.h"
#include "model/network.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;

// One prompt with the tokens that followed it.
struct Case {
  std::vector<int32_t> prompt, tokens;
  std::vector<double> prompt_logprobs, logprobs;  // of prompt[1:] and of tokens
  double smallest_margin = 0.0;                   // of the best logit over the second

  int64_t length() const { return std::ssize(prompt) + std::ssize(tokens); }
  std::vector<int32_t> all() const {
    auto all = prompt;
    all.insert(all.end(), tokens.begin(), tokens.end());
    return all;
  }
};

struct Golden {
  std::vector<Case> cases;
  Json gradient_norms;
};

struct Tolerance {
  at::ScalarType dtype;
  double logprobs;  // most that a log-prob may differ
  double margin;    // greedy tokens are equal where the best logit leads by more
};
constexpr Tolerance kFloat32{at::kFloat, 1e-4, 0.0}, kBfloat16{at::kBFloat16, 2e-2, 0.05};
// Weights that a directory stores in float32 are rounded here, which alone moves a log-prob by up to 0.035.
constexpr Tolerance kRounded{at::kBFloat16, 4e-2, 0.1};

Golden read_golden(const fs::path& directory) {
  const Json json = read_json(directory / "golden.json");
  Golden golden{.cases = {}, .gradient_norms = json.at("gradient_norms_of_last_case")};
  for (const auto& one : json.at("cases")) {
    golden.cases.push_back(
        {one.at("prompt").get<std::vector<int32_t>>(), one.at("tokens").get<std::vector<int32_t>>(),
         one.at("prompt_logprobs").get<std::vector<double>>(), one.at("logprobs").get<std::vector<double>>(),
         one.at("smallest_margin").get<double>()});
  }
  return golden;
}

// Targets for every token but the first.
TokenTargets next_tokens(const std::vector<int32_t>& tokens) {
  const std::vector<int64_t> targets(tokens.begin() + 1, tokens.end());
  return {at::arange(std::ssize(targets), at::kLong), at::tensor(targets, at::kLong)};
}

// Rows of `logits` stand where each of the case's new tokens was chosen.
void expect_tokens(const at::Tensor& logits, const Case& one, const Tolerance& tolerance) {
  const auto best = logits.argmax(1), top = std::get<0>(logits.topk(2, 1));
  const auto logprobs = logits.to(at::kDouble).log_softmax(1);
  for (size_t i = 0; i < one.tokens.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const double margin = (top[row][0] - top[row][1]).item<double>();
    if (margin > tolerance.margin) {
      EXPECT_EQ(best[row].item<int64_t>(), one.tokens[i]) << "token " << i;
    }
    EXPECT_NEAR(logprobs[row][one.tokens[i]].item<double>(), one.logprobs[i], tolerance.logprobs)
        << "token " << i;
  }
}

// Feeds the cases together through one cache: prompts at once, then token after token. Logits where each new
// token is chosen, case by case.
std::vector<at::Tensor> decode(const Network& network, std::span<const Case> cases) {
  int64_t longest = 0;
  for (const auto& one : cases) longest = std::max(longest, one.length());
  KvCache cache({.layout = network.cache_layout(), .num_blocks = std::ssize(cases), .block_size = longest},
                at::kCPU);
  std::vector<std::vector<int64_t>> blocks;
  for (size_t i = 0; i < cases.size(); ++i) blocks.push_back({static_cast<int64_t>(i)});
  std::vector<std::vector<at::Tensor>> logits(cases.size());
  for (size_t step = 0; step < cases.front().tokens.size(); ++step) {
    CacheView view{.cache = &cache, .block_table = blocks, .cached = {}};
    PackedBatchBuilder builder;
    std::vector<int64_t> last;
    for (const auto& one : cases) {
      const auto cached = step == 0 ? int64_t{0} : std::ssize(one.prompt) + static_cast<int64_t>(step) - 1;
      const auto fed = step == 0 ? std::span(one.prompt) : std::span(one.tokens).subspan(step - 1, 1);
      builder.add(fed, kNoPrefix, cached, one.length());
      view.cached.push_back(cached);
      last.push_back(builder.num_rows() - 1);
    }
    const auto hidden = network.forward(builder.build(at::kCPU), &view);
    const auto now = network.scaled_logits(hidden.index_select(0, at::tensor(last, at::kLong)), 1.0);
    for (size_t i = 0; i < cases.size(); ++i) logits[i].push_back(now[static_cast<int64_t>(i)]);
  }
  std::vector<at::Tensor> result;
  for (const auto& rows : logits) result.push_back(at::stack(rows));
  return result;
}

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  fs::path directory() const { return fs::path(SLUICE_SOURCE_DIR) / "data" / GetParam(); }
  std::unique_ptr<Network> network(const Tolerance& tolerance = kFloat32) const {
    return load_model(directory(), at::kCPU, {.dtype = tolerance.dtype});
  }
  const Golden golden = read_golden(directory());
};

void expect_one_pass(const Network& network, const Golden& golden, const Tolerance& tolerance) {
  const at::NoGradGuard no_grad;
  for (const auto& one : golden.cases) {
    const auto tokens = one.all();
    PackedBatchBuilder builder;
    builder.add(tokens);
    const auto batch = builder.build(at::kCPU);
    const auto logprobs = network.logprobs(batch, next_tokens(tokens), 1.0).logprobs;
    auto expected = one.prompt_logprobs;
    expected.insert(expected.end(), one.logprobs.begin(), one.logprobs.end());
    EXPECT_LE((logprobs - at::tensor(expected)).abs().max().item<double>(), tolerance.logprobs);
    const auto chosen = network.forward(batch).slice(0, std::ssize(one.prompt) - 1, one.length() - 1);
    expect_tokens(network.scaled_logits(chosen, 1.0), one, tolerance);
  }
}

TEST_P(GoldenTest, OnePassGivesTheLogprobsAndTokensOfTransformers) {
  expect_one_pass(*network(), golden, kFloat32);
}

TEST_P(GoldenTest, DecodingWithACacheGivesThem) {
  const auto one_network = network();
  for (const auto& one : golden.cases) {
    expect_tokens(decode(*one_network, {&one, 1}).front(), one, kFloat32);
  }
}

TEST_P(GoldenTest, DecodingCasesOfUnequalLengthTogetherGivesThem) {
  const auto logits = decode(*network(), golden.cases);
  for (size_t i = 0; i < golden.cases.size(); ++i) expect_tokens(logits[i], golden.cases[i], kFloat32);
}

TEST_P(GoldenTest, WeightsKeptInBfloat16GiveThemNearly) {
  const auto one_network = network(kBfloat16);
  const bool exact = one_network->weights().slots().front().stored_type == at::kBFloat16;
  const auto& tolerance = exact ? kBfloat16 : kRounded;
  expect_one_pass(*one_network, golden, tolerance);
  const auto logits = decode(*one_network, golden.cases);
  for (size_t i = 0; i < golden.cases.size(); ++i) expect_tokens(logits[i], golden.cases[i], tolerance);
}

// transformers 5 holds the experts of a layer as two stacked parameters, and Mixtral's under another name.
std::string name_in_transformers(std::string name) {
  if (const auto at = name.find("block_sparse_moe"); at != std::string::npos) name.replace(at, 16, "mlp");
  const auto experts = name.find(".experts.");
  if (experts == std::string::npos) return name;
  const bool down = name.ends_with("down_proj.weight") || name.ends_with("w2.weight");
  return name.substr(0, experts) + (down ? ".experts.down_proj" : ".experts.gate_up_proj");
}

TEST_P(GoldenTest, GradientNormsAreThoseOfTransformers) {
  const auto one_network = network();
  const auto& last = golden.cases.back();
  const auto tokens = last.all();
  PackedBatchBuilder builder;
  builder.add(tokens);
  const auto logprobs = one_network->logprobs(builder.build(at::kCPU), next_tokens(tokens), 1.0).logprobs;
  (-logprobs.slice(0, std::ssize(last.prompt) - 1).mean()).backward();  // of the completion alone
  const auto& config = one_network->config();
  if (config.pad_id && !config.tie_embeddings) {
    one_network->parameters()[0].tensor.grad()[*config.pad_id].zero_();  // transformers keeps that row fixed
  }
  std::map<std::string, double> squares;
  for (const auto& [name, parameter] : one_network->parameters()) {
    if (!parameter.requires_grad()) continue;
    const auto& grad = parameter.grad();
    squares[name_in_transformers(name)] += grad.defined() ? grad.square().sum().item<double>() : 0.0;
  }
  EXPECT_EQ(squares.size(), golden.gradient_norms.size());
  // Where a tied table's padding row was looked up, that part of its gradient is not in transformers' norm.
  const bool padded = config.pad_id && std::ranges::count(tokens, static_cast<int32_t>(*config.pad_id)) > 0;
  if (config.tie_embeddings && padded) squares.erase(one_network->parameters().front().name);
  for (const auto& [name, square] : squares) {
    const auto expected = golden.gradient_norms.at(name).get<double>();
    EXPECT_NEAR(std::sqrt(square), expected, 1e-4 * std::max(1.0, expected)) << name;
  }
}

// A weighted sum of the log-probs of a short sequence, in float64, in whose gradient every parameter has a
// part.
at::Tensor weighted_logprobs(const Network& network, const std::vector<int32_t>& tokens) {
  PackedBatchBuilder builder;
  builder.add(tokens);
  const auto out = network.logprobs(builder.build(at::kCPU), next_tokens(tokens), 1.0);
  const auto weights = at::linspace(-1, 2, std::ssize(tokens) - 1, at::kDouble);
  return (out.logprobs * weights).sum();
}

// Every block kind whole: attention with its norms and rotation, latent attention, router and experts, fused
// and transposed projections, tied and untied heads, each parameter moved on its own along a direction.
TEST_P(GoldenTest, GradientsAreThoseOfDifferences) {
  constexpr double kStep = 1e-6;
  const auto one_network = load_model(directory(), at::kCPU, {.dtype = at::kDouble});
  auto tokens = golden.cases[2].prompt;
  tokens.resize(12);
  weighted_logprobs(*one_network, tokens).backward();
  int64_t moved = 0;
  for (const auto& [name, parameter] : one_network->parameters()) {
    if (!parameter.requires_grad()) continue;
    const auto gradient = parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter);
    const at::NoGradGuard no_grad;
    const auto direction = at::sin(at::arange(parameter.numel(), at::kDouble) * 0.7 + 1.0).view_as(parameter);
    const auto along = [&](double step) {
      parameter.add_(direction, step);
      const double value = weighted_logprobs(*one_network, tokens).item<double>();
      parameter.sub_(direction, step);
      return value;
    };
    const double difference = (along(kStep) - along(-kStep)) / (2 * kStep);
    const double expected = (gradient * direction).sum().item<double>();
    EXPECT_NEAR(difference, expected, 1e-5 * std::max(1.0, std::abs(expected))) << name;
    if (std::abs(expected) > 1e-3) ++moved;
  }
  EXPECT_GT(moved, std::ssize(one_network->parameters()) / 2);
}

std::vector<std::string> all_goldens() {
  std::vector<std::string> names{"toy_llama"};
  for (const auto& entry : fs::directory_iterator(fs::path(SLUICE_SOURCE_DIR) / "data/goldens")) {
    if (entry.is_directory()) names.push_back("goldens/" + entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, testing::ValuesIn(all_goldens()), [](const auto& info) {
  std::string name = fs::path(info.param).filename().string();
  std::ranges::replace(name, '.', '_');
  return name;
});

}  // namespace
}  // namespace sluice::model
