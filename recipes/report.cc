#include "recipes/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/terminal.h"
#include "base/utf8.h"
#include "monitor/line_chart.h"
#include "monitor/redis_monitor.h"
#include "monitor/run_history.h"
#include "recipes/rollout_files.h"
#include "recipes/run_record.h"

namespace sluice::recipes {
namespace {

constexpr size_t kTextShown = 2000;
constexpr size_t kGroupsShown = 4;

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark;--line:#d5d9df;--box:#f5f6f8;--faint:#57606a;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--line:#363c45;--box:#1d2127;--faint:#a0a8b2;--bad:#ff8a7a}}
body{max-width:1000px;margin:0 auto;padding:12px 16px 48px;font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px}h2{font-size:17px;margin-top:32px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:4px 8px;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;width:8em;white-space:nowrap}
td pre{margin:0;border:0;padding:2px 6px}th{font-weight:600}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:12px}
.curves svg{width:100%;height:auto}.faint{color:var(--faint)}.wide{overflow-x:auto}
.alarm{border-left:4px solid var(--bad);padding:4px 12px;margin:8px 0;background:var(--box)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--box);border:1px solid var(--line);padding:8px;border-radius:6px;font:13px/1.4 ui-monospace,monospace}
</style>
)";

// Nothing in it is markup, a control character or half a character.
std::string escaped(const std::string& text) {
  const auto valid = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string out;
  for (const char c : valid.get_ref<const std::string&>()) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\n' || c == '\t')
      out += c;
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

std::string shortened(const std::string& text) {
  if (text.size() <= kTextShown) return escaped(text);
  return escaped(std::string(whole_characters(text, kTextShown))) +
         "… <span class=\"faint\">(the first part of " + format_count(std::ssize(text)) + " bytes)</span>";
}

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}
std::string number(const Json& value) { return value.is_number() ? number(value.get<double>()) : "-"; }

std::string row(const std::string& name, const std::string& value) {
  return "<tr><th>" + name + "</th><td>" + value + "</td></tr>\n";
}

// How the run ended and what goes on with it, where it is not done.
std::string ending(const std::optional<RunRecord>& record) {
  if (!record || !record->code) return "";
  if (*record->code == 0) return "<p>Finished.</p>\n";
  std::string out = "<div class=\"alarm\"><strong>";
  out += *record->code > 128 ? "Stopped" : "Failed, exit code " + std::to_string(*record->code);
  out += "</strong>";
  if (!record->cause.empty()) out += "<br>" + escaped(record->cause);
  return out + "<br><span class=\"faint\">It goes on with: <code>" + escaped(record->resume) +
         "</code></span></div>\n";
}

std::string head(const RunDirectory& run, const Recipe& recipe, const std::vector<Json>& results) {
  double seconds = 0;
  for (const auto& result : results) seconds += result.value("seconds", 0.0);
  const auto name = escaped(recipe.name);
  std::string out = kHead + ("<title>" + name + "</title></head><body>\n<h1>" + name + "</h1>\n");
  // Whoever it is sent to has no use for the folders above.
  const auto folder = run.root().parent_path().filename() / run.root().filename();
  out += "<p class=\"faint\">" + escaped(folder.string()) + ", run " + escaped(run.id()) + ", " +
         format_seconds(seconds) + " in its stages</p>\n";
  return out + ending(read_run_record(run.root())) + "<pre>" + escaped(describe(recipe)) + "</pre>\n";
}

