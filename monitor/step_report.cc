#include "monitor/step_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::monitor {
namespace {

constexpr size_t kMaxColumns = 120;
constexpr size_t kMaxName = 12;

enum class Style { Number, Count, Share, Time, Small };

struct Column {
  std::string_view label;
  std::string_view metric;
  Style style;
  size_t width;
  int rank;               // when a line is too long the columns of the highest rank are left out first
  bool optional = false;  // left out of a stage that does not have it, instead of showing a dash
};

constexpr std::array kRolloutColumns = {
    Column{"reward", "reward", Style::Number, 6, 0},
    Column{"sd", "reward_std", Style::Number, 6, 1},
    Column{"kl", "kl", Style::Number, 6, 2},
    Column{"ent", "entropy", Style::Number, 6, 3},
    Column{"len", "completions/mean_length", Style::Count, 5, 1},
    Column{"cut", "completions/clipped_ratio", Style::Share, 4, 6},
    Column{"clip", "clip_ratio/region_mean", Style::Share, 4, 4},
    Column{"lag", "policy/lag", Style::Number, 4, 4},
    Column{"refill", "refills", Style::Count, 4, 3, true},
    Column{"queue", "queue/depth", Style::Count, 5, 5},
    Column{"", "step_time", Style::Time, 6, 0},
};
constexpr std::array kPreferenceColumns = {
    Column{"loss", "loss", Style::Number, 6, 0},
    Column{"accuracy", "rewards/accuracies", Style::Share, 4, 0},
    Column{"margin", "rewards/margins", Style::Number, 7, 1},
    Column{"grad", "grad_norm", Style::Number, 6, 2},
    Column{"lr", "learning_rate", Style::Small, 7, 2},
    Column{"tok/s", "tokens_per_s", Style::Count, 6, 3},
    Column{"", "step_time", Style::Time, 6, 0},
};
constexpr std::array kRewardModelColumns = {
    Column{"loss", "loss", Style::Number, 6, 0},         Column{"accuracy", "accuracy", Style::Share, 4, 0},
    Column{"margin", "margin", Style::Number, 7, 1},     Column{"reward", "mean_reward", Style::Number, 6, 2},
    Column{"grad", "grad_norm", Style::Number, 6, 2},    Column{"lr", "learning_rate", Style::Small, 7, 2},
    Column{"tok/s", "tokens_per_s", Style::Count, 6, 3}, Column{"", "step_time", Style::Time, 6, 0},
};
constexpr std::array kSupervisedColumns = {
    Column{"loss", "loss", Style::Number, 6, 0},        Column{"entropy", "entropy", Style::Number, 6, 1},
    Column{"grad", "grad_norm", Style::Number, 6, 1},   Column{"lr", "learning_rate", Style::Small, 7, 1},
    Column{"tokens", "num_tokens", Style::Count, 6, 2}, Column{"tok/s", "tokens_per_s", Style::Count, 6, 3},
    Column{"", "step_time", Style::Time, 6, 0},
};

// The numbers say which kind of stage it is, so that a new one needs no change here.
std::vector<Column> columns_of(const std::map<std::string, double>& metrics) {
  std::span<const Column> all;
  if (metrics.contains("reward")) {
    all = kRolloutColumns;
  } else if (metrics.contains("rewards/margins")) {
    all = kPreferenceColumns;
  } else if (metrics.contains("mean_reward")) {
    all = kRewardModelColumns;
  } else if (metrics.contains("loss")) {
    all = kSupervisedColumns;
  }
  std::vector<Column> columns(all.begin(), all.end());
  std::erase_if(columns, [&](const Column& column) {
    return column.optional && !metrics.contains(std::string(column.metric));
  });
  return columns;
}

std::string printed(const char* format, int precision, double value) {
  std::array<char, 400> text{};  // the longest double in "%f" has 309 digits before the point
  std::snprintf(text.data(), text.size(), format, precision, value);
  return text.data();
}

// As many decimals as fit, at most `decimals`; powers of ten for what would show as zero or not fit.
std::string fitted(double value, size_t width, int decimals) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  for (int precision = decimals; precision >= 0; --precision) {
    const double unit = std::pow(10.0, -precision);
    if (value != 0 && std::abs(value) < unit && precision > 0) break;
    const auto text = printed("%.*f", precision, value);
    if (text.size() <= width) return text;
  }
  const auto text = printed("%.*e", 1, value);
  return text.size() <= width ? text : printed("%.*e", 0, value);
}

std::string scaled(double value, size_t width) {
  if (!std::isfinite(value)) return fitted(value, width, 0);
  if (std::abs(value) >= 1e9) return fitted(value / 1e9, width - 1, 1) + "G";
  if (std::abs(value) >= 1e6) return fitted(value / 1e6, width - 1, 1) + "M";
  if (std::abs(value) >= 1e4) return fitted(value / 1e3, width - 1, 1) + "k";
  return fitted(std::round(value), width, 0);
}

std::string cell(const Column& column, double value) {
  switch (column.style) {
    case Style::Number:
      return fitted(value, column.width, 3);
    case Style::Share:
      return fitted(std::isfinite(value) ? std::round(100 * value) : value, column.width - 1, 0) + "%";
    case Style::Count:
      return scaled(value, column.width);
    case Style::Time:
      if (value >= 0 && value < 1) return fitted(std::round(1000 * value), column.width - 2, 0) + "ms";
      return fitted(value, column.width - 1, 1) + "s";
    case Style::Small:
      return std::isfinite(value) ? printed("%.*e", 1, value) : fitted(value, column.width, 1);
  }
  return "";
}

