#include "app/bench/generation.h"
#include "app/bench/rows.h"

namespace sluice::app {
namespace {

std::vector<double> seconds_of(actors::Engine& engine, const Requests& requests, int64_t reps) {
  std::vector<double> seconds;
  seconds_for(engine, requests);  // warm
  for (int64_t i = 0; i < reps; ++i) seconds.push_back(seconds_for(engine, requests));
  return seconds;
}

void bench_one(const Bench& bench, const std::string& model, const std::string& dtype, int64_t batch) {
  const auto& options = bench.options;
  const auto network = make_bench_network(model, dtype);
  const int64_t prompt = options.prompt, group = group_of(options, batch);
  const auto requests_of = [&](int64_t samples) {
    return make_requests(network->config(), prompt, samples,
                         std::vector<int64_t>(static_cast<size_t>(batch / samples), 1));
  };
  const auto alone = requests_of(1), grouped = requests_of(group);
  Measured rates;
  std::vector<double> alone_s, grouped_s;
  const auto peers =
      beside_peers(bench, {.model = model, .batch = batch, .prompt = prompt, .new_tokens = 8}, [&] {
        auto engine = make_bench_engine(*network, batch, alone, options.threads);
        rates.add([&] {
          std::vector<double> tokens_per_s;
          for (const double seconds : seconds_of(engine, alone, options.reps)) {
            alone_s.push_back(seconds);
            tokens_per_s.push_back(static_cast<double>(batch * prompt) / seconds);
          }
          return tokens_per_s;
        });
        const auto more = seconds_of(engine, grouped, options.reps);
        grouped_s.insert(grouped_s.end(), more.begin(), more.end());
      });
  bench.report.add(
      {.row = "prefill",
       .model = model,
       .dtype = dtype,
       .batch = batch,
       .tokens_per_s = summarise(rates.rates),
       .limit = prefill_limit(Work(*network, dtype), bench.ceilings, batch, prompt),
       .peers = peer_rates(peers, dtype, [](const PeerResult& peer) { return peer.prompt_tok_s; }),
       .others = rates.others,
       .more = {{"prompt", prompt},
                {"threads", options.threads},
                {"group", group},
                // Of as many first tokens in groups; 1 / group is all that sharing can save.
                {"group_cost", summarise(grouped_s).median / summarise(alone_s).median}}});
}

}  // namespace

void bench_prefill(const Bench& bench) { for_each_row(bench, bench_one); }

}  // namespace sluice::app
