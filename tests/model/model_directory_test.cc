#include "model/model_directory.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "model/safetensors.h"
#include "model/weight_files.h"
#include "tests/base/temp_folder.h"

namespace sluice::model {
namespace {

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(SLUICE_SOURCE_DIR) / "data" / name;
}

void expect_refusal(const std::filesystem::path& directory, const std::string& part) {
  try {
    load_model(directory, at::kCPU);
    FAIL() << "loaded, but should say: " << part;
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

// A directory with the configuration of the small golden and the tensors given.
void write_model(const std::filesystem::path& directory, const std::vector<NamedTensor>& tensors) {
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  write_safetensors(directory / "model.safetensors", tensors);
}

// The bytes of every tensor of a directory, by name.
std::map<std::string, std::string> bytes_of(const std::filesystem::path& directory) {
  const WeightFiles files(directory);
  std::map<std::string, std::string> bytes;
  for (const auto& entry : files.entries()) {
    const auto tensor = files.read(entry.name);
    bytes[entry.name] = std::string(c10::toString(tensor.scalar_type())) + shape_text(entry.shape) +
                        std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  return bytes;
}

TEST(ModelDirectory, WhatIsSavedHasTheBytesThatWereLoaded) {
  for (const auto& entry : std::filesystem::directory_iterator(data("goldens"))) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    if (name == "llama_f8" || name == "deepseek_mtp") continue;  // what changes there has its own tests
    const TempFolder directory;
    const auto network = load_model(entry.path(), at::kCPU);
    save_model(directory / "saved", *network, {});
    EXPECT_EQ(bytes_of(directory / "saved"), bytes_of(entry.path())) << name;
    const auto again = load_model(directory / "saved", at::kCPU);
    EXPECT_EQ(model_config_to_json(network->config(), "float32"),
              model_config_to_json(again->config(), "float32"));
  }
}

TEST(ModelDirectory, ATypeAskedForIsWrittenWhateverWasLoaded) {
  const TempFolder directory;
  const auto network = load_model(data("goldens/llama"), at::kCPU);
  save_model(directory / "saved", *network, {.dtype = at::kFloat});
  for (const auto& tensor : read_safetensors(directory / "saved/model.safetensors")) {
    EXPECT_EQ(tensor.tensor.scalar_type(), at::kFloat);
  }
  EXPECT_EQ(read_json(directory / "saved/config.json").at("torch_dtype"), "float32");
  EXPECT_EQ(read_json(directory / "saved/generation_config.json").at("eos_token_id"), 2);
  EXPECT_TRUE(at::equal(network->flat(), load_model(directory / "saved", at::kCPU)->flat()));
}

TEST(ModelDirectory, EightBitWeightsAreWidenedAndSavedSoWithANotice) {
  const TempFolder directory;
  std::vector<std::string> notices;
  const auto network = load_model(data("goldens/llama_f8"), at::kCPU, {.notices = &notices});
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_THAT(notices[0], testing::HasSubstr("F8 weights are widened to float32"));
  save_model(directory / "saved", *network, {});
  EXPECT_FALSE(read_json(directory / "saved/config.json").contains("quantization_config"));
  EXPECT_TRUE(at::equal(network->flat(), load_model(directory / "saved", at::kCPU)->flat()));
}

TEST(ModelDirectory, LayersForMultiTokenPredictionAreSkippedWithOneNotice) {
  const TempFolder directory;
  std::vector<std::string> notices;
  const auto network = load_model(data("goldens/deepseek_mtp"), at::kCPU, {.notices = &notices});
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_THAT(notices[0], testing::HasSubstr("multi-token prediction are not loaded"));
  save_model(directory / "saved", *network, {});
  EXPECT_EQ(read_json(directory / "saved/config.json").at("num_nextn_predict_layers"), 0);
}

TEST(ModelDirectory, NamesWhatIsMissing) {
  const TempFolder directory;
  expect_refusal(directory.path(), "config.json");
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  expect_refusal(directory.path(), "model.safetensors");
}

TEST(ModelDirectory, NamesAMissingAnExtraAndAMisshapenTensor) {
  const auto whole = read_safetensors(data("goldens/llama") / "model.safetensors");
  {
    const TempFolder directory;
    auto tensors = whole;
    const auto name = tensors.back().name;
    tensors.pop_back();
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "tensor " + name + " of shape [");
  }
  {
    const TempFolder directory;
    auto tensors = whole;
    tensors.push_back({"model.layers.2.mlp.up_proj.weight", at::zeros({2, 2})});
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(),
                   "tensor \"model.layers.2.mlp.up_proj.weight\" of shape [2, 2] is not part");
  }
  {
    const TempFolder directory;
    auto tensors = whole;
    for (auto& tensor : tensors) {
      if (tensor.name == "model.norm.weight") tensor.tensor = at::zeros({63});
    }
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "tensor \"model.norm.weight\" should be [64], it is [63]");
  }
  {
    const TempFolder directory;
    auto tensors = whole;
    for (auto& tensor : tensors) {
      if (tensor.name == "model.norm.weight") tensor.tensor = at::zeros({64}, at::kInt);
    }
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "tensor \"model.norm.weight\" is of type Int");
  }
}