std::string padded(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

// "kl  0.003"; a metric this step lacks leaves a dash in its place.
std::string column_text(const Column& column, const std::map<std::string, double>& metrics) {
  const auto found = metrics.find(std::string(column.metric));
  auto value = found == metrics.end() ? "-" : cell(column, found->second);
  if (value.size() > column.width) value = std::string(column.width, '#');  // the places stay
  const std::string label = column.label.empty() ? "" : std::string(column.label) + " ";
  return "  " + label + padded(value, column.width);
}

size_t column_size(const Column& column) {
  return 2 + (column.label.empty() ? 0 : column.label.size() + 1) + column.width;
}

// The largest rank that can be kept when `room` columns are left; it hangs on the widths alone.
int highest_rank(std::span<const Column> columns, size_t room) {
  int highest = 0;
  for (const auto& column : columns) highest = std::max(highest, column.rank);
  for (; highest > 0; --highest) {
    size_t size = 0;
    for (const auto& column : columns) size += column.rank <= highest ? column_size(column) : 0;
    if (size <= room) break;
  }
  return highest;
}

// A name that does not disturb the line: control characters are replaced, what is long is cut between
// characters.
std::string short_name(const std::string& name) {
  std::string out;
  for (const char byte : name) {
    const bool starts = (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
    if (out.size() >= kMaxName && starts) break;
    out += static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F ? '?' : byte;
  }
  return out;
}

constexpr std::array<std::string_view, 8> kFields = {"schema",      "stage",     "step", "stage_step",
                                                     "stage_steps", "wall_time", "note", "alarms"};

Alarm alarm_from(const Json& json, std::string_view where) {
  return {.rule = json_member<std::string>(json, "rule", where),
          .sentence = json_member<std::string>(json, "sentence", where),
          .suggestion = json_member<std::string>(json, "suggestion", where),
          .since_step = json_member<int64_t>(json, "since", where)};
}

}  // namespace

Json to_json(const Alarm& alarm) {
  return {{"rule", alarm.rule},
          {"since", alarm.since_step},
          {"sentence", alarm.sentence},
          {"suggestion", alarm.suggestion}};
}

Json to_json(const StepReport& report) {
  Json json = {{"schema", kMetricsSchema},
               {"stage", report.stage},
               {"step", report.step},
               {"stage_step", report.stage_step},
               {"stage_steps", report.stage_steps},
               {"wall_time", report.wall_time}};
  if (!report.note.empty()) json["note"] = report.note;
  if (!report.alarms.empty()) json["alarms"] = Json::array();
  for (const auto& alarm : report.alarms) json["alarms"].push_back(to_json(alarm));
  for (const auto& [name, value] : report.metrics) {
    require(std::ranges::count(kFields, name) == 0, "StepReport: a metric is named \"", name,
            "\", which the line itself uses");
    json[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  return json;
}

StepReport step_report_from(const Json& json, std::string_view where) {
  const auto schema = json_member<int64_t>(json, "schema", where);
  require<DataError>(schema == kMetricsSchema, where, ": metrics of schema ", schema, ", this program reads ",
                     kMetricsSchema);
  StepReport report{.stage = json_member<std::string>(json, "stage", where),
                    .step = json_member<int64_t>(json, "step", where),
                    .stage_step = json_member<int64_t>(json, "stage_step", where),
                    .stage_steps = json_member<int64_t>(json, "stage_steps", where),
                    .wall_time = json_member<double>(json, "wall_time", where),
                    .note = json_member_or<std::string>(json, "note", "", where)};
  for (const auto& [name, value] : json.items()) {
    if (std::ranges::count(kFields, name) > 0) continue;
    require<DataError>(value.is_number() || value.is_null(), where, ": ", name, " is no number but ",
                       value.dump(-1, ' ', false, Json::error_handler_t::replace));
    report.metrics[name] = value.is_null() ? std::nan("") : value.get<double>();
  }
  if (json.contains("alarms")) {
    for (const auto& alarm : json_member<Json>(json, "alarms", where))
      report.alarms.push_back(alarm_from(alarm, where));
  }
  return report;
}

std::string step_line(const StepReport& report) {
  const auto steps = std::to_string(report.stage_steps);
  std::string line =
      short_name(report.stage) + " " + padded(std::to_string(report.stage_step), steps.size()) + "/" + steps;
  const auto columns = columns_of(report.metrics);
  const int rank = highest_rank(columns, kMaxColumns - std::min(kMaxColumns, line.size()));
  for (const auto& column : columns) {
    if (column.rank <= rank) line += column_text(column, report.metrics);
  }
  if (!columns.empty()) return line;

  // An evaluation, say: whatever it measured, by name, as far as there is room.
  for (const auto& [name, value] : report.metrics) {
    const auto next = "  " + name + " " + padded(fitted(value, 7, 4), 7);
    if (line.size() + next.size() <= kMaxColumns) line += next;
  }
  return line;
}

}  // namespace sluice::monitor
