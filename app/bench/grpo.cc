// GRPO from its first step to its last: `sluice run` with a learner of all threads and an actor of one.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "base/subprocess.h"
#include "base/temporary_folder.h"
#include "model/model_directory.h"
#include "text/tokenizer.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kWarmSteps = 3;  // not counted: pages are new, and the log-probs are checked
constexpr int64_t kStepsOfARepetition = 4;
constexpr int64_t kRows = 64;            // of the dataset
constexpr int64_t kSpecialTokens = 8;    // at most, of a tokenizer of characters
constexpr int kFirstCharacter = 0x4E00;  // of as many characters as the model has tokens
constexpr double kBeta = 0.04;
constexpr double kPasses = 5;  // that decode, reference, forward and backward are worth
constexpr Millis kLongestMs = 30 * 60'000;
constexpr const char* kPythonReward = R"(
import time
def reward(completions, **columns):
    time.sleep(%s * len(completions))
    return [sum(map(ord, text)) % 7 / 6 for text in completions]
)";

// What stands between 0x800 and 0xFFFF, in UTF-8.
std::string character(int code) {
  return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
          static_cast<char>(0x80 | (code & 0x3F))};
}

struct Task {
  std::string name;  // of the run
  int64_t prompts = 8, group = 8, prompt = 0, new_tokens = 64, staleness = 1;
  int64_t steps = 0;   // counted ones
  int threads = 0;     // of the learner
  std::string reward;  // an entry of a recipe's rewards
};

// Of the steps that count.
struct Outcome {
  std::vector<double> rates;  // samples a second, of each step
  Json time_share;            // of its parts
  double mean_length = 0, others = 0;
};

// A folder with a model of random weights, a character for each of its tokens, and prompts of one length.
class GrpoBench {
 public:
  GrpoBench(const std::string& model, int64_t prompt) {
    const auto config = bench_config(model);
    model::Network network(config, at::kCPU);
    network.init(1);
    const int count = static_cast<int>(config.vocab_size - kSpecialTokens);
    std::string characters;
    for (int i = 0; i < count; ++i) characters += character(kFirstCharacter + i);
    fs::create_directories(folder_.path() / "model");
    model::save_model(folder_.path() / "model", network, {.dtype = at::kFloat});
    text::train_character_tokenizer(characters)->save(folder_.path() / "model");
    std::ofstream rows(folder_.path() / "prompts.jsonl");
    for (int64_t row = 0; row < kRows; ++row) {
      std::string text;
      for (const int32_t token : random_tokens(count, prompt, static_cast<uint64_t>(row))) {
        text += character(kFirstCharacter + token);
      }
      rows << Json({{"prompt", text}}).dump() << '\n';
    }
  }

  fs::path write(const std::string& name, const std::string& text) const {
    const auto file = folder_.path() / name;
    write_file_atomically(file, text);
    return file;
  }

  Outcome run(const Task& task) const {
    const auto file = write(task.name + ".toml", recipe_of(task));
    const auto log = folder_.path() / (task.name + ".log");
    const LoadWatch watch;
    auto child = Subprocess::start({.command = {own_executable().string(), "run", file.string(), "--runs",
                                                (folder_.path() / "runs").string()},
                                    .working_directory = folder_.path(),
                                    .output = log});
    const auto status = child.wait(kLongestMs);
    require(status && status->ok(), "bench: the run of ", task.name, " ",
            status ? "ended with " + describe(*status) : "is not done after half an hour", ": ",
            last_line(log));
    auto outcome = read(task);
    outcome.others = watch.others();
    return outcome;
  }

