// The tools there are, as the table knows them, and what they share.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "rewards/plugins/entry_options.h"
#include "rewards/tools.h"

namespace sluice::rewards::tools {

inline std::string speaker(const ToolSpec& spec) {
  return (spec.where.empty() ? "" : spec.where + ": ") + "tool \"" + spec.use + "\"";
}

template <class T>
T option(const ToolSpec& spec, const std::string& key, T fallback) {
  return plugins::entry_option<T>(spec.options, speaker(spec), key, std::move(fallback));
}

// Tool::description(); `parameters` is a JSON Schema. Then that of a tool that takes one text.
Json described(const std::string& name, const std::string& does, Json parameters);
Json takes_text(const std::string& name, const std::string& does, const char* argument,
                const std::string& meaning);
// That text: the arguments themselves, or their member. Throws DataError, for the policy to read.
std::string text_argument(const Json& arguments, const char* argument);

std::unique_ptr<Tool> make_calculator(const ToolSpec& spec);
std::unique_ptr<Tool> make_python(const ToolSpec& spec);
std::unique_ptr<Tool> make_command(const ToolSpec& spec);

}  // namespace sluice::rewards::tools
