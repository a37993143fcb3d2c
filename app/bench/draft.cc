#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/error.h"

namespace sluice::app {
namespace {

void bench_temperature(const Bench& bench, const model::Network& network, const std::string& model,
                       const std::string& dtype, int64_t batch, double temperature) {
  require<UsageError>(batch <= actors::kMostRowsWithDrafts, "bench: with more than ",
                      actors::kMostRowsWithDrafts, " completions nothing is drafted, asked for ", batch);
  const auto& options = bench.options;
  const int64_t prompt = options.prompt;
  auto requests = make_requests(network.config(), prompt, /*group=*/1,
                                std::vector<int64_t>(static_cast<size_t>(batch), options.new_tokens));
  for (auto& request : requests) request.sampling.temperature = temperature;
  auto plain = make_bench_engine(network, batch, requests, options.threads);
  auto drafting = make_bench_engine(network, batch, requests, options.threads, actors::make_lookup_drafter());

  Measured with, without;
  const auto measure = [&](Measured& measured, actors::Engine& engine) {
    measured.add([&] {
      return decode_rates(requests, tokens_after_first(requests), /*reps=*/1,
                          [&](const Requests& some) { return seconds_for(engine, some); });
    });
  };
  for (int64_t i = 0; i < options.reps; ++i) {  // in turn
    measure(without, plain);
    measure(with, drafting);
  }
  const auto rate = summarise(with.rates);
  const double before = summarise(without.rates).median;
  bench.report.add({.row = "draft",
                    .model = model,
                    .dtype = dtype,
                    .batch = batch,
                    .tokens_per_s = rate,
                    .others = std::max(with.others, without.others),
                    .more = {{"temperature", temperature},
                             {"prompt", prompt},
                             {"new", options.new_tokens},
                             {"threads", options.threads},
                             {"tokens_per_s_without", before},
                             {"ratio", rate.median / before},
                             {"drafted", drafting.num_drafted()},
                             {"accepted", drafting.num_accepted()}}});
}

void bench_one(const Bench& bench, const std::string& model, const std::string& dtype, int64_t batch) {
  const auto network = make_bench_network(model, dtype);
  for (const double temperature : {0.0, 1.0})
    bench_temperature(bench, *network, model, dtype, batch, temperature);
}

}  // namespace

void bench_draft(const Bench& bench) { for_each_row(bench, bench_one); }

}  // namespace sluice::app
