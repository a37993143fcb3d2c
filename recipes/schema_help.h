// What one word of a recipe means, for a person who asks about it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::recipes {

// A page for a key ("optim.lr", "grpo.optim.lr", or "lr" where that says which), a table ("optim") or a kind
// of stage ("grpo"); nothing for another word.
std::optional<std::string> explain(std::string_view word);

// The full name of every key, and every word that explain() knows.
std::vector<std::string> recipe_keys();
std::vector<std::string> recipe_words();

}  // namespace sluice::recipes