TEST(ModelDirectory, AllocatesNothingForAConfigurationItsFileDoesNotBack) {
  const TempFolder directory;
  write_model(directory.path(), {{"model.norm.weight", at::zeros({64})}});
  Json config = read_json(directory / "config.json");
  config["hidden_size"] = 1 << 17;
  config["intermediate_size"] = 1 << 20;
  config["num_hidden_layers"] = 1 << 10;
  write_file_atomically(directory / "config.json", config.dump());
  expect_refusal(directory.path(), "model.embed_tokens.weight of shape [256, 131072] is missing");
}

class ShardedModel : public testing::Test {
 protected:
  ShardedModel() {
    std::filesystem::copy_file(data("goldens/llama") / "config.json", directory_ / "config.json");
    const auto whole = read_safetensors(data("goldens/llama") / "model.safetensors");
    const std::vector<NamedTensor> first(whole.begin(), whole.begin() + 7),
        second(whole.begin() + 7, whole.end());
    write_safetensors(directory_ / "model-00001-of-00002.safetensors", first);
    write_safetensors(directory_ / "model-00002-of-00002.safetensors", second);
    for (const auto& tensor : first) map_[tensor.name] = "model-00001-of-00002.safetensors";
    for (const auto& tensor : second) map_[tensor.name] = "model-00002-of-00002.safetensors";
  }
  void write_index() {
    const Json index{{"metadata", {{"total_size", 1}}}, {"weight_map", map_}};
    write_file_atomically(directory_ / "model.safetensors.index.json", index.dump());
  }

  TempFolder directory_;
  Json map_ = Json::object();
};

TEST_F(ShardedModel, LoadsAsTheWholeFileDoes) {
  write_index();
  const auto sharded = load_model(directory_.path(), at::kCPU);
  EXPECT_TRUE(at::equal(sharded->flat(), load_model(data("goldens/llama"), at::kCPU)->flat()));
}

TEST_F(ShardedModel, AShardOutsideTheDirectoryIsRefused) {
  map_["model.norm.weight"] = "../model-00002-of-00002.safetensors";
  write_index();
  expect_refusal(directory_.path(), "../model-00002-of-00002.safetensors");
}

TEST_F(ShardedModel, AnIndexThatDisagreesWithItsShardsIsRefused) {
  map_["model.norm.weight"] = map_["model.norm.weight"] == "model-00001-of-00002.safetensors"
                                  ? "model-00002-of-00002.safetensors"
                                  : "model-00001-of-00002.safetensors";
  write_index();
  expect_refusal(directory_.path(), "model.norm.weight");
}

TEST_F(ShardedModel, AMissingShardIsNamed) {
  std::filesystem::remove(directory_ / "model-00002-of-00002.safetensors");
  write_index();
  expect_refusal(directory_.path(), "model-00002-of-00002.safetensors");
}

TEST(ModelDirectory, EndsOfGenerationComeFromBothFiles) {
  const TempFolder directory;
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": [2, 9]})");
  EXPECT_EQ(read_model_config(directory.path()).eos_ids, (std::vector<int64_t>{2, 9}));
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": [256]})");
  EXPECT_THROW(read_model_config(directory.path()), DataError);
}

TEST(ModelDirectory, MinusOneNamesNoEndInEitherFile) {
  const TempFolder directory;
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": [-1, 9, null]})");
  EXPECT_EQ(read_model_config(directory.path()).eos_ids, (std::vector<int64_t>{2, 9}));
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": 18446744073709551615})");
  EXPECT_THROW(read_model_config(directory.path()), DataError);
}

