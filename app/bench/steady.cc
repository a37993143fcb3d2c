#include <chrono>

#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/resident_memory.h"

namespace sluice::app {
namespace {

constexpr double kWarmShare = 0.1;  // of the steps, before memory is counted

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
  run_steps(engine, requests, static_cast<int64_t>(kWarmShare * static_cast<double>(options.steps)));
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

}  // namespace

void bench_steady(const Bench& bench) { for_each_row(bench, bench_one); }

}  // namespace sluice::app
