#include "app/bench/generation.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/philox.h"
#include "model/decoder.h"

namespace sluice::app {
namespace {

constexpr uint64_t kTokenSeed = 7;
constexpr uint64_t kSpecialIds = 3;  // padding, begin and end

}  // namespace

std::vector<int32_t> random_tokens(int64_t vocab, int64_t count, uint64_t stream) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  const uint64_t ordinary = static_cast<uint64_t>(vocab) - kSpecialIds;
  for (size_t t = 0; t < tokens.size(); ++t) {
    tokens[t] =
        static_cast<int32_t>(kSpecialIds + random_bits(kTokenSeed, RandomUse::Data, stream, t) % ordinary);
  }
  return tokens;
}

Requests make_requests(const model::ModelConfig& config, int64_t prompt, int64_t group,
                       const std::vector<int64_t>& lengths) {
  Requests requests;
  for (uint64_t i = 0; i < lengths.size(); ++i) {
    requests.push_back({.id = i,
                        .prompt = random_tokens(config.vocab_size, prompt, i),
                        .num_samples = group,
                        .seed = 1,
                        .group = i,
                        .sampling = {.temperature = 1, .max_new_tokens = lengths[i]}});
  }
  return requests;
}

Requests with_length(Requests requests, int64_t new_tokens) {
  for (auto& request : requests) request.sampling.max_new_tokens = new_tokens;
  return requests;
}

int64_t tokens_after_first(const Requests& requests) {
  int64_t tokens = 0;
  for (const auto& request : requests) tokens += request.num_samples * (request.sampling.max_new_tokens - 1);
  return tokens;
}

actors::Engine make_bench_engine(const model::Network& network, int64_t slots, const Requests& requests,
                                 int threads, std::unique_ptr<actors::Drafter> drafter) {
  int64_t longest = 0;
  for (const auto& request : requests) {
    longest = std::max(longest, std::ssize(request.prompt) + request.sampling.max_new_tokens);
  }
  // A page beside each completion, for its own copy of the one where its prompt ends.
  const int64_t tokens = slots * (actors::reserved_tokens(longest) + model::kPageTokens);
  return actors::Engine(network, /*stop_ids=*/{},
                        {.max_rows = slots, .cache_tokens = tokens, .threads = threads}, nullptr,
                        std::move(drafter));
}

double seconds_for(actors::Engine& engine, const Requests& requests) {
  const uint64_t preempted = engine.num_preempted();
  const auto began = std::chrono::steady_clock::now();
  for (const auto& request : requests) engine.submit(request);
  size_t finished = 0;
  while (!engine.idle()) finished += engine.step(/*version=*/0).size();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  require(finished == requests.size(), "bench: ", finished, " of ", requests.size(), " requests finished");
  require(engine.num_preempted() == preempted, "bench: the cache of the engine was too small");
  return seconds;
}

std::vector<double> decode_rates(const Requests& requests, int64_t counted, int64_t reps,
                                 const std::function<double(const Requests&)>& seconds) {
  const auto first_tokens = with_length(requests, 1);
  seconds(first_tokens);  // warm
  seconds(with_length(requests, 2));
  std::vector<double> first, rates;
  for (int64_t i = 0; i < reps; ++i) first.push_back(seconds(first_tokens));
  const double prompt_s = summarise(first).median;
  for (int64_t i = 0; i < reps; ++i) {
    // A rate of nothing but noise, of a handful of tokens, is still no negative one.
    const double decode_s = std::max(seconds(requests) - prompt_s, 1e-9);
    rates.push_back(static_cast<double>(counted) / decode_s);
  }
  return rates;
}

void Measured::add(const std::function<std::vector<double>()>& measure) {
  const LoadWatch watch;
  const auto more = measure();
  rates.insert(rates.end(), more.begin(), more.end());
  others = std::max(others, watch.others());
}

std::vector<PeerResult> beside_peers(const Bench& bench, PeerWork work, const std::function<void()>& ours) {
  ours();
  if (bench.peers == nullptr) return {};
  const auto& dtypes = bench.options.dtypes;
  work.threads = bench.options.threads;
  work.narrow = std::ranges::any_of(dtypes, [](const std::string& dtype) { return dtype != "float32"; });
  const auto results = bench.peers->measure(work);
  ours();
  return results;
}

std::vector<PeerRate> peer_rates(const std::vector<PeerResult>& results, const std::string& dtype,
                                 const std::function<double(const PeerResult&)>& rate) {
  const int bytes = bytes_of_weight(dtype);
  std::vector<PeerRate> rates;
  for (const auto& result : results) {
    rates.push_back({.name = result.peer + "-" + result.dtype,
                     .tokens_per_s = rate(result),
                     .counts = result.bytes_per_weight() >= bytes});
  }
  return rates;
}

int64_t group_of(const BenchOptions& options, int64_t batch) {
  const int64_t group = std::min(options.group > 0 ? options.group : batch >= 64 ? 8 : 1, batch);
  require<UsageError>(batch % group == 0, "bench: a batch of ", batch, " does not consist of groups of ",
                      group);
  return group;
}

}  // namespace sluice::app