// Steps of bfloat16 are 0.125 at 16: rounded, all experts would be alike.
TEST(ModelDirectory, ASelectionBiasStaysInFloat32WhateverWeightsAreKeptOrWrittenIn) {
  const TempFolder directory;
  const std::string name = "model.layers.1.mlp.gate.e_score_correction_bias";
  const auto bias = 16 + at::arange(8, at::kFloat) * 1e-3;
  std::filesystem::copy_file(data("goldens/deepseek_v3") / "config.json", directory / "config.json");
  auto tensors = read_safetensors(data("goldens/deepseek_v3") / "model.safetensors");
  for (auto& tensor : tensors) {
    if (tensor.name == name) tensor.tensor = bias;
  }
  write_safetensors(directory / "model.safetensors", tensors);
  const auto network = load_model(directory.path(), at::kCPU, {.dtype = at::kBFloat16});
  network->add_adapter({.rank = 1}, /*seed=*/1);  // binds the weights anew
  const auto index = static_cast<size_t>(network->weights().find(name));
  EXPECT_TRUE(at::equal(network->weights()[index], bias));
  save_model(directory / "saved", *network, {.dtype = at::kBFloat16});
  EXPECT_TRUE(at::equal(WeightFiles(directory / "saved").read(name), bias));
}

// The tensors of a directory with F8 weights, for a test to spoil.
class EightBitModel : public testing::Test {
 protected:
  EightBitModel() {
    const WeightFiles files(data("goldens/llama_f8"));
    for (const auto& entry : files.entries()) tensors_[entry.name] = files.read(entry.name);
  }

  void expect_refused(const std::string& name, const at::Tensor& tensor, const std::string& part) const {
    auto changed = tensors_;
    if (tensor.defined()) {
      changed[name] = tensor;
    } else {
      changed.erase(name);
    }
    expect_refused(changed, config_, part);
  }
  void expect_refused(const std::map<std::string, at::Tensor>& tensors, const Json& config,
                      const std::string& part) const {
    const TempFolder directory;
    write_file_atomically(directory / "config.json", config.dump());
    std::vector<NamedTensor> list;
    for (const auto& [name, tensor] : tensors) list.push_back({name, tensor});
    write_safetensors(directory / "model.safetensors", list);
    expect_refusal(directory.path(), "model.safetensors: tensor " + part);
    EXPECT_THROW(check_model(directory.path()), DataError);  // from the headers
  }

  std::map<std::string, at::Tensor> tensors_;
  const Json config_ = read_json(data("goldens/llama_f8") / "config.json");
};

TEST_F(EightBitModel, NamesTheFileAndTheScalesThatDoNotFit) {
  const std::string weight = "model.layers.0.mlp.up_proj.weight", scale = weight + "_scale_inv";
  expect_refused(scale, at::ones({1, 2}), "\"" + scale + "\" should be [2, 2], it is [1, 2]");
  expect_refused(scale, at::ones({4}), "\"" + scale + "\" should be [2, 2], it is [4]");
  expect_refused(scale, at::ones({2, 2}, at::kInt), "\"" + scale + "\" is of type Int");
  expect_refused(scale, at::ones({2, 2}).to(at::kFloat8_e4m3fn),
                 "\"" + scale + "\" is of type Float8_e4m3fn");
  expect_refused(scale, {}, "\"" + weight + "\": its scales \"" + scale + "\" are missing");
  expect_refused("model.norm.weight", at::ones({136}).to(at::kFloat8_e4m3fn),
                 "\"model.norm.weight\" is of type Float8_e4m3fn and shape [136]");
}

TEST_F(EightBitModel, IsRefusedWhereTheConfigurationSaysNothingOfBlocks) {
  const std::string none =
      "\"model.layers.0.self_attn.q_proj.weight\" is of type Float8_e4m3fn, and config.json has no";
  Json config = config_;
  config["quantization_config"] = nullptr;
  expect_refused(tensors_, config, none);
  config.erase("quantization_config");
  expect_refused(tensors_, config, none);
}

TEST(ModelDirectory, WhatIsNotLoadedOrIsRoundedIsSaid) {
  const TempFolder directory;
  std::filesystem::copy_file(data("goldens/gemma2") / "config.json", directory / "config.json");
  auto tensors = read_safetensors(data("goldens/gemma2") / "model.safetensors");
  for (auto& tensor : tensors) tensor.tensor = tensor.tensor.to(at::kDouble);
  tensors.push_back({"lm_head.weight", at::zeros({256, 64})});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", at::zeros({8})});
  tensors.push_back({"model.layers.1.self_attn.rotary_emb.inv_freq", at::zeros({8})});
  write_safetensors(directory / "model.safetensors", tensors);
  std::vector<std::string> notices;
  const auto network = load_model(directory.path(), at::kCPU, {.notices = &notices});
  EXPECT_THAT(notices,
              testing::UnorderedElementsAre(testing::HasSubstr("F64 weights are rounded to float32"),
                                            testing::HasSubstr("the file's lm_head.weight is not loaded"),
                                            testing::HasSubstr("rotary frequencies")));
  EXPECT_TRUE(at::equal(network->flat(), load_model(data("goldens/gemma2"), at::kCPU)->flat()));
  notices.clear();
  load_model(directory.path(), at::kCPU, {.dtype = at::kDouble, .notices = &notices});
  EXPECT_EQ(notices.size(), 2u);
}