 private:
  static std::string recipe_of(const Task& task) {
    std::ostringstream out;
    out << "name = \"" << task.name << "\"\nseed = 1\nmodel = { path = \"model\" }\n"
        << "data = { path = \"prompts.jsonl\" }\nrewards = [" << task.reward << "]\n"
        << "monitor = { redis = \"off\" }\nlearner = { threads = " << task.threads << " }\n"
        << "rollout = { actors = 1, prompts_per_step = " << task.prompts << ", group_size = " << task.group
        << ", max_new_tokens = " << task.new_tokens << ", staleness = " << task.staleness << " }\n"
        << "[[stages]]\nuse = \"grpo\"\nsteps = " << kWarmSteps + task.steps
        << "\ncheckpoint = { every = " << kWarmSteps + task.steps << " }\nalgorithm = { beta = " << kBeta
        << " }\n";
    return out.str();
  }

  static std::string last_line(const fs::path& file) {
    std::istringstream text(fs::exists(file) ? read_file(file) : "");
    std::string last;
    for (std::string line; std::getline(text, line);) {
      if (!line.empty()) last = line;
    }
    return last;
  }

  Outcome read(const Task& task) const {
    const double samples = static_cast<double>(task.prompts * task.group);
    std::map<std::string, double> parts;
    double seconds = 0, count = 0;
    Outcome outcome;
    const auto metrics = folder_.path() / "runs" / task.name / "metrics.jsonl";
    for_each_json_line(metrics, [&](int64_t, Json line) {
      const auto step = json_member_or<int64_t>(line, "stage_step", 0, metrics.string());
      if (!line.contains("step_time") || step <= kWarmSteps) return;
      const double step_s = line.at("step_time");
      outcome.rates.push_back(samples / step_s);
      outcome.mean_length += line.at("completions/mean_length").get<double>();
      for (const auto& [name, value] : line.items()) {
        if (name.starts_with("time/")) parts[name.substr(5)] += value.get<double>();
      }
      seconds += step_s;
      ++count;
    });
    require(count > 0, "bench: ", metrics.string(), " has no step behind the first ", kWarmSteps);
    outcome.mean_length /= count;
    outcome.time_share = Json::object();
    for (const auto& [name, value] : parts)
      outcome.time_share[name] = std::round(value / seconds * 1000) / 1000;
    return outcome;
  }

  const TemporaryFolder folder_{"bench"};
};

Task task_of(const BenchOptions& options, int64_t batch, int64_t prompt) {
  const int64_t group = std::min(options.group > 0 ? options.group : 8, batch);
  require<UsageError>(batch % group == 0, "bench: a batch of ", batch, " does not consist of groups of ",
                      group);
  return {.name = "even",
          .prompts = batch / group,
          .group = group,
          .prompt = prompt,
          .new_tokens = options.new_tokens,
          .steps = kStepsOfARepetition * options.reps,
          .threads = options.threads};
}

// What is said of why the row is left out, where that is so.
bool is_left_out(int64_t batch, const char* row) {
  if (batch >= 2) return false;
  std::cerr << "sluice: " << row << " of " << batch
            << " is left out: a prompt has two completions at least\n";
  return true;
}

