#include "app/rollout_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/terminal_text.h"

namespace sluice::app {
namespace {

constexpr size_t kNarrowest = 38;  // of a column of several: what a completion earned stands on one line
constexpr size_t kBetween = 3;
constexpr size_t kLines = 12, kPromptLines = 6;
constexpr size_t kLongest = size_t{1} << 16;  // bytes of a text of which kLines are shown

// By how much the learner found a token likelier (green) or less likely (red) than the actor.
struct Shade {
  double least;
  std::string_view more, less;
};
constexpr std::array kShades = {Shade{0.5, "\x1b[30;42m", "\x1b[30;41m"},
                                Shade{0.05, "\x1b[32m", "\x1b[31m"}};

std::string number(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string number_of(const Json& value, const char* format) {
  return value.is_number() ? number(format, value.get<double>()) : "-";
}

std::string_view shade_of(const Json& log_ratio) {
  const double value = log_ratio.is_number() ? log_ratio.get<double>() : 0.0;
  for (const auto& shade : kShades) {
    if (std::abs(value) >= shade.least) return value > 0 ? shade.more : shade.less;
  }
  return {};
}

// The text of the recorded tokens in their colours; what was not recorded follows from `text` without.
std::vector<Glyph> coloured(const Json& completion, const text::Tokenizer& tokenizer) {
  std::vector<Glyph> all;
  const Json& ids = completion.at("ids");
  const Json& ratios = completion.at("log_ratios");
  text::StreamingDecoder decoder(tokenizer);
  size_t bytes = 0;
  for (size_t i = 0; i < ids.size() && i < ratios.size(); ++i) {
    const std::string piece = decoder.push(ids[i].get<text::TokenId>());
    bytes += piece.size();
    const auto more = glyphs(piece, shade_of(ratios[i]));
    all.insert(all.end(), more.begin(), more.end());
  }
  const std::string text = completion.value("text", "");
  if (bytes < text.size()) {
    const auto rest = glyphs(std::string_view(text).substr(bytes));
    all.insert(all.end(), rest.begin(), rest.end());
  }
  return all;
}

std::vector<Glyph> body_of(const Json& completion, const text::Tokenizer* tokenizer,
                           const RolloutStyle& style) {
  if (style.colour && tokenizer != nullptr && completion.contains("ids")) {
    try {
      return coloured(completion, *tokenizer);
    } catch (const Error&) {  // ids of another tokenizer
    }
  }
  const std::string text = completion.value("text", "");
  return glyphs(style.full ? text : std::string_view(text).substr(0, kLongest));
}

// "math 1 · format 0"; a completion that a scorer could not judge says why.
std::vector<std::string> outcome_lines(const Json& completion, const RolloutNames& names, size_t columns) {
  std::string line;
  size_t i = 0;
  for (const auto& outcome : completion.value("outcomes", Json::array())) {
    const std::string name = i < names.rewards.size() ? names.rewards[i] : std::to_string(i + 1);
    const std::string said =
        outcome.is_object() ? "unscored: " + outcome.value("unscored", "") : number_of(outcome, "%.4g");
    line += (line.empty() ? "" : ", ") + name + " " + said;
    ++i;
  }
  return wrapped(glyphs(line), columns, /*max_lines=*/3);
}

std::string ratio_line(const Json& completion) {
  double sum = 0, largest = 0;
  int64_t count = 0;
  for (const auto& ratio : completion.value("log_ratios", Json::array())) {
    if (!ratio.is_number()) continue;
    const double value = std::abs(ratio.get<double>());
    sum += value;
    largest = std::max(largest, value);
    ++count;
  }
  if (count == 0) return "";
  return "log-ratio mean " + number("%.3g", sum / static_cast<double>(count)) + " max " +
         number("%.3g", largest);
}

std::vector<std::string> column_of(const Json& completion, size_t ordinal, const RolloutNames& names,
                                   const text::Tokenizer* tokenizer, const RolloutStyle& style,
                                   size_t columns) {
  std::vector<std::string> lines;
  lines.push_back("#" + std::to_string(ordinal) + "  reward " +
                  number_of(completion.value("reward", Json()), "%.4g") + "  adv " +
                  number_of(completion.value("advantage", Json()), "%+.3f") + "  " +
                  number_of(completion.value("tokens", Json()), "%.0f") + " tok");
  for (const auto& line : outcome_lines(completion, names, columns)) lines.push_back(line);
  if (const auto line = ratio_line(completion); !line.empty()) lines.push_back(line);
  const auto text = wrapped(body_of(completion, tokenizer, style), columns, style.full ? SIZE_MAX : kLines);
  for (const auto& line : text) lines.push_back(line);
  return lines;
}

// Escape sequences of our own take no column.
size_t shown_width(const std::string& line) {
  std::string plain;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      plain += line[i];
    }
  }
  return display_width(plain);
}

std::string beside(const std::vector<std::vector<std::string>>& columns, size_t width) {
  size_t height = 0;
  for (const auto& column : columns) height = std::max(height, column.size());
  std::string out;
  for (size_t row = 0; row < height; ++row) {
    std::string line;
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string cell = row < columns[i].size() ? columns[i][row] : "";
      line += (i > 0 ? " | " : "") + cell;
      if (i + 1 < columns.size()) line += std::string(width - std::min(width, shown_width(cell)), ' ');
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

}  // namespace

std::string rollouts_head(const std::string& run, int64_t step, const RolloutNames& names,
                          const RolloutStyle& style) {
  std::string where = run + ", step " + std::to_string(step);
  if (!names.stage.empty()) where += " of " + names.stage;
  auto head = glyphs(where);
  const auto add = [&](std::string_view text, std::string_view shade = {}) {
    const auto more = glyphs(text, shade);
    head.insert(head.end(), more.begin(), more.end());
  };
  if (style.colour) {
    add("; the learner finds a token ");
    add("likelier", kShades[1].more);
    add(" or ");
    add("less likely", kShades[1].less);
    add(" than the actor did");
  }
  std::string out;
  for (const auto& line : wrapped(head, style.columns, SIZE_MAX)) out += line + "\n";
  return out;
}

std::string group_view(const Json& group, const RolloutNames& names, const text::Tokenizer* tokenizer,
                       const RolloutStyle& style) {
  std::string out = "group " + number_of(group.value("group", Json()), "%.0f") + " of " +
                    inert(group.value("actor", "")) + ", policy version " +
                    number_of(group.value("version", Json()), "%.0f") + "\n";
  const std::string prompt = group.value("prompt", "");
  for (const auto& line :
       wrapped(glyphs(std::string_view(prompt).substr(0, style.full ? SIZE_MAX : kLongest)),
               style.columns - 2, style.full ? SIZE_MAX : kPromptLines))
    out += "> " + line + "\n";
  const Json completions = group.value("completions", Json::array());
  const size_t fit = std::max<size_t>(1, (style.columns + kBetween) / (kNarrowest + kBetween));
  const size_t across = std::clamp<size_t>(completions.size(), 1, fit);
  const size_t width = (style.columns - kBetween * (across - 1)) / across;
  for (size_t i = 0; i < completions.size(); i += across) {
    std::vector<std::vector<std::string>> columns;
    for (size_t j = i; j < std::min(i + across, completions.size()); ++j)
      columns.push_back(column_of(completions[j], j + 1, names, tokenizer, style, width));
    out += std::string(style.columns, '-') + "\n" + beside(columns, width);
  }
  return out;
}

}  // namespace sluice::app