// openai-community/gpt2 names its tensors without "transformer." and has the causal mask of each layer.
TEST(ModelDirectory, Gpt2AsItWasPublishedGivesTheSameNumbersWithOneNotice) {
  const TempFolder directory;
  std::filesystem::copy_file(data("goldens/gpt2") / "config.json", directory / "config.json");
  auto tensors = read_safetensors(data("goldens/gpt2") / "model.safetensors");
  const std::string prefix = "transformer.";
  for (auto& tensor : tensors) {
    ASSERT_TRUE(tensor.name.starts_with(prefix)) << tensor.name;
    tensor.name = tensor.name.substr(prefix.size());
  }
  for (const char* layer : {"h.0", "h.1"}) {
    tensors.push_back({std::string(layer) + ".attn.bias", at::ones({1, 1, 128, 128}).tril()});
    tensors.push_back({std::string(layer) + ".attn.masked_bias", at::full({1}, -1e4)});
  }
  write_safetensors(directory / "model.safetensors", tensors);
  std::vector<std::string> notices;
  const auto network = load_model(directory.path(), at::kCPU, {.notices = &notices});
  EXPECT_THAT(notices, testing::ElementsAre(testing::HasSubstr("causal masks of old files are not loaded")));
  EXPECT_TRUE(at::equal(network->flat(), load_model(data("goldens/gpt2"), at::kCPU)->flat()));
}

// A table of 256 GiB, in a file that has a hole for it.
TEST(ModelDirectory, IsCheckedFromItsHeadersAlone) {
  const TempFolder directory;
  constexpr int64_t kVocab = 1 << 20, kHidden = 1 << 16;
  write_file_atomically(directory / "config.json", Json{{"model_type", "llama"},
                                                        {"vocab_size", kVocab},
                                                        {"hidden_size", kHidden},
                                                        {"intermediate_size", 1},
                                                        {"num_hidden_layers", 1},
                                                        {"num_attention_heads", 1},
                                                        {"head_dim", 2},
                                                        {"tie_word_embeddings", true}}
                                                       .dump());
  Json header = Json::object();
  int64_t end = 0;
  const auto declared = Network::declare(read_model_config(directory.path()));
  for (const auto& slot : declared.slots()) {
    header[slot.name] = {
        {"dtype", "F32"}, {"shape", slot.shape}, {"data_offsets", {end, end + 4 * slot.count}}};
    end += 4 * slot.count;
  }
  const std::string text = header.dump();
  const uint64_t size = text.size();
  write_file_atomically(directory / "model.safetensors",
                        std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text);
  std::filesystem::resize_file(directory / "model.safetensors", 8 + size + static_cast<uint64_t>(end));
  EXPECT_GT(end, int64_t{1} << 38);
  EXPECT_NO_THROW(check_model(directory.path()));
  std::filesystem::resize_file(directory / "model.safetensors", 8 + size + static_cast<uint64_t>(end) - 4);
  EXPECT_THROW(check_model(directory.path()), DataError);
}

TEST(ModelDirectory, ANameOfAnExtraTensorIsPrintedQuotedAndCut) {
  const TempFolder directory;
  auto tensors = read_safetensors(data("goldens/llama") / "model.safetensors");
  tensors.push_back({"\x1b[2J" + std::string(50'000, 'x'), at::zeros({1})});
  write_model(directory.path(), tensors);
  expect_refusal(directory.path(), "tensor \"\\u001b[2Jxxx");
  expect_refusal(directory.path(), "x...\" of shape [1] is not part of this network");
}

TEST(ModelDirectory, TypesHaveOneNameEach) {
  for (const char* name : {"float32", "bfloat16", "float16", "float64"}) {
    EXPECT_EQ(dtype_name(dtype_named(name).value()), name);
  }
  EXPECT_EQ(dtype_name(at::kFloat8_e5m2), "float8");
  EXPECT_EQ(dtype_named("float8"), std::nullopt);
  EXPECT_EQ(dtype_named(""), std::nullopt);
}

}  // namespace
}  // namespace sluice::model
