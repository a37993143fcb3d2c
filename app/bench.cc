#include <memory>
#include <optional>
#include <set>

#include "app/bench/models.h"
#include "app/bench/monitor.h"
#include "app/bench/redis.h"
#include "app/bench/rows.h"
#include "app/bench_tokenizer.h"
#include "app/command.h"
#include "app/manual.h"
#include "base/error.h"
#include "base/shared_work.h"

namespace sluice::app {
namespace {

struct Arguments {
  BenchOptions rows{.megabytes = {10, 100, 1000}, .vocabularies = {4'096, 32'768, 151'936}};
  PeersOptions peers;
  MonitorBench monitor;
  RedisBench redis;
  bool json = false;
  // of `memory`
  int64_t memory_batch = 8;
  bool here = false;  // in this process
};

// A row with what it takes where nothing is said.
struct RowKind {
  const char* name;
  const char* help;
  void (*run)(const Bench&);
  std::vector<std::string> models;
  std::vector<int64_t> batches;
  int64_t prompt = 64, new_tokens = 128;
};

const std::vector<RowKind>& row_kinds() {
  static const std::vector<RowKind> kinds = {
      {"decode", "New tokens of B completions under way together", bench_decode, {"S", "M"}, {1, 8, 64}},
      {"ragged", "Completions of different lengths whose slots are refilled", bench_ragged, {"S"}, {64}},
      {"prefill", "Prompts read, alone and in groups", bench_prefill, {"S", "M"}, {64}, /*prompt=*/128},
      {"steady", "Many steps of one engine, whose memory must not grow", bench_steady, {"S"}, {64}},
      {"steady_learner",
       "The same of many steps of a learner",
       bench_steady_learner,
       {"tiny"},
       {16},
       /*prompt=*/16,
       /*new_tokens=*/48},
      {"read", "Examples of small and large files, shuffled, tokenised and packed", bench_read, {}, {}},
      {"draft",
       "One completion with tokens proposed from what was said, and without",
       bench_draft,
       {"S"},
       {1}},
      {"sampler", "One draw from logits, against at::softmax and at::multinomial", bench_sampler, {}, {}},
      {"publish",
       "Weights handed to the actors of this host, against memcpy",
       bench_publish,
       {"S", "M"},
       {1}},
      {"learn", "A step of the learner: forward, backward, AdamW", bench_learn, {"S", "M"}, {64}},
      {"learn_ragged",
       "The same of completions of different lengths in groups that share a prompt",
       bench_learn_ragged,
       {"S"},
       {64},
       /*prompt=*/24,
       /*new_tokens=*/232},
      {"logprob", "Log-probs of completions, as of a reference", bench_logprob, {"S", "M"}, {64}},
      {"grpo",
       "Whole steps of a run of GRPO: decode, score, learn",
       bench_grpo,
       {"S"},
       {64},
       /*prompt=*/0,
       /*new_tokens=*/64},
      {"grpo_slow_reward",
       "The same with a reward that sleeps 20 ms a sample, one step behind against none",
       bench_grpo_slow_reward,
       {"S"},
       {64},
       /*prompt=*/0,
       /*new_tokens=*/64},
      {"rewards",
       "Rewards on GSM8K answers, against direct calls of the same functions; samples a second",
       bench_rewards,
       {},
       {}},
      {"adamw", "AdamW alone, against the C++ frontend's; parameters a second", bench_adamw, {"M"}, {1}},
  };
  return kinds;
}

BenchOptions filled_in(BenchOptions options, const RowKind& kind) {
  if (options.models.empty()) options.models = kind.models;
  if (options.batches.empty()) options.batches = kind.batches;
  if (options.prompt == 0) options.prompt = kind.prompt;
  if (options.new_tokens == 0) options.new_tokens = kind.new_tokens;
  return options;
}

std::vector<double> weight_bytes(const std::vector<std::string>& models,
                                 const std::vector<std::string>& dtypes) {
  std::vector<double> bytes;
  for (const auto& model : models) {
    const auto numbers = static_cast<double>(model::Network::declare(bench_config(model)).num_numbers());
    for (const auto& dtype : dtypes) bytes.push_back(numbers * bytes_of_weight(dtype));
  }
  return bytes;
}

// The ceilings, then rows of these kinds.
void run_rows(const Arguments& arguments, const std::vector<RowKind>& kinds, Report& report) {
  std::optional<Peers> peers;
  if (!arguments.peers.directory.empty()) peers.emplace(arguments.peers);
  set_work_threads(arguments.rows.threads);
  std::vector<BenchOptions> options;
  std::vector<double> bytes;
  for (const auto& kind : kinds) {
    options.push_back(filled_in(arguments.rows, kind));
    const auto more = weight_bytes(options.back().models, options.back().dtypes);
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  const auto ceilings = measure_ceilings(arguments.rows.threads, bytes);
  report.add(ceilings);
  for (size_t i = 0; i < kinds.size(); ++i) {
    kinds[i].run({options[i], ceilings, peers ? &*peers : nullptr, report});
  }
}

int run_match(const Arguments& arguments, Report& report) {
  const bool equal = bench_match(arguments.rows.models, arguments.rows.dtypes, report);
  return static_cast<int>(equal ? ExitCode::Done : ExitCode::Failed);
}

int run_memory(const Arguments& arguments, Report& report) {
  const auto& rows = arguments.rows;
  if (arguments.here) {
    for (const int64_t vocab : rows.vocabularies)
      measure_memory_here(vocab, arguments.memory_batch, rows.threads);
  } else {
    bench_memory(rows.vocabularies, arguments.memory_batch, rows.threads, report);
  }
  return 0;
}

int run_table(const Arguments& arguments, Report& report) {
  run_rows(arguments, row_kinds(), report);
  run_memory(arguments, report);
  return run_match(arguments, report);
}

void add_networks(CLI::App& app, BenchOptions& rows, const std::string& models,
                  const std::vector<std::string>& dtypes) {
  app.add_option("--model", rows.models, models)->delimiter(',');
  app.add_option(
         "--dtype", rows.dtypes,
         "Of the weights: numbers are computed in float32 from each, and the limit is that of float32 "
         "arithmetic; learn: bfloat16 is model.products = \"bfloat16_both\", weights and moments float32")
      ->delimiter(',')
      ->check(CLI::IsMember(dtypes));
}

void add_generation(CLI::App& app, Arguments& arguments) {
  auto& rows = arguments.rows;
  add_networks(app, rows, "Of random weights: tiny, S or M", kBenchDtypes);
  app.get_option("--model")->check(CLI::IsMember(kBenchModels));
  const auto at_least_one = CLI::Range(int64_t{1}, int64_t{4096});
  app.add_option("--batch", rows.batches, "Completions decoded together")
      ->delimiter(',')
      ->check(at_least_one);
  app.add_option("--group", rows.group, "Completions that share a prompt (default: 8 from 64 on, else 1)")
      ->check(at_least_one);
  app.add_option("--prompt", rows.prompt,
                 "Tokens of a prompt (default: 64; prefill 128, learn_ragged 24; grpo 128 and 6)")
      ->check(CLI::Range(1, 256));
  app.add_option("--new", rows.new_tokens,
                 "New tokens of a completion, of the longest where they differ (default: 128; learn_ragged "
                 "232, grpo 64)")
      ->check(CLI::Range(2, 256));
  app.add_option("--threads", rows.threads, "Of ours, of the peers and of the ceilings")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--peers", arguments.peers.directory,
                 "Folder of the peers' scripts (bench_generate.py, make_model.py): they do the same work in "
                 "between");
  app.add_option("--peers-python", arguments.peers.python,
                 "Their Python (default: .venv/bin/python in that folder, else $SLUICE_PEERS_PYTHON)");
  app.add_option("--peers-models", arguments.peers.models,
                 "Where their models are, or are written (default: models in that folder)");
  for (const char* name : {"--peers", "--peers-python", "--peers-models", "--group", "--prompt", "--new"})
    app.get_option(name)->group(kMore);
}

void add_vocabularies(CLI::App& app, BenchOptions& rows) {
  app.add_option("--vocab", rows.vocabularies, "Sizes of the vocabulary")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
}

void add_row(CLI::App& app, Arguments& arguments, const std::string& name) {
  auto& rows = arguments.rows;
  const bool all = name.empty();
  if (name != "sampler" && name != "read" && name != "rewards") add_generation(app, arguments);
  const auto positive = CLI::Range(int64_t{1}, int64_t{1} << 20);
  if (all || name == "ragged") {
    auto* option = app.add_option("--requests", rows.requests, "Completions in all");
    option->capture_default_str()->check(positive)->group(all ? kMore : "Options");
  }
  const bool counts_steps = name == "steady" || name == "steady_learner" || name == "read";
  if (all || counts_steps) {
    auto* option = app.add_option("--steps", rows.steps, "Steps after warming up");
    option->capture_default_str()->check(positive)->group(all ? kMore : "Options");
  }
  if (all || name == "sampler") {
    add_vocabularies(app, rows);
    if (all) app.get_option("--vocab")->group(kMore);
  }
  if (all || name == "read") {
    auto* option =
        app.add_option("--megabytes", rows.megabytes, "Of the files, in the place for temporary ones");
    option->delimiter(',')->capture_default_str()->check(CLI::Range(1, 100'000));
    option->group(all ? kMore : "Options");
  }
  if (name != "steady" && name != "steady_learner") {
    app.add_option("--reps", rows.reps, "Repetitions, of which the median counts; of grpo, four steps each")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
  }
  app.add_flag("--json", arguments.json, "JSON lines: the ceilings, then a line for each row");
}

}  // namespace

Command add_bench(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(0, 1);
  app.footer(
      "Without a subcommand: all of them but `tokenizer`, `monitor` and `redis`, in float32 and bfloat16.");
  add_row(app, *arguments, "");
  std::vector<std::pair<CLI::App*, const RowKind*>> rows;
  const std::set<std::string> common = {"decode", "prefill", "learn", "grpo", "publish"};
  for (const auto& kind : row_kinds()) {
    auto* sub = app.add_subcommand(kind.name, kind.help);
    if (!common.contains(kind.name)) sub->group(kMore);
    if (kind.name == std::string_view("publish")) sub->alias("sync");
    rows.emplace_back(sub, &kind);
    add_row(*rows.back().first, *arguments, kind.name);
  }
  auto* match =
      app.add_subcommand("match", "Whether the log-probs of actor and learner are equal, bit for bit");
  add_networks(*match, arguments->rows,
               "tiny, S, M, qwen2, gemma2, or model directories (default: all but M)",
               {"float32", "bfloat16"});
  match->add_flag("--json", arguments->json, "A JSON line for each model, dtype and number of threads");
  auto* memory = app.add_subcommand(
      "memory", "Peak memory of a learner's step as the vocabulary grows, each in a process of its own");
  add_vocabularies(*memory, arguments->rows);
  memory->add_option("--threads", arguments->rows.threads, "Of the learner")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  memory->add_option("--batch", arguments->memory_batch, "Completions of a step, of 48 tokens each")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  memory->add_flag("--here", arguments->here, "In this process")->group("");
  memory->add_flag("--json", arguments->json, "A JSON line");
  auto* watched = app.add_subcommand(
      "monitor",
      "What metrics of many actors take of a core, with a real redis-server and a page that is open");
  watched->add_option("--actors", arguments->monitor.actors, "Of a run")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  watched
      ->add_option("--rate", arguments->monitor.rate, "Times a second that each is heard of; steps a second")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  watched->add_option("--seconds", arguments->monitor.seconds, "Of it")
      ->capture_default_str()
      ->check(CLI::Range(1, 86'400));
  watched->add_flag("--json", arguments->json, "A JSON line");
  auto* redis = app.add_subcommand(
      "redis", "What a step loses to its Redis while that is well, stopped, frozen, flushed or full");
  redis->add_option("--step-ms", arguments->redis.step_ms, "Of a step that computes alone")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  redis->add_option("--seconds", arguments->redis.seconds, "Of each")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  redis->add_flag("--json", arguments->json, "A JSON line for each");
  auto* tokenizer = app.add_subcommand("tokenizer", "Encoding and decoding of a text, on one thread");
  for (auto* sub : {match, memory, watched, redis, tokenizer}) sub->group(kMore);
  return [&app, arguments, rows, match, memory, watched, redis, tokenizer,
          run_tokenizer = add_bench_tokenizer(*tokenizer)] {
    if (tokenizer->parsed()) return run_tokenizer();
    const bool whole = app.get_subcommands().empty();
    auto& dtypes = arguments->rows.dtypes;
    if (dtypes.empty()) {
      dtypes.push_back("float32");
      if (whole) dtypes.push_back("bfloat16");
    }
    Report report(arguments->json);
    if (whole) return run_table(*arguments, report);
    if (memory->parsed()) return run_memory(*arguments, report);
    if (watched->parsed()) {
      bench_monitor(arguments->monitor, report);
      return 0;
    }
    if (redis->parsed()) {
      bench_redis(arguments->redis, report);
      return 0;
    }
    if (match->parsed()) return run_match(*arguments, report);
    for (const auto& [sub, kind] : rows) {
      if (sub->parsed()) run_rows(*arguments, {*kind}, report);
    }
    return 0;
  };
}

}  // namespace sluice::app
