#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/bench/completions.h"
#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "base/error.h"
#include "learner/policy_learner.h"
#include "optim/optimizer.h"
#include "reference/reference_policy.h"
#include "transport/collective.h"

namespace sluice::app {
namespace {

constexpr int64_t kManySteps = 1'000'000;  // of the learning rate's schedule
constexpr int64_t kShortest = 8;           // new tokens of the shortest of completions that differ

struct Kind {
  const char* row;
  PeerTask task;  // that does the same
  bool ragged;    // completions differ in length and share prompts
  double passes;  // forwards that its products are worth
  bool narrow;    // also with products of bfloat16
};

// Does the work once and again.
using Work = std::function<void()>;

std::vector<double> rates_of(const Work& work, double tokens, int64_t reps) {
  std::vector<double> rates;
  work();  // warms
  for (int64_t i = 0; i < reps; ++i) {
    rates.push_back(tokens / seconds_of(work));
  }
  return rates;
}

void bench_one(const Bench& bench, const Kind& kind, const std::string& model, const std::string& dtype,
               int64_t batch, const std::function<Work(model::Network&, const Completions&)>& work_of) {
  auto options = bench.options;
  options.dtypes = {dtype};
  model::Network network(bench_config(model), at::kCPU);
  network.init(1);
  if (dtype == "bfloat16") network.round_products(model::Rounding::BFloat16Both);
  const int64_t group = kind.ragged ? group_of(options, batch) : 1;
  const auto completions = make_completions(
      network, {.batch = batch,
                .group = group,
                .prompt = options.prompt,
                .shortest = kind.ragged ? std::min(kShortest, options.new_tokens) : options.new_tokens,
                .longest = options.new_tokens});
  Measured measured;
  const PeerWork work{.task = kind.task,
                      .model = model,
                      .batch = batch,
                      .prompt = options.prompt,
                      .new_tokens = options.new_tokens,
                      .ragged = kind.ragged};
  const auto peers = beside_peers({options, bench.ceilings, bench.peers, bench.report}, work, [&] {
    measured.add([&] { return rates_of(work_of(network, completions), completions.tokens, options.reps); });
  });
  Json more = {{"prompt", options.prompt},
               {"new", options.new_tokens},
               {"group", group},
               {"threads", options.threads}};
  const auto rate = summarise(measured.rates);
  if (dtype == "bfloat16" && bench.ceilings.bf16_dot_gflop_s) {
    const double flop_of_token = kind.passes * completions.flop / completions.tokens;
    more["share_of_bf16_dot"] = rate.median * flop_of_token / (*bench.ceilings.bf16_dot_gflop_s * 1e9);
  }
  bench.report.add(
      {.row = kind.row,
       .model = model,
       .dtype = dtype,
       .batch = batch,
       .tokens_per_s = rate,
       .limit = flop_limit(completions.tokens, kind.passes * completions.flop, bench.ceilings, dtype),
       .peers = peer_rates(peers, dtype, [](const PeerResult& peer) { return peer.tokens_s; }),
       .others = measured.others,
       .more = std::move(more)});
}

Work learning(model::Network& network, const Completions& completions) {
  struct Learner {
    explicit Learner(model::Network& network)
        : optimizer(network, alone, {}, kManySteps), learner(network, nullptr, optimizer, {}) {}
    transport::SoloCollective alone;
    optim::Optimizer optimizer;
    learner::PolicyLearner learner;
  };
  auto learner = std::make_shared<Learner>(network);
  return [learner, &completions] { learner->learner.step(completions.batch, /*version=*/0); };
}

// As the KL to a reference takes them.
Work scoring(model::Network& network, const Completions& completions) {
  auto copy = std::make_unique<model::Network>(network.config(), at::kCPU);
  copy->init(1);
  auto reference = std::make_shared<reference::ReferencePolicy>(std::move(copy));
  return [reference, &completions] {
    const int64_t rows = learner::PolicyLearnerOptions{}.micro_batch_tokens;
    for (const auto& micro : learner::cut_into_micro_batches(completions.batch, rows, at::kCPU))
      reference->logprobs(micro.batch, micro.targets, /*temperature=*/1.0);
  };
}

void bench_all(const Bench& bench, const Kind& kind,
               const std::function<Work(model::Network&, const Completions&)>& work_of) {
  std::vector<std::string> dtypes = {"float32"};
  if (kind.narrow) dtypes = bench.options.dtypes;
  std::erase(dtypes, "int8");
  require<UsageError>(!dtypes.empty(), "bench ", kind.row, ": nothing learns with weights of int8");
  for (const auto& model : bench.options.models) {
    for (const auto& dtype : dtypes) {
      for (const int64_t batch : bench.options.batches) bench_one(bench, kind, model, dtype, batch, work_of);
    }
  }
}

}  // namespace

void bench_learn(const Bench& bench) {
  bench_all(bench, {"learn", PeerTask::Learn, /*ragged=*/false, /*passes=*/3, /*narrow=*/true}, learning);
}

void bench_learn_ragged(const Bench& bench) {
  bench_all(bench, {"learn_ragged", PeerTask::Learn, /*ragged=*/true, /*passes=*/3, /*narrow=*/false},
            learning);
}

void bench_logprob(const Bench& bench) {
  bench_all(bench, {"logprob", PeerTask::Score, /*ragged=*/false, /*passes=*/1, /*narrow=*/false}, scoring);
}

}  // namespace sluice::app
