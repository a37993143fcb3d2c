// Recipes that a test writes, and what is said against them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "recipes/recipe.h"
#include "tests/base/temp_folder.h"

namespace sluice::recipes {

// Seven lines: a whole recipe. The corpus need not be there until something reads it.
inline const std::string kGrpo = R"(data = { use = "text", path = "corpus.txt" }
tokenizer = { train = "characters" }
rewards = [{ use = "real_words" }]

[[stages]]
use = "grpo"
steps = 4
)";

class RecipeFolder {
 public:
  std::filesystem::path write(const std::string& text, const std::string& name = "recipe.toml") const {
    write_plain(folder_ / name, text);
    return folder_ / name;
  }

  Recipe load(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    return load_recipe(write(text), overrides);
  }

  // The UsageError of loading it, without the folder's name; "" when it loads.
  std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {},
                      const std::string& name = "recipe.toml") const {
    const auto file = write(text, name);
    std::string message = message_of<UsageError>([&] { load_recipe(file, overrides); });
    const std::string prefix = folder_.path().string() + "/";
    for (size_t at = message.find(prefix); at != std::string::npos; at = message.find(prefix)) {
      message.erase(at, prefix.size());
    }
    return message;
  }

  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

}  // namespace sluice::recipes
