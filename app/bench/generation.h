// What the rows that generate have in common: requests of random prompts, the clock, and ours beside the
// peers.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "actors/engine.h"
#include "app/bench/rows.h"

namespace sluice::app {

using Requests = std::vector<actors::GenerationRequest>;

// The same each time; `stream` names them. Without the special ones.
std::vector<int32_t> random_tokens(int64_t vocab, int64_t count, uint64_t stream);
// Prompts of random tokens, a different one for each request; `lengths` are what their samples generate.
Requests make_requests(const model::ModelConfig& config, int64_t prompt, int64_t group,
                       const std::vector<int64_t>& lengths);
Requests with_length(Requests requests, int64_t new_tokens);
// Of all samples together, without the first of each.
int64_t tokens_after_first(const Requests& requests);

// An engine with room for so many completions of these lengths at once.
actors::Engine make_bench_engine(const model::Network& network, int64_t slots, const Requests& requests,
                                 int threads, std::unique_ptr<actors::Drafter> drafter = nullptr);
// Seconds until all are finished.
double seconds_for(actors::Engine& engine, const Requests& requests);

// Tokens a second of each repetition: `counted` over the time of the requests, less that of their first
// tokens. So prompt and start-up cancel.
std::vector<double> decode_rates(const Requests& requests, int64_t counted, int64_t reps,
                                 const std::function<double(const Requests&)>& seconds);

struct Measured {
  std::vector<double> rates;
  double others = 0;  // the most that others kept busy

  // Adds what `measure` gives, with the load meanwhile.
  void add(const std::function<std::vector<double>()>& measure);
};

// Ours, the peers, ours again, so that a machine that changes its speed favours nobody. Without peers ours
// once.
std::vector<PeerResult> beside_peers(const Bench& bench, PeerWork work, const std::function<void()>& ours);
// `rate` of each result, counting where its weights take the bytes of `dtype` or more.
std::vector<PeerRate> peer_rates(const std::vector<PeerResult>& results, const std::string& dtype,
                                 const std::function<double(const PeerResult&)>& rate);

int64_t group_of(const BenchOptions& options, int64_t batch);

}  // namespace sluice::app
