// How many completions a second rewards score, on the solutions of GSM8K's models: built-in ones and a Python
// function in a worker, each against a direct call of the same function.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "app/bench/load.h"
#include "app/bench/rows.h"
#include "base/captured_run.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "base/temporary_folder.h"
#include "rewards/reward_mix.h"

namespace sluice::app {
namespace {

using rewards::RewardRequest;
using Groups = std::vector<std::vector<RewardRequest>>;

constexpr const char* kSolutions = "data/gsm8k/model_solutions.jsonl";
constexpr size_t kGroup = 64;
constexpr Millis kLongestMs = 10 * 60'000;
// Run as it is it prints how long it takes for the groups of a file, read before.
constexpr const char* kPython = R"(import json, sys, time
def reward(completions, answer, **columns):
    return [float(said == right) for said, right in zip(completions, answer)]
if __name__ == "__main__":
    groups = [json.loads(line) for line in open(sys.argv[1])]
    began = time.perf_counter()
    for group in groups: reward(**group)
    print(time.perf_counter() - began)
)";

struct Answers {
  std::vector<text::Row> rows;
  std::vector<std::string> completions;
};

Answers read_answers() {
  Answers answers;
  for_each_json_line(kSolutions, [&](int64_t number, Json line) {
    for (const auto& [model, said] : line.items()) {
      if (!said.is_object() || !said.contains("solution")) continue;
      text::Row row;
      row.file = kSolutions;
      row.line = number;
      row.prompt = line.at("question").get<std::string>();
      row.columns = {{"answer", line.at("ground_truth")}};
      answers.rows.push_back(std::move(row));
      answers.completions.push_back(said.at("solution").get<std::string>());
    }
  });
  require<DataError>(!answers.rows.empty(), kSolutions, ": there are no solutions in it");
  return answers;
}

// `answers` outlives them.
Groups groups_of(const Answers& answers) {
  Groups groups;
  for (size_t i = 0; i < answers.rows.size(); ++i) {
    if (i % kGroup == 0) groups.emplace_back();
    groups.back().push_back({.group = groups.size(),
                             .sample = static_cast<int64_t>(i % kGroup),
                             .row = &answers.rows[i],
                             .completion = answers.completions[i]});
  }
  return groups;
}

rewards::RewardSpec spec_of(const std::string& use, Json options = Json::object()) {
  rewards::RewardSpec spec;
  spec.use = spec.name = use;
  spec.options = std::move(options);
  return spec;
}

// Seconds of both, which take turns; the first turn warms.
struct Turns {
  std::vector<double> rates, directly, ratios;

  void add(int64_t turn, double samples, double seconds, double direct_seconds) {
    if (turn == 0) return;
    rates.push_back(samples / seconds);
    directly.push_back(samples / direct_seconds);
    ratios.push_back(direct_seconds / seconds);
  }
};

void report(const Bench& bench, const std::string& name, const Turns& turns, double others) {
  bench.report.add(
      {.row = "rewards",
       .model = name,
       .dtype = "text",
       .batch = kGroup,
       .tokens_per_s = summarise(turns.rates),
       .others = others,
       .more = {{"directly", summarise(turns.directly).median}, {"ratio", summarise(turns.ratios).median}}});
}

void bench_native(const Bench& bench, const Answers& answers, const std::string& name) {
  const Groups groups = groups_of(answers);
  const rewards::RewardMix mix({spec_of(name)}, {});
  const auto alone = rewards::make_reward(spec_of(name), {});
  const LoadWatch watch;
  Turns turns;
  for (int64_t i = 0; i <= bench.options.reps; ++i) {
    const double mixed = seconds_of([&] {
      for (const auto& group : groups) mix.score(group);
    });
    const double direct = seconds_of([&] {
      for (const auto& group : groups) alone->score(group);
    });
    turns.add(i, static_cast<double>(answers.rows.size()), mixed, direct);
  }
  report(bench, name, turns, watch.others());
}

void write_groups(const std::filesystem::path& file, const Groups& groups) {
  std::ofstream out(file);
  for (const auto& group : groups) {
    Json columns = {{"completions", Json::array()}, {"answer", Json::array()}};
    for (const auto& request : group) {
      columns["completions"].push_back(request.completion);
      columns["answer"].push_back(request.row->columns.at("answer"));
    }
    out << columns.dump() << '\n';
  }
}

void bench_python(const Bench& bench, const Answers& answers) {
  const TemporaryFolder folder("bench");
  const auto file = folder.path() / "my.py", data = folder.path() / "groups.jsonl";
  std::ofstream(file) << kPython;
  const Groups groups = groups_of(answers);
  write_groups(data, groups);
  const auto worker = rewards::make_reward(spec_of("python", {{"python", file.string() + ":reward"}}), {});
  const LoadWatch watch;
  Turns turns;
  for (int64_t i = 0; i <= bench.options.reps; ++i) {
    const double asked = seconds_of([&] {
      for (const auto& group : groups) {
        const auto outcomes = worker->score(group);
        require(outcomes.front().score.has_value(), "bench: ", outcomes.front().unscored_reason);
      }
    });
    const auto direct =
        run_captured({.command = {"python3", file.string(), data.string()}}, {.wall_ms = kLongestMs});
    require(direct.status && direct.status->ok(), "bench: python3 failed: ", direct.errors);
    turns.add(i, static_cast<double>(answers.rows.size()), asked, std::stod(direct.output));
  }
  report(bench, "python", turns, watch.others());
}

}  // namespace

void bench_rewards(const Bench& bench) {
  if (!std::filesystem::exists(kSolutions)) {
    std::cerr << "sluice: bench rewards is left out: there is no " << kSolutions << " here\n";
    return;
  }
  const auto answers = read_answers();
  for (const char* name : {"exact_answer", "format_tags", "gsm8k"}) bench_native(bench, answers, name);
  bench_python(bench, answers);
}

}  // namespace sluice::app
