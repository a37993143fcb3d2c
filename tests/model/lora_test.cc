// Adapters of low rank: what they compute, merge into and are written as.
#include "model/lora.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/internal/linear.h"
#include "model/model_directory.h"
#include "model/safetensors.h"
#include "tests/base/temp_folder.h"
#include "tests/model/gradients.h"
#include "tests/spec_example.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<int32_t> kTokens{5, 9, 17, 3, 22, 11, 4, 4, 19, 8};

// What a Linear of one part computes, and its gradients.
TEST(Lora, ComputesTheExampleOfTheSpecification) {
  const Json& example = spec_example("lora_forward_backward");
  const Json &in = example.at("inputs"), &out = example.at("expected");
  const LoraConfig lora{.rank = 2, .alpha = 4.0};
  Parameters parameters;
  Linear linear(parameters, {{"w", 2}}, {.in = 3});
  parameters.bind(matrix_of(in.at("W")).flatten(), /*requires_grad=*/false);
  linear.bind(parameters);
  auto a = matrix_of(in.at("A")).set_requires_grad(true), b = matrix_of(in.at("B")).set_requires_grad(true);
  auto x = vector_of(in.at("x")).unsqueeze(0).set_requires_grad(true);

  linear.adapt({{a, b}}, lora.scale());
  const auto y = linear(x);
  (y * vector_of(in.at("dy"))).sum().backward();

  EXPECT_LE(difference(y[0], vector_of(out.at("y"))), 1e-6);
  EXPECT_LE(difference(a.grad(), matrix_of(out.at("grad_A"))), 1e-6);
  EXPECT_LE(difference(b.grad(), matrix_of(out.at("grad_B"))), 1e-6);
  EXPECT_LE(difference(x.grad()[0], vector_of(out.at("grad_x"))), 1e-6);
  EXPECT_FALSE(parameters[0].grad().defined());
  EXPECT_LE(difference(linear.merged(), matrix_of(out.at("merged_W"))), 1e-6);
  linear.adapt({{a, b}}, LoraConfig{.rank = 2, .alpha = 4.0, .rslora = true}.scale());
  EXPECT_LE(difference(linear(x)[0], vector_of(out.at("y_rslora"))), 1e-6);
}

// B is 0 when an adapter begins; numbers that stand out take its place.
void fill(const Network& network) {
  const at::NoGradGuard no_grad;
  double phase = 0.0;
  for (const auto& [name, tensor] : network.trained().tensors()) {
    tensor.detach().copy_(numbers(tensor.sizes(), phase += 0.3) * 0.1);
  }
}

at::Tensor logits_of(const Network& network) {
  const at::NoGradGuard no_grad;
  PackedBatchBuilder builder;
  builder.add(kTokens);
  return network.scaled_logits(network.forward(builder.build(at::kCPU)), 1.0);
}

std::vector<std::string> names_of(const Parameters& parameters) {
  std::vector<std::string> names;
  for (const auto& slot : parameters.slots()) names.push_back(slot.name);
  return names;
}

class LoraOfFamilies : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Network> load() const {
    return load_model(fs::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / GetParam(), at::kCPU);
  }
  std::unique_ptr<Network> adapted() const {
    auto network = load();
    network->add_adapter({.rank = 3, .alpha = 6.0}, /*seed=*/1);
    fill(*network);
    return network;
  }
};

TEST_P(LoraOfFamilies, ChangesNothingWhenItBegins) {
  const auto network = load();
  const auto before = logits_of(*network);
  network->add_adapter({.rank = 3, .alpha = 6.0}, /*seed=*/1);
  EXPECT_TRUE(at::equal(logits_of(*network), before));
  EXPECT_TRUE(at::equal(network->merged_flat(), network->flat()));
}

TEST_P(LoraOfFamilies, GivesMergedWhatItGivesUnmerged) {
  const auto network = adapted();
  const auto plain = logits_of(*load()), unmerged = logits_of(*network);
  const auto merged = network->merged_flat();
  network->merge_adapter();
  EXPECT_FALSE(network->lora().has_value());
  EXPECT_TRUE(at::equal(network->flat(), merged));
  const auto logprobs = unmerged.log_softmax(1);
  EXPECT_GT(difference(logprobs, plain.log_softmax(1)), 1e-2);  // it does something
  EXPECT_LE(difference(logprobs, logits_of(*network).log_softmax(1)), 1e-5);
}

TEST_P(LoraOfFamilies, GivesWithACacheWhatItGivesWithout) {
  const auto network = adapted();
  KvCache cache({.layout = network->cache_layout(), .num_blocks = 1, .block_size = 12}, at::kCPU);
  CacheView view{.cache = &cache, .block_table = {{0}}, .cached = {0}};
  std::vector<at::Tensor> parts;
  for (const size_t end : {6u, 7u, 10u}) {
    const auto first = static_cast<size_t>(view.cached[0]);
    PackedBatchBuilder builder;
    builder.add(std::span(kTokens).subspan(first, end - first), kNoPrefix, view.cached[0], 10);
    parts.push_back(network->scaled_logits(network->forward(builder.build(at::kCPU), &view), 1.0));
    view.cached[0] = static_cast<int64_t>(end);
  }
  EXPECT_LE(difference(at::cat(parts).log_softmax(1), logits_of(*network).log_softmax(1)), 1e-5);
}

