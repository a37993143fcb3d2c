#include "recipes/rollout_files.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "base/json_lines.h"
#include "base/utf8.h"

namespace sluice::recipes {
namespace {

constexpr size_t kGroupsShown = 20;
constexpr size_t kTextShown = 16 << 10;
constexpr std::string_view kBefore = "step_", kAfter = ".jsonl";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void shorten(Json& object, const std::string& key) {
  auto text = object.at(key).get<std::string>();
  if (text.size() <= kTextShown) return;
  object[key + "_bytes"] = text.size();
  text.resize(whole_characters(text, kTextShown).size());
  object[key] = std::move(text);
}

bool has(const Json& group, const std::string& search) {
  if (search.empty()) return true;
  if (lower(group.at("prompt")).find(search) != std::string::npos) return true;
  return std::ranges::any_of(group.at("completions"), [&](const Json& completion) {
    return lower(completion.at("text")).find(search) != std::string::npos;
  });
}

}  // namespace

std::vector<int64_t> rollout_steps(const RunDirectory& run) {
  std::vector<int64_t> steps;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(run.root() / "rollouts", ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kBefore) || !name.ends_with(kAfter)) continue;
    int64_t step = 0;
    const char* const end = name.data() + name.size() - kAfter.size();
    const auto read = std::from_chars(name.data() + kBefore.size(), end, step);
    if (read.ec == std::errc() && read.ptr == end) steps.push_back(step);
  }
  std::ranges::sort(steps);
  return steps;
}

Json read_rollouts(const RunDirectory& run, int64_t step, const std::string& search, int64_t offset) {
  const auto file = run.rollouts(step);
  require<UsageError>(std::filesystem::exists(file), "step ", step, " has no rollouts");
  const auto wanted = lower(search);
  Json groups = Json::array();
  int64_t found = 0;
  for_each_json_line(file, [&](int64_t, Json group) {
    if (!has(group, wanted)) return;
    if (found++ < offset || groups.size() >= kGroupsShown) return;
    shorten(group, "prompt");
    for (auto& completion : group.at("completions")) shorten(completion, "text");
    groups.push_back(std::move(group));
  });
  return {{"step", step}, {"found", found}, {"offset", offset}, {"groups", groups}};
}

}  // namespace sluice::recipes
