// A recipe file and its overrides as one tree of checked values: what load_recipe() is made of.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::recipes {

// The resolved recipe (see Recipe::resolved). Throws UsageError as load_recipe() says.
Json resolve_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace sluice::recipes