TEST_P(LoraOfFamilies, ComesBackFromItsDirectory) {
  const TempFolder folder;
  const auto network = adapted();
  save_adapter(folder / "adapter", *network, "a/base");
  const auto other = load();
  load_adapter(folder / "adapter", *other);
  EXPECT_EQ(names_of(other->trained()), names_of(network->trained()));
  EXPECT_TRUE(at::equal(other->trained().flat(), network->trained().flat()));
  EXPECT_TRUE(at::equal(logits_of(*other), logits_of(*network)));

  // Merged and saved as a model, it is one like any other.
  save_model(folder / "merged", *network, {.dtype = at::kFloat});
  EXPECT_TRUE(at::equal(load_model(folder / "merged", at::kCPU)->flat(), network->merged_flat()));
}

INSTANTIATE_TEST_SUITE_P(Goldens, LoraOfFamilies,
                         testing::Values("llama", "qwen2", "phi3", "gpt2", "gemma2", "mixtral", "deepseek_v2",
                                         "deepseek_v3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Lora, StandsBesideTheMatricesThatAreNamed) {
  const auto network = tiny_network();
  network->add_adapter({.rank = 2, .targets = {"q_proj", "layers.1.mlp.down_proj"}}, 1);
  EXPECT_THAT(names_of(network->trained()), ElementsAre("model.layers.0.self_attn.q_proj.lora_A.weight",
                                                        "model.layers.0.self_attn.q_proj.lora_B.weight",
                                                        "model.layers.1.self_attn.q_proj.lora_A.weight",
                                                        "model.layers.1.self_attn.q_proj.lora_B.weight",
                                                        "model.layers.1.mlp.down_proj.lora_A.weight",
                                                        "model.layers.1.mlp.down_proj.lora_B.weight"));
  const auto& a = network->trained()[0];
  EXPECT_EQ(a.sizes(), (std::vector<int64_t>{2, 16}));
  EXPECT_LE(a.abs().max().item<double>(), 0.25);  // 1 / sqrt(16)
  EXPECT_GT(a.abs().max().item<double>(), 0.15);
  EXPECT_EQ(network->trained()[1].abs().max().item<double>(), 0.0);
  for (const auto& [name, tensor] : network->parameters()) EXPECT_FALSE(tensor.requires_grad()) << name;
}

TEST(Lora, StandsBesideAttentionAloneWhereThereAreExperts) {
  const auto network = load_model(fs::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / "deepseek_v3", at::kCPU);
  for (const auto& name : names_of(Network::declare_adapter(network->config(), {}))) {
    EXPECT_THAT(name, HasSubstr("self_attn"));
  }
  EXPECT_THAT(message_of<DataError>([&] { network->add_adapter({.targets = {"gate_proj"}}, 1); }),
              HasSubstr("no matrix that can be adapted is called \"gate_proj\""));
}

TEST(Lora, IsDrawnFromItsSeed) {
  const auto drawn = [](uint64_t seed) {
    const auto network = tiny_network();
    network->add_adapter({}, seed);
    return network->trained().flat();
  };
  EXPECT_TRUE(at::equal(drawn(1), drawn(1)));
  EXPECT_FALSE(at::equal(drawn(1), drawn(2)));
}

TEST(Lora, RefusesATargetThatNoMatrixHas) {
  const auto network = tiny_network();
  EXPECT_THAT(
      message_of<DataError>([&] {
        network->add_adapter({.targets = {"q_proj", "query"}}, 1);
      }),
      AllOf(HasSubstr("\"query\""),
            HasSubstr("those that can: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")));
  EXPECT_THAT(message_of<DataError>([&] { network->add_adapter({.targets = {"roj"}}, 1); }),
              HasSubstr("roj"));
  EXPECT_THAT(message_of<DataError>([&] { network->add_adapter({.rank = 0}, 1); }), HasSubstr("rank 0"));
}

// An adapter directory that a test spoils.
class AdapterDirectory : public testing::Test {
 protected:
  AdapterDirectory() {
    const auto network = tiny_network();
    network->add_adapter({.rank = 2, .targets = {"q_proj"}}, 1);
    save_adapter(path_, *network, "a/base");
  }
  // What is said against the directory when a key of its configuration has another value.
  std::string refusal(const std::string& key, const Json& value) const {
    Json config = read_json(config_);
    config[key] = value;
    write_plain(config_, config.dump());
    return refusal();
  }
  std::string refusal(const std::function<void(std::vector<NamedTensor>&)>& change) const {
    auto tensors = read_safetensors(weights_);
    change(tensors);
    write_safetensors(weights_, tensors);
    return refusal();
  }
  std::string refusal() const {
    const auto network = tiny_network();
    const auto said = message_of<DataError>([&] { load_adapter(path_, *network); });
    EXPECT_EQ(network->lora().has_value(), said.empty());
    return said;
  }

  const TempFolder folder_;
  const fs::path path_ = folder_ / "adapter", config_ = path_ / "adapter_config.json",
                 weights_ = path_ / "adapter_model.safetensors";
};

TEST_F(AdapterDirectory, SaysWhatPeftWantsToKnow) {
  const Json config = read_json(config_);
  EXPECT_EQ(config.at("peft_type"), "LORA");
  EXPECT_EQ(config.at("task_type"), "CAUSAL_LM");
  EXPECT_EQ(config.at("base_model_name_or_path"), "a/base");
  EXPECT_EQ(config.at("r"), 2);
  EXPECT_EQ(config.at("lora_alpha"), 8);
  EXPECT_EQ(config.at("target_modules"), Json({"q_proj"}));
  EXPECT_EQ(config.at("fan_in_fan_out"), false);
  const auto tensors = read_safetensors(weights_);
  EXPECT_EQ(tensors.front().name, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(tensors.front().tensor.scalar_type(), at::kFloat);
}

TEST_F(AdapterDirectory, OfAnotherTypeIsWidened) {
  const auto halved = [](std::vector<NamedTensor>& tensors) {
    for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  };
  EXPECT_EQ(refusal(halved), "");
}

TEST_F(AdapterDirectory, PassesOverSettingsThatChangeNothing) {
  EXPECT_EQ(refusal("lora_dropout", 0.1), "");
  EXPECT_EQ(refusal("rank_pattern", Json::object()), "");
  EXPECT_EQ(refusal("layers_to_transform", nullptr), "");
  EXPECT_EQ(refusal("some_new_feature", false), "");
}

TEST_F(AdapterDirectory, IsRefusedWithASettingThatIsNotRead) {
  const std::vector<std::pair<std::string, Json>> settings = {
      {"peft_type", "IA3"},
      {"task_type", "SEQ_CLS"},
      {"bias", "all"},
      {"use_dora", true},
      {"modules_to_save", Json::array({"lm_head"})},
      {"layers_to_transform", Json::array({0})},
      {"rank_pattern", {{"q_proj", 4}}},
      {"alpha_pattern", {{"q_proj", 4}}},
      {"target_parameters", Json::array({"experts.gate_up_proj"})},
      {"trainable_token_indices", Json::array({1})},
      {"init_lora_weights", "pissa"},
      {"some_new_feature", 1}};
  for (const auto& [key, value] : settings) {
    const Json kept = read_json(config_);
    EXPECT_THAT(refusal(key, value), AllOf(HasSubstr("adapter_config.json: " + key + " is " + value.dump()),
                                           HasSubstr("not supported")));
    write_plain(config_, kept.dump());
  }
  EXPECT_THAT(refusal("target_modules", ".*_proj"), HasSubstr("the pattern \".*_proj\""));
  EXPECT_THAT(refusal("target_modules", nullptr), HasSubstr("target_modules"));
  EXPECT_THAT(refusal("target_modules", Json::array()), HasSubstr("target_modules is empty"));
}

// A rank that the tensors do not have is seen before anything of its size is made.
TEST_F(AdapterDirectory, IsRefusedWithARankThatMakesNoSense) {
  EXPECT_THAT(refusal("r", 1'000'000), HasSubstr("rank 1000000"));
  EXPECT_THAT(refusal("r", 4000), HasSubstr("lora_A.weight\" should be [4000, 16], it is [2, 16]"));
  EXPECT_THAT(refusal("r", "2"), HasSubstr("adapter_config.json"));
}

TEST_F(AdapterDirectory, IsRefusedWithATensorThatIsMissingLeftOverOrMisshapen) {
  const std::string first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
  EXPECT_THAT(refusal([&](auto& tensors) {
                tensors.push_back({"base_model.model.lm_head.lora_A.weight", at::zeros({2, 16})});
              }),
              HasSubstr("tensor \"base_model.model.lm_head.lora_A.weight\" of shape [2, 16] is not part"));
  EXPECT_THAT(refusal([&](auto& tensors) { tensors.back().name = "\x1b[2J"; }),
              HasSubstr("\"\\u001b[2J\" of shape"));
  EXPECT_THAT(refusal([&](auto& tensors) {
                tensors.pop_back(), tensors.front().tensor = at::zeros({3, 16});
              }),
              HasSubstr("tensor \"" + first + "\" should be [2, 16], it is [3, 16]"));
  EXPECT_THAT(refusal([&](auto& tensors) { tensors.erase(tensors.begin()); }),
              HasSubstr("tensor " + first + " of shape [2, 16] is missing"));
}

TEST_F(AdapterDirectory, IsRefusedWithoutItsFiles) {
  fs::remove(weights_);
  EXPECT_THAT(refusal(), HasSubstr("adapter_model.safetensors"));
  fs::remove(config_);
  EXPECT_THAT(refusal(), HasSubstr("adapter_config.json"));
}

}  // namespace
}  // namespace sluice::model
