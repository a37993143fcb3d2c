// The rows of `sluice bench`: each measures one kind of work and reports it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/bench/ceilings.h"
#include "app/bench/peers.h"
#include "app/bench/report.h"

namespace sluice::app {

struct BenchOptions {
  std::vector<std::string> models, dtypes;
  std::vector<int64_t> batches;       // completions decoded together
  int64_t group = 0;                  // that share a prompt; 0: 8 in batches of 64 and more, else 1
  int64_t prompt = 0;                 // tokens
  int64_t new_tokens = 0;             // of each completion, of the longest where they differ
  int64_t requests = 256;             // ragged
  int64_t steps = 1000;               // steady, steady_learner, read
  std::vector<int64_t> megabytes;     // read
  std::vector<int64_t> vocabularies;  // sampler, memory
  int threads = 2;
  int64_t reps = 5;
};

struct Bench {
  const BenchOptions& options;
  const Ceilings& ceilings;
  const Peers* peers;  // null without
  Report& report;
};

// Calls f(bench, model, dtype, batch) for all of the options'.
template <class F>
void for_each_row(const Bench& bench, F f) {
  for (const auto& model : bench.options.models) {
    for (const auto& dtype : bench.options.dtypes) {
      for (const int64_t batch : bench.options.batches) f(bench, model, dtype, batch);
    }
  }
}

void bench_decode(const Bench& bench);
void bench_ragged(const Bench& bench);
void bench_prefill(const Bench& bench);
// 1,000 steps of one engine whose slots are refilled: the memory of the process must not grow.
void bench_steady(const Bench& bench);
// The same of a learner's steps, of completions of new lengths each.
void bench_steady_learner(const Bench& bench);
// What a token of a supervised stage costs before it is learned, from files of different sizes.
void bench_read(const Bench& bench);
// Greedy, where a network of random weights soon repeats itself, and sampled, where nothing can be foreseen.
void bench_draft(const Bench& bench);
void bench_sampler(const Bench& bench);
// A step of GRPO's loss, its gradients and its AdamW update: of even lengths without a prompt in common, and
// of different ones in groups.
void bench_learn(const Bench& bench);
void bench_learn_ragged(const Bench& bench);
// Log-probs of given completions under frozen weights.
void bench_logprob(const Bench& bench);
// Whole steps of `sluice run` with a native reward, in samples a second; and with one of Python that sleeps,
// of actors that may be a step behind against those that wait for every update.
void bench_grpo(const Bench& bench);
void bench_grpo_slow_reward(const Bench& bench);
// Completions scored a second, by built-in rewards and a Python one, against calls of the same function.
void bench_rewards(const Bench& bench);
// The update alone, in parameters a second.
void bench_adamw(const Bench& bench);
// Weights packed where actors map them, against one memcpy of as many bytes; a rate of versions a second.
void bench_publish(const Bench& bench);

// The most memory that a learner takes as its vocabulary grows, each in a process of its own, and the slope
// between the last two in copies of the vocabulary's weights.
void bench_memory(const std::vector<int64_t>& vocabularies, int64_t batch, int threads, Report& report);
// What such a process does: prints a line with its peak.
void measure_memory_here(int64_t vocab, int64_t batch, int threads);

// The log-probs that the engine records against those that a network with gradients computes of the same
// weights, bit for bit. Names are models of ours or model directories; without names several shapes are
// tried. Returns whether all are equal.
bool bench_match(const std::vector<std::string>& names, const std::vector<std::string>& dtypes,
                 Report& report);

}  // namespace sluice::app
