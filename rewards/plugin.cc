#include "rewards/plugin.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "rewards/plugins/process_reward.h"
#include "rewards/plugins/words.h"

namespace sluice::rewards {
namespace {

std::string text_of(std::string_view kind, const Json& what) {
  require<UsageError>(what.is_string() && !what.get_ref<const std::string&>().empty(), kind,
                      " wants text, saw ", what.is_string() ? "none" : what.type_name());
  return what.get<std::string>();
}

// "http://127.0.0.1:9000/score" is score, "http://127.0.0.1:9000" is 127.0.0.1:9000.
std::string end_of(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  const auto slash = url.rfind('/');
  return slash == std::string::npos ? url : url.substr(slash + 1);
}

}  // namespace

const std::vector<std::string>& plugin_kinds() {
  static const std::vector<std::string> kinds = {"python", "command", "library", "http", "judge"};
  return kinds;
}

bool is_plugin(std::string_view use) { return std::ranges::count(plugin_kinds(), use) > 0; }

std::string plugin_name(std::string_view kind, const Json& what) {
  if (kind == "command") return std::filesystem::path(plugins::command_words(what).front()).stem();
  const std::string text = text_of(kind, what);
  if (kind == "judge") return "judge";
  if (kind == "python") return plugins::split_function(text).function;
  if (kind == "library") return std::filesystem::path(text).stem();
  return end_of(text);
}

std::filesystem::path plugin_file(const RewardSpec& spec) {
  if (!is_plugin(spec.use)) return {};
  const auto folder = plugins::folder_of(spec);
  const Json& what = spec.options.at(spec.use);
  if (spec.use == "python") return folder / plugins::split_function(text_of(spec.use, what)).file;
  if (spec.use == "library") return folder / text_of(spec.use, what);
  if (spec.use != "command") return {};
  const auto program = plugins::command_words(what).front();
  return program.find('/') == std::string::npos ? std::filesystem::path() : folder / program;
}

}  // namespace sluice::rewards
