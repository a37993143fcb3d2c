#include <algorithm>
#include <chrono>

#include "app/bench/completions.h"
#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/resident_memory.h"
#include "learner/policy_learner.h"
#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::app {
namespace {

constexpr double kWarmShare = 0.1;  // of the steps, before memory is counted

int64_t warm_steps(const Bench& bench) {
  return std::max<int64_t>(1, static_cast<int64_t>(kWarmShare * static_cast<double>(bench.options.steps)));
}

// Seconds of so many steps, with a request behind each that finishes.
double run_steps(actors::Engine& engine, const Requests& requests, int64_t steps) {
  const auto began = std::chrono::steady_clock::now();
  for (int64_t step = 0; step < steps; ++step) {
    if (engine.idle()) {
      for (const auto& request : requests) engine.submit(request);
    }
    for (const auto& result : engine.step(/*version=*/0)) engine.submit(requests[result.id]);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void bench_one(const Bench& bench, const std::string& model, const std::string& dtype, int64_t slots) {
  const auto& options = bench.options;
  const auto network = make_bench_network(model, dtype);
  const int64_t prompt = options.prompt;
  std::vector<int64_t> lengths;  // that differ, so that prompts and tokens share the steps
  for (int64_t i = 0; i < slots; ++i) lengths.push_back(1 + options.new_tokens * (i + 1) / (slots + 1));
  const auto requests = make_requests(network->config(), prompt, /*group=*/1, lengths);
  auto engine = make_bench_engine(*network, slots, requests, options.threads);

  const LoadWatch watch;
  run_steps(engine, requests, warm_steps(bench));
  const int64_t before = resident_bytes();
  const uint64_t tokens = engine.num_tokens();
  const double seconds = run_steps(engine, requests, options.steps);
  const int64_t growth = resident_bytes() - before;
  bench.report.add({.row = "steady",
                    .model = model,
                    .dtype = dtype,
                    .batch = slots,
                    .tokens_per_s = {.median = static_cast<double>(engine.num_tokens() - tokens) / seconds},
                    .others = watch.others(),
                    .more = {{"steps", options.steps},
                             {"prompt", prompt},
                             {"threads", options.threads},
                             {"rss_growth_bytes", growth}}});
}

// Every step has other lengths, so that memory which only fits one of them is asked for anew.
void bench_learner(const Bench& bench, const std::string& model, int64_t batch) {
  const auto& options = bench.options;
  model::Network network(bench_config(model), at::kCPU);
  network.init(1);
  transport::SoloCollective alone;
  const int64_t warm = warm_steps(bench);
  optim::Optimizer optimizer(network, alone, {}, warm + options.steps);
  learner::PolicyLearner learner(network, nullptr, optimizer, {});
  const auto take = [&](int64_t step) {
    const auto completions = make_completions(network, {.batch = batch,
                                                        .group = group_of(options, batch),
                                                        .prompt = options.prompt,
                                                        .shortest = 1,
                                                        .longest = 1 + step * 7 % options.new_tokens});
    learner.step(completions.batch, /*version=*/0);
    return completions.tokens;
  };
  for (int64_t step = 0; step < warm; ++step) take(step);

  const LoadWatch watch;
  const int64_t before = resident_bytes();
  double tokens = 0;
  const double seconds = seconds_of([&] {
    for (int64_t step = 0; step < options.steps; ++step) tokens += take(warm + step);
  });
  bench.report.add({.row = "steady_learner",
                    .model = model,
                    .dtype = "float32",
                    .batch = batch,
                    .tokens_per_s = {.median = tokens / seconds},
                    .others = watch.others(),
                    .more = {{"steps", options.steps},
                             {"prompt", options.prompt},
                             {"threads", options.threads},
                             {"rss_growth_bytes", resident_bytes() - before}}});
}

}  // namespace

void bench_steady(const Bench& bench) { for_each_row(bench, bench_one); }

void bench_steady_learner(const Bench& bench) {
  for (const auto& model : bench.options.models) {
    for (const int64_t batch : bench.options.batches) bench_learner(bench, model, batch);
  }
}

}  // namespace sluice::app
