// Rewards of one's own, by the key that names one in a recipe: { python = "my.py:reward" }.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "rewards/reward.h"

namespace sluice::rewards {

// "python", "command", "library", "http", "judge": entries of the registry whose option of their own name
// says what is run.
const std::vector<std::string>& plugin_kinds();
bool is_plugin(std::string_view use);

// What a plug-in is called where its recipe gives no name: the function, the program, the library's file, the
// end of the URL; a judge is "judge". `what` is text or, of a command, may be a list of words. Throws
// UsageError, without a place, when it is neither.
std::string plugin_name(std::string_view kind, const Json& what);

// The Python file, the program or the library that an entry of a recipe runs; what it reads or imports
// besides is not known. Empty for an entry that runs no file, and for a program that is looked up on PATH.
std::filesystem::path plugin_file(const RewardSpec& spec);

}  // namespace sluice::rewards
