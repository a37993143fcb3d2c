#include "rewards/code/code_block.h"

#include <optional>
#include <sstream>
#include <string_view>

#include "rewards/internal/final_answer.h"

namespace sluice::rewards::code {
namespace {

constexpr std::string_view kFence = "```";

// The word behind a line's fence; empty where the line is no fence.
std::optional<std::string> fence_language(std::string_view line) {
  line = internal::trim(line);
  if (!line.starts_with(kFence)) return std::nullopt;
  std::string word(internal::trim(line.substr(kFence.size())));
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return word;
}

bool is_python(const std::string& language) {
  return language == "python" || language == "py" || language == "python3";
}

}  // namespace

std::string code_block(const std::string& completion) {
  std::optional<std::string> python, plain;
  std::string* open = nullptr;
  bool inside = false;
  std::istringstream lines(completion);
  for (std::string line; std::getline(lines, line);) {
    const auto language = fence_language(line);
    if (!language) {
      if (open != nullptr) *open += line + '\n';
      continue;
    }
    inside = !inside;
    open = nullptr;
    if (inside && is_python(*language)) open = &python.emplace();
    if (inside && language->empty()) open = &plain.emplace();
  }
  return python ? *python : plain.value_or(completion);
}

}  // namespace sluice::rewards::code