std::string evaluations(const std::vector<Json>& results) {
  std::vector<const Json*> measured;
  for (const auto& result : results) {
    if (!result.value("evals", Json::array()).empty()) measured.push_back(&result);
  }
  if (measured.empty()) return "";
  std::string out = "<h2>Before and after</h2>\n<div class=\"wide\"><table><tr><th></th>";
  for (const auto* result : measured)
    out += "<th class=\"n\">" + escaped(result->at("name").get<std::string>()) + "</th>";
  out += "</tr>\n";
  std::vector<std::string> names;
  const auto name_of = [](const Json& eval) {
    return eval.at("metric").get<std::string>() + " (" + eval.at("split").get<std::string>() + ")";
  };
  for (const auto* result : measured) {
    for (const auto& eval : result->at("evals")) {
      if (std::ranges::count(names, name_of(eval)) == 0) names.push_back(name_of(eval));
    }
  }
  for (const auto& name : names) {
    out += "<tr><th>" + escaped(name) + "</th>";
    for (const auto* result : measured) {
      std::string cell = "-";
      for (const auto& eval : result->at("evals")) {
        if (name_of(eval) == name) cell = number(eval.at("value")) + " ± " + number(eval.at("stderr"));
      }
      out += "<td class=\"n\">" + cell + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string alarms(const monitor::RunHistory& history) {
  if (history.alarms().empty()) return "<h2>Alarms</h2>\n<p>None.</p>\n";
  std::string out = "<h2>Alarms</h2>\n";
  for (const auto& [alarm, until] : history.alarms()) {
    out += "<div class=\"alarm\"><strong>" + escaped(alarm.rule) + "</strong>, steps " +
           std::to_string(alarm.since_step) + " to " + std::to_string(until) + "<br>" +
           escaped(alarm.sentence) + ".<br><span class=\"faint\">" + escaped(alarm.suggestion) +
           ".</span></div>\n";
  }
  return out;
}

// In the order in which they were run.
std::vector<std::string> stages_with_steps(const monitor::RunHistory& history) {
  std::vector<std::string> stages;
  for (const auto& report : history.steps()) {
    if (stages.empty() || stages.back() != report.stage) stages.push_back(report.stage);
  }
  if (std::ssize(stages) > monitor::kMaxChartSeries) stages.resize(monitor::kMaxChartSeries);
  return stages;
}

// One for each stage, so that it has its colour also where others have no part; "" where none has any.
std::string chart(const monitor::RunHistory& history, const std::vector<std::string>& stages,
                  const std::string& metric) {
  std::vector<monitor::ChartSeries> series;
  for (const auto& stage : stages) series.push_back({.name = stage});
  bool empty = true;
  for (const auto& report : history.steps()) {
    const auto found = report.metrics.find(metric);
    const auto one = std::ranges::find(series, report.stage, &monitor::ChartSeries::name);
    if (found == report.metrics.end() || !std::isfinite(found->second) || one == series.end()) continue;
    one->points.push_back({static_cast<double>(report.step), found->second});
    empty = false;
  }
  return empty ? "" : monitor::line_chart(series, {.title = metric, .legend = false});
}

// The ones of every run, then those of each scorer.
std::vector<std::string> shown_metrics(const monitor::RunHistory& history) {
  std::vector<std::string> shown = {"reward",
                                    "eval_exact",
                                    "reward_std",
                                    "loss",
                                    "kl",
                                    "entropy",
                                    "grad_norm",
                                    "completions/mean_length",
                                    "completions/clipped_ratio",
                                    "frac_reward_zero_std",
                                    "rewards/margins",
                                    "accuracy",
                                    "step_time"};
  std::set<std::string> of_scorers;
  for (const auto& report : history.steps()) {
    for (const auto& [metric, value] : report.metrics) {
      const bool shows = metric.ends_with("/mean") || (metric.ends_with("/unscored_rate") && value > 0);
      if (metric.starts_with("rewards/") && shows) of_scorers.insert(metric);
    }
  }
  shown.insert(shown.end(), of_scorers.begin(), of_scorers.end());
  return shown;
}

std::string curves(const monitor::RunHistory& history) {
  const auto stages = stages_with_steps(history);
  std::string charts, legend;
  for (const auto& metric : shown_metrics(history)) charts += chart(history, stages, metric);
  if (charts.empty()) return "";
  for (size_t i = 0; i < stages.size(); ++i) {
    legend += std::string("<span style=\"color:") + monitor::chart_colour(i) + "\">&#9473;&#9473;</span> " +
              escaped(stages[i]) + " &nbsp; ";
  }
  return "<h2>Curves</h2>\n<p class=\"faint\">" + legend + "</p>\n<div class=\"curves\">\n" + charts +
         "</div>\n";
}

// Greedy completions of the evaluations, the same prompts before and after.
std::string samples(const std::vector<Json>& results) {
  std::vector<const Json*> with;
  for (const auto& result : results) {
    if (!result.value("samples", Json::array()).empty()) with.push_back(&result);
  }
  if (with.empty()) return "";
  const Json &before = *with.front(), &after = *with.back();
  std::string out = "<h2>What it says</h2>\n<div class=\"wide\"><table><tr><th>prompt</th><th>" +
                    escaped(before.at("name").get<std::string>()) + "</th>";
  if (with.size() > 1) out += "<th>" + escaped(after.at("name").get<std::string>()) + "</th>";
  out += "</tr>\n";
  const auto cell = [](const Json& text) {
    return "<td><pre>" + shortened(text.get<std::string>()) + "</pre></td>";
  };
  for (size_t i = 0; i < after.at("samples").size(); ++i) {
    const auto& sample = after.at("samples")[i];
    out += "<tr>" + cell(sample.at("prompt"));
    if (with.size() > 1)
      out += i < before.at("samples").size() ? cell(before.at("samples")[i].at("completion")) : "<td>-</td>";
    out += cell(sample.at("completion")) + "</tr>\n";
  }
  return out + "</table></div>\n";
}

// The last rollouts of training: what was asked, what was said, what it earned.
std::string rollouts(const RunDirectory& run) {
  const auto steps = rollout_steps(run);
  if (steps.empty()) return "";
  const Json found = read_rollouts(run, steps.back(), "", 0);
  std::string out = "<h2>Rollouts of step " + std::to_string(steps.back()) + "</h2>\n";
  for (size_t g = 0; g < std::min(found.at("groups").size(), kGroupsShown); ++g) {
    const auto& group = found.at("groups")[g];
    out += "<pre>" + shortened(group.at("prompt").get<std::string>()) +
           "</pre>\n<div class=\"wide\"><table>"
           "<tr><th class=\"n\">reward</th><th class=\"n\">advantage</th><th>completion</th></tr>\n";
    for (const auto& completion : group.at("completions")) {
      out += "<tr><td class=\"n\">" + number(completion.at("reward")) + "</td><td class=\"n\">" +
             number(completion.at("advantage")) + "</td><td><pre>" +
             shortened(completion.at("text").get<std::string>()) + "</pre></td></tr>\n";
    }
    out += "</table></div>\n";
  }
  return out;
}

// "issued 64 = trained 60 + queued 4 + leased 0 + dropped 0 + quarantined 0"; "" where nothing is issued.
std::string law(const std::function<Json(const std::string& name)>& count) {
  if (!count("issued").is_number()) return "";
  std::string out = "issued " + number(count("issued")) + " = ";
  for (const char* part : {"trained", "queued", "leased", "dropped", "quarantined"})
    out += (out.ends_with("= ") ? "" : " + ") + std::string(part) + " " + number(count(part));
  return out;
}

std::string stage_row(const StageSpec& stage, const std::string& steps, const std::string& seconds,
                      const std::string& groups, const std::string& weights) {
  return "<tr><td>" + escaped(stage.name) + "</td><td>" + escaped(stage.use) + "</td><td class=\"n\">" +
         steps + "</td><td class=\"n\">" + seconds + "</td><td>" + groups + "</td><td><code>" + weights +
         "</code></td></tr>\n";
}

std::string done_row(const StageSpec& stage, const Json& result) {
  const Json counts = result.value("law", Json::object());
  return stage_row(stage, number(result.value("steps", Json())), format_seconds(result.value("seconds", 0.0)),
                   law([&](const std::string& name) { return counts.value(name, Json()); }),
                   escaped(result.value("weights_sha256", "").substr(0, 16)));
}

// Of a stage that the run has not come to the end of.
std::string open_row(const StageSpec& stage, const monitor::RunHistory& history) {
  const monitor::StepReport* last = nullptr;
  double seconds = 0;
  for (const auto& report : history.steps()) {
    if (report.stage != stage.name) continue;
    last = &report;
    const auto time = report.metrics.find("step_time");
    if (time != report.metrics.end() && std::isfinite(time->second)) seconds += time->second;
  }
  if (last == nullptr) return stage_row(stage, "not begun", "-", "", "");
  const auto count = [&](const std::string& name) {
    const auto found = last->metrics.find("law/" + name);
    return found == last->metrics.end() ? Json() : Json(found->second);
  };
  return stage_row(stage, std::to_string(last->stage_step) + " of " + std::to_string(last->stage_steps),
                   format_seconds(seconds), law(count), "");
}

std::string stages(const RunDirectory& run, const Recipe& recipe, const monitor::RunHistory& history) {
  std::string out =
      "<h2>Stages</h2>\n<div class=\"wide\"><table><tr><th>stage</th><th>kind</th><th class=\"n\">steps</th>"
      "<th class=\"n\">time</th><th>groups</th><th>weights</th></tr>\n";
  for (const auto& stage : recipe.stages) {
    const auto result = run.stage_result(stage.name);
    out += result ? done_row(stage, *result) : open_row(stage, history);
  }
  return out + "</table></div>\n";
}

// Seconds of all steps by what they went into.
std::string timings(const monitor::RunHistory& history) {
  std::map<std::string, double> parts;
  double all = 0;
  for (const auto& report : history.steps()) {
    for (const auto& [name, seconds] : report.metrics) {
      if (!name.starts_with("time/") || !std::isfinite(seconds)) continue;
      parts[name.substr(5)] += seconds;
      all += seconds;
    }
  }
  if (all <= 0) return "";
  std::string out = "<h2>Where the time went</h2>\n<table>\n";
  for (const auto& [name, seconds] : parts)
    out += row(escaped(name),
               format_seconds(seconds) + ", " + number(std::round(1000 * seconds / all) / 10) + " %");
  return out + "</table>\n";
}

std::string json_part(const std::string& title, const Json& json) {
  return "<h2>" + title + "</h2>\n<details><summary>show</summary><pre>" +
         escaped(json.dump(2, ' ', false, Json::error_handler_t::replace)) + "</pre></details>\n";
}

}  // namespace

Json shown_recipe(const Recipe& recipe) {
  Json shown = recipe.resolved;
  shown["monitor"]["redis"] = monitor::without_password(recipe.monitor.redis);
  return shown;
}

std::string run_report(const RunDirectory& run, const Recipe& recipe) {
  monitor::RunHistory history(run.metrics());
  history.refresh();
  std::vector<Json> results;
  for (const auto& stage : recipe.stages) {
    if (auto result = run.stage_result(stage.name)) results.push_back(std::move(*result));
  }
  std::string out = head(run, recipe, results) + evaluations(results) + alarms(history) + curves(history) +
                    samples(results) + rollouts(run) + stages(run, recipe, history) + timings(history);
  out += json_part("Recipe", shown_recipe(recipe));
  if (std::filesystem::exists(run.environment()))
    out += json_part("Environment", read_json(run.environment()));
  return out + "</body></html>\n";
}

void write_report(const RunDirectory& run, const Recipe& recipe) {
  write_file_atomically(run.report(), run_report(run, recipe));
}

}  // namespace sluice::recipes
