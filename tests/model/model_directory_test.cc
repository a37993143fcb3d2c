#include "model/model_directory.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/files.h"
#include "model/safetensors.h"
#include "model/weight_files.h"
#include "tests/model/temporary_directory.h"

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
    const TemporaryDirectory directory;
    const auto network = load_model(entry.path(), at::kCPU);
    save_model(directory / "saved", *network, {});
    EXPECT_EQ(bytes_of(directory / "saved"), bytes_of(entry.path())) << name;
    const auto again = load_model(directory / "saved", at::kCPU);
    EXPECT_EQ(model_config_to_json(network->config(), "float32"),
              model_config_to_json(again->config(), "float32"));
  }
}

TEST(ModelDirectory, ATypeAskedForIsWrittenWhateverWasLoaded) {
  const TemporaryDirectory directory;
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
  const TemporaryDirectory directory;
  std::vector<std::string> notices;
  const auto network = load_model(data("goldens/llama_f8"), at::kCPU, {.notices = &notices});
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_THAT(notices[0], testing::HasSubstr("F8 weights are widened to float32"));
  save_model(directory / "saved", *network, {});
  EXPECT_FALSE(read_json(directory / "saved/config.json").contains("quantization_config"));
  EXPECT_TRUE(at::equal(network->flat(), load_model(directory / "saved", at::kCPU)->flat()));
}

TEST(ModelDirectory, LayersForMultiTokenPredictionAreSkippedWithOneNotice) {
  const TemporaryDirectory directory;
  std::vector<std::string> notices;
  const auto network = load_model(data("goldens/deepseek_mtp"), at::kCPU, {.notices = &notices});
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_THAT(notices[0], testing::HasSubstr("multi-token prediction are not loaded"));
  save_model(directory / "saved", *network, {});
  EXPECT_EQ(read_json(directory / "saved/config.json").at("num_nextn_predict_layers"), 0);
}

TEST(ModelDirectory, NamesWhatIsMissing) {
  const TemporaryDirectory directory;
  expect_refusal(directory.path(), "config.json");
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  expect_refusal(directory.path(), "model.safetensors");
}

TEST(ModelDirectory, NamesAMissingAnExtraAndAMisshapenTensor) {
  const auto whole = read_safetensors(data("goldens/llama") / "model.safetensors");
  {
    const TemporaryDirectory directory;
    auto tensors = whole;
    const auto name = tensors.back().name;
    tensors.pop_back();
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "tensor " + name + " of shape [");
  }
  {
    const TemporaryDirectory directory;
    auto tensors = whole;
    tensors.push_back({"model.layers.2.mlp.up_proj.weight", at::zeros({2, 2})});
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "model.layers.2.mlp.up_proj.weight of shape [2, 2] is not part");
  }
  {
    const TemporaryDirectory directory;
    auto tensors = whole;
    for (auto& tensor : tensors) {
      if (tensor.name == "model.norm.weight") tensor.tensor = at::zeros({63});
    }
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "model.norm.weight should be [64], it is [63]");
  }
  {
    const TemporaryDirectory directory;
    auto tensors = whole;
    for (auto& tensor : tensors) {
      if (tensor.name == "model.norm.weight") tensor.tensor = at::zeros({64}, at::kInt);
    }
    write_model(directory.path(), tensors);
    expect_refusal(directory.path(), "model.norm.weight is of type Int");
  }
}

TEST(ModelDirectory, AllocatesNothingForAConfigurationItsFileDoesNotBack) {
  const TemporaryDirectory directory;
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

  TemporaryDirectory directory_;
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
  const TemporaryDirectory directory;
  std::filesystem::copy_file(data("goldens/llama") / "config.json", directory / "config.json");
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": [2, 9]})");
  EXPECT_EQ(read_model_config(directory.path()).eos_ids, (std::vector<int64_t>{2, 9}));
  write_file_atomically(directory / "generation_config.json", R"({"eos_token_id": [256]})");
  EXPECT_THROW(read_model_config(directory.path()), DataError);
}

}  // namespace
}  // namespace sluice::model