void bench_one(const Bench& bench, const std::string& model, int64_t batch, int64_t prompt) {
  const auto& options = bench.options;
  const GrpoBench runs(model, prompt);
  auto task = task_of(options, batch, prompt);
  // One of 44 characters: about half of the completions of 64 tokens have one.
  task.reward = "{ use = \"regex\", pattern = '[" + character(kFirstCharacter) + "-" +
                character(kFirstCharacter + 43) + "]' }";
  Measured measured;
  Outcome last;
  const PeerWork work{.task = PeerTask::Grpo,
                      .model = model,
                      .batch = batch,
                      .prompt = prompt,
                      .new_tokens = options.new_tokens,
                      .group = task.group};
  const auto peers = beside_peers(bench, work, [&] {
    task.name = measured.rates.empty() ? "first" : "second";
    last = runs.run(task);
    measured.rates.insert(measured.rates.end(), last.rates.begin(), last.rates.end());
    measured.others = std::max(measured.others, last.others);
  });
  const auto samples = static_cast<double>(batch);
  const Work flop(*make_bench_network(model, "float32"), "float32");
  const double group_flop =
      flop.scored_flop(prompt, std::vector<int64_t>(static_cast<size_t>(task.group), options.new_tokens));
  std::vector<PeerRate> rates;  // of both of TRL's settings, as the better one is what a user would take
  for (const auto& peer : peers)
    rates.push_back({peer.peer + "-" + peer.dtype, peer.samples_s, /*counts=*/true});
  bench.report.add({.row = "grpo",
                    .model = model,
                    .dtype = "float32",
                    .batch = batch,
                    .tokens_per_s = summarise(measured.rates),
                    .limit = flop_limit(samples, kPasses * group_flop * static_cast<double>(task.prompts),
                                        bench.ceilings, "float32"),
                    .peers = std::move(rates),
                    .others = measured.others,
                    .more = {{"samples_per_s", summarise(measured.rates).median},
                             {"prompt", prompt},
                             {"new", options.new_tokens},
                             {"mean_length", last.mean_length},
                             {"group", task.group},
                             {"beta", kBeta},
                             {"staleness", task.staleness},
                             {"steps", task.steps},
                             {"threads", options.threads},
                             {"time_share", last.time_share}}});
}

void bench_slow_reward(const Bench& bench, const std::string& model, int64_t batch) {
  constexpr int64_t kPrompt = 6;
  const auto& options = bench.options;
  const int64_t prompt = options.prompt > 0 ? options.prompt : kPrompt;
  const GrpoBench runs(model, prompt);
  auto task = task_of(options, batch, prompt);
  Json more = {{"prompt", prompt}, {"new", options.new_tokens}, {"group", task.group}, {"steps", task.steps},
               {"sleep_ms", 20},   {"threads", options.threads}};
  std::map<std::string, Figure> figures;
  double others = 0;
  for (const char* reward : {"slow", "quick"}) {
    std::string text = kPythonReward;
    const bool slow = std::string(reward) == "slow";
    text.replace(text.find("%s"), 2, slow ? "0.02" : "0");
    runs.write(std::string(reward) + ".py", text);
    task.reward = "{ python = \"" + std::string(reward) + ".py:reward\" }";
    for (const int64_t staleness : {0, 1}) {
      task.staleness = staleness;
      task.name = std::string(reward) + (staleness == 0 ? "_synchronous" : "_asynchronous");
      const auto outcome = runs.run(task);
      others = std::max(others, outcome.others);
      figures[task.name] = summarise(outcome.rates);
      more[task.name] = {{"samples_per_s", figures[task.name].median}, {"time_share", outcome.time_share}};
    }
  }
  const auto ratio = [&](const std::string& reward) {
    return figures[reward + "_asynchronous"].median / figures[reward + "_synchronous"].median;
  };
  more["ratio"] = ratio("slow");
  more["ratio_without_sleep"] = ratio("quick");
  bench.report.add({.row = "grpo_slow_reward",
                    .model = model,
                    .dtype = "float32",
                    .batch = batch,
                    .tokens_per_s = figures["slow_asynchronous"],
                    .others = others,
                    .more = std::move(more)});
}

}  // namespace

void bench_grpo(const Bench& bench) {
  const auto prompts =
      bench.options.prompt > 0 ? std::vector<int64_t>{bench.options.prompt} : std::vector<int64_t>{128, 6};
  for (const auto& model : bench.options.models) {
    for (const int64_t batch : bench.options.batches) {
      if (is_left_out(batch, "grpo")) continue;
      for (const int64_t prompt : prompts) bench_one(bench, model, batch, prompt);
    }
  }
}

void bench_grpo_slow_reward(const Bench& bench) {
  for (const auto& model : bench.options.models) {
    for (const int64_t batch : bench.options.batches) {
      if (!is_left_out(batch, "grpo_slow_reward")) bench_slow_reward(bench, model, batch);
    }
  }
}

}  // namespace sluice::app
