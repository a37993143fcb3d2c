// Every recipe that is shipped loads, and finds everything that it names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "recipes/inputs.h"
#include "tests/base/temp_folder.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = SLUICE_SOURCE_DIR;

// Names of the recipes in a folder.
std::vector<std::string> recipes_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

std::string name_of(const testing::TestParamInfo<std::string>& info) { return info.param; }

class ShippedRecipe : public testing::TestWithParam<std::string> {};

TEST_P(ShippedRecipe, RunsOnWhatIsShipped) {
  const auto recipe = load_recipe(kSource / "recipes" / (GetParam() + ".toml"), {});
  EXPECT_EQ(recipe.device, "cpu");
  if (recipe.tokenizer.path.string().starts_with((kSource / "runs").string()))
    GTEST_SKIP() << "goes on from what another recipe ends in";
  EXPECT_EQ(check_inputs(recipe).stages.size(), recipe.stages.size());
  EXPECT_NO_THROW(check_machine(recipe));
}

INSTANTIATE_TEST_SUITE_P(All, ShippedRecipe, testing::ValuesIn(recipes_in(kSource / "recipes")), name_of);

// The configuration of a model that is to be downloaded.
std::string config_of(const std::string& name) {
  struct Shape {
    int64_t hidden, intermediate, layers, heads, kv_heads;
  };
  const Shape shape = name.find("7B") != name.npos     ? Shape{3584, 18944, 28, 28, 4}
                      : name.find("1.5B") != name.npos ? Shape{1536, 8960, 28, 12, 2}
                                                       : Shape{896, 4864, 24, 14, 2};
  return Json{{"architectures", {"Qwen2ForCausalLM"}},
              {"model_type", "qwen2"},
              {"hidden_size", shape.hidden},
              {"intermediate_size", shape.intermediate},
              {"num_hidden_layers", shape.layers},
              {"num_attention_heads", shape.heads},
              {"num_key_value_heads", shape.kv_heads},
              {"vocab_size", name.find("7B") != name.npos ? 152064 : 151936},
              {"max_position_embeddings", 32768},
              {"rms_norm_eps", 1e-6},
              {"rope_theta", 1e6},
              {"hidden_act", "silu"},
              {"tie_word_embeddings", shape.hidden < 3584},
              {"eos_token_id", 0}}
      .dump();
}

// The project's recipes and data, and for each model that a recipe names one of its shape without weights,
// with a tokenizer that is shipped.
class WithModels : public testing::TestWithParam<std::string> {
 protected:
  WithModels() {
    fs::create_directory_symlink(kSource / "data", root_ / "data");
    fs::create_directories(root_ / "recipes" / "gpu");
    fs::copy(kSource / "recipes" / "gpu", root_ / "recipes" / "gpu");
  }

  fs::path recipe() const { return root_ / "recipes" / "gpu" / (GetParam() + ".toml"); }

  void make_models() const {
    for (const char* name : {"Qwen2.5-0.5B", "Qwen2.5-0.5B-Instruct", "Qwen2.5-1.5B", "Qwen2.5-1.5B-Instruct",
                             "Qwen2.5-7B", "Qwen2.5-7B-Instruct"}) {
      fs::create_directories(root_ / "models" / name);
      write_plain(root_ / "models" / name / "config.json", config_of(name));
      for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
        fs::copy(kSource / "data" / "tokenizers" / "minimind" / file, root_ / "models" / name / file);
      }
    }
  }

  const TempFolder root_;
};

TEST_P(WithModels, FindsEverythingElse) {
  make_models();
  const auto recipe = load_recipe(this->recipe(), {});
  EXPECT_EQ(recipe.device, "cuda");
  EXPECT_EQ(check_inputs(recipe).stages.size(), recipe.stages.size());
}

TEST_P(WithModels, SaysWhatToDownload) {
  const auto recipe = load_recipe(this->recipe(), {});
  if (recipe.model.path.empty()) GTEST_SKIP() << "begins from scratch";
  EXPECT_THAT(message_of<DataError>([&] { check_inputs(recipe); }),
              testing::HasSubstr("hf download " + recipe.model.source + " --local-dir "));
  EXPECT_EQ(recipe.model.path.filename(), fs::path(recipe.model.source).filename());
}

INSTANTIATE_TEST_SUITE_P(Gpu, WithModels, testing::ValuesIn(recipes_in(kSource / "recipes" / "gpu")),
                         name_of);

TEST(ShippedRecipes, HaveATwinForAGpu) {
  const auto small = recipes_in(kSource / "recipes"), large = recipes_in(kSource / "recipes" / "gpu");
  EXPECT_THAT(small, testing::IsSupersetOf(large));
}

}  // namespace
}  // namespace sluice::recipes
