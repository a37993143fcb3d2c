#include "recipes/summary.h"

#include <array>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "base/utf8.h"

namespace sluice::recipes {
namespace {

constexpr size_t kTextShown = 400;  // bytes

std::vector<Json> results(const RunDirectory& run, const Recipe& recipe) {
  std::vector<Json> list;
  for (const auto& stage : recipe.stages) {
    if (auto result = run.stage_result(stage.name)) list.push_back(std::move(*result));
  }
  return list;
}

// The beginning of a text on one line, for the table; a terminal obeys nothing in it.
std::string one_line(const std::string& text) {
  const auto begin = whole_characters(text, kTextShown);
  std::string line;
  for (const char c : inert(begin)) line += c == '\n' ? std::string("\\n") : std::string(1, c);
  return line + (begin.size() < text.size() ? "..." : "");
}

std::string cell(const Json* eval) {
  if (eval == nullptr) return "-";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.3f +- %.3f", eval->at("value").get<double>(),
                eval->at("stderr").get<double>());
  return text.data();
}

const Json* find_eval(const Json& result, const std::string& split, const std::string& metric) {
  for (const auto& eval : result.at("evals")) {
    if (eval.at("split") == split && eval.at("metric") == metric) return &eval;
  }
  return nullptr;
}

void append_row(std::ostringstream& out, const std::string& name, const std::string& before,
                const std::string& after) {
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(), "  %-28s %18s %18s\n", name.c_str(), before.c_str(), after.c_str());
  out << line.data();
}

void append_samples(std::ostringstream& out, const Json& before, const Json& after) {
  for (size_t i = 0; i < after.at("samples").size(); ++i) {
    const auto& sample = after.at("samples")[i];
    out << "  \"" << one_line(sample.at("prompt")) << "\"\n";
    if (i < before.at("samples").size()) {
      out << "      before  " << one_line(before.at("samples")[i].at("completion")) << '\n';
    }
    out << "      after   " << one_line(sample.at("completion")) << '\n';
  }
}

}  // namespace

double finished_seconds(const RunDirectory& run, const Recipe& recipe) {
  double seconds = 0;
  for (const auto& result : results(run, recipe)) seconds += result.at("seconds").get<double>();
  return seconds;
}

Json summary(const RunDirectory& run, const Recipe& recipe, double seconds) {
  Json stages = Json::array(), evals = Json::array();
  for (const auto& result : results(run, recipe)) {
    Json stage = result;
    stage.erase("evals");
    stage.erase("samples");
    stages.push_back(stage);
    if (result.contains("evals")) {
      for (const auto& eval : result.at("evals")) evals.push_back(eval);
    }
  }
  return {{"schema", 1}, {"stages", stages}, {"evals", evals}, {"seconds", seconds}};
}

void write_summary(const RunDirectory& run, const Recipe& recipe, double seconds) {
  Json file = summary(run, recipe, seconds);
  Json samples = Json::object();
  for (const auto& result : results(run, recipe)) {
    if (result.contains("samples")) samples[result.at("name").get<std::string>()] = result.at("samples");
  }
  file["samples"] = samples;
  write_file_atomically(run.summary(), file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string summary_table(const RunDirectory& run, const Recipe& recipe) {
  std::vector<Json> evaluations;
  std::ostringstream out;
  std::vector<Json> measured;  // of what a stage trained beside the policy
  for (auto& result : results(run, recipe)) {
    if (!result.contains("evals")) continue;
    (result.contains("samples") ? evaluations : measured).push_back(std::move(result));
  }
  out << '\n'
      << recipe.name << ": done in " << format_seconds(read_json(run.summary()).at("seconds")) << '\n';
  if (!evaluations.empty()) {
    const Json& before = evaluations.front();
    const Json& after = evaluations.back();
    append_row(out, "", before.at("name"), after.at("name"));
    for (const auto& eval : after.at("evals")) {
      const std::string metric = eval.at("metric"), split = eval.at("split");
      append_row(out, metric + " (" + split + ")", cell(find_eval(before, split, metric)), cell(&eval));
    }
    append_samples(out, before, after);
  }
  for (const auto& result : measured) {
    const std::string name = result.at("name");
    for (const auto& eval : result.at("evals"))
      out << name << ": " << eval.at("metric").get<std::string>() << ' ' << cell(&eval) << '\n';
  }
  out << "model: " << (run.checkpoints() / "latest" / "hf").string() << '\n';
  out << "summary: " << (run.summary()).string() << '\n';
  return out.str();
}

}  // namespace sluice::recipes
