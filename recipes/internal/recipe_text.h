// A recipe file or an override as the TOML document it is.
#pragma once

#include <toml++/toml.h>

#include <filesystem>
#include <string>

namespace sluice::recipes {

// TOML, or JSON of the same tree where the name ends in .json. Throws UsageError, which names the recipes
// beside a file that is not there.
toml::table parse_recipe(const std::filesystem::path& file);
// KEY=VALUE. Text may come without its quotes, which a shell eats. Throws UsageError.
toml::table parse_override(const std::string& text);

}  // namespace sluice::recipes
