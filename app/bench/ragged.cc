#include <algorithm>

#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/philox.h"

namespace sluice::app {
namespace {

constexpr int64_t kShortest = 8;

// From the shortest to the longest in even steps, in a seeded order.
std::vector<int64_t> spread_lengths(int64_t count, int64_t longest) {
  const int64_t shortest = std::min(kShortest, longest);
  std::vector<int64_t> lengths;
  for (const int64_t i : shuffled_indices(count, /*seed=*/1, /*epoch=*/0)) {
    lengths.push_back(shortest + i * (longest - shortest) / std::max<int64_t>(count - 1, 1));
  }
  return lengths;
}

// A batch goes on when all of the one before are finished.
double seconds_in_batches(actors::Engine& engine, const Requests& requests, int64_t slots) {
  double seconds = 0;
  for (auto first = requests.begin(); first != requests.end();) {
    const auto end = first + std::min(slots, std::distance(first, requests.end()));
    seconds += seconds_for(engine, Requests(first, end));
    first = end;
  }
  return seconds;
}

// Static batching: every row of a batch is computed until its longest ends.
Requests padded(Requests requests, int64_t slots) {
  for (auto first = requests.begin(); first != requests.end();) {
    const auto end = first + std::min(slots, std::distance(first, requests.end()));
    int64_t longest = 0;
    for (auto one = first; one != end; ++one) longest = std::max(longest, one->sampling.max_new_tokens);
    for (; first != end; ++first) first->sampling.max_new_tokens = longest;
  }
  return requests;
}

struct RaggedRow {
  Measured ragged;
  std::vector<double> even, waiting, fixed;

  void measure(const model::Network& network, const Requests& requests, int64_t slots,
               const BenchOptions& options) {
    auto engine = make_bench_engine(network, slots, requests, options.threads);
    const int64_t useful = tokens_after_first(requests);
    const auto at_once = [&](const Requests& some) { return seconds_for(engine, some); };
    const auto in_batches = [&](const Requests& some) { return seconds_in_batches(engine, some, slots); };
    const auto append = [](std::vector<double>& to, const std::vector<double>& rates) {
      to.insert(to.end(), rates.begin(), rates.end());
    };
    const Requests batch(requests.begin(), requests.begin() + std::min(slots, std::ssize(requests)));
    const auto same = with_length(batch, options.new_tokens);
    // In turn, so that a machine that changes its speed favours none of them.
    for (int64_t i = 0; i < options.reps; ++i) {
      append(even, decode_rates(same, tokens_after_first(same), /*reps=*/1, at_once));
      ragged.add([&] { return decode_rates(requests, useful, /*reps=*/1, at_once); });
      append(waiting, decode_rates(requests, useful, /*reps=*/1, in_batches));
      append(fixed, decode_rates(padded(requests, slots), useful, /*reps=*/1, in_batches));
    }
  }
};

void bench_one(const Bench& bench, const std::string& model, const std::string& dtype, int64_t slots) {
  const auto& options = bench.options;
  const auto network = make_bench_network(model, dtype);
  const int64_t prompt = options.prompt;
  const auto requests = make_requests(network->config(), prompt, /*group=*/1,
                                      spread_lengths(options.requests, options.new_tokens));
  RaggedRow row;
  const auto peers = beside_peers(
      bench, {.model = model, .batch = slots, .prompt = prompt, .new_tokens = options.new_tokens},
      [&] { row.measure(*network, requests, slots, options); });

  const auto useful = static_cast<double>(tokens_after_first(requests));
  const double share = useful / static_cast<double>(tokens_after_first(padded(requests, slots)));
  const double mean_length = 1 + useful / static_cast<double>(requests.size());
  const auto rate = summarise(row.ragged.rates);
  const double even = summarise(row.even).median, waiting = summarise(row.waiting).median,
               fixed = summarise(row.fixed).median;
  bench.report.add(
      {.row = "ragged",
       .model = model,
       .dtype = dtype,
       .batch = slots,
       .tokens_per_s = rate,
       .limit = decode_limit(Work(*network, dtype), bench.ceilings, slots,
                             static_cast<double>(prompt) + mean_length / 2),
       // A peer's batch is as long as its longest row.
       .peers = peer_rates(peers, dtype, [&](const PeerResult& peer) { return peer.decode_tok_s * share; }),
       .others = row.ragged.others,
       .more = {{"requests", options.requests},
                {"prompt", prompt},
                {"longest", options.new_tokens},
                {"threads", options.threads},
                {"even_tokens_per_s", even},
                {"even_share", rate.median / even},
                {"waiting_tokens_per_s", waiting},
                {"waiting_ratio", rate.median / waiting},
                {"static_tokens_per_s", fixed},
                {"static_ratio", rate.median / fixed}}});
}

}  // namespace

void bench_ragged(const Bench& bench) { for_each_row(bench, bench_one); }

}  // namespace sluice::app
