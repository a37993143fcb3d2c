#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <vector>

#include "app/bench/load.h"
#include "app/bench/rows.h"
#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::app {
namespace {

// Read: weight, gradient, both moments; written: all of them, the gradient with zeros. The norm that clips
// reads the gradient once more.
constexpr double kBytesOfNumber = 9 * sizeof(float);
constexpr double kNorm = 1.0;  // that both clip by

// Seconds of both, which take turns: what the neighbours leave of the memory moves by a factor.
struct Turns {
  std::vector<double> ours, torch, ratios;

  void add(double own, double other) {
    ours.push_back(own);
    torch.push_back(other);
    ratios.push_back(other / own);
  }
};

void fill(const std::vector<at::Tensor>& parameters) {
  for (const auto& parameter : parameters) parameter.grad().fill_(0.01);
}

void bench_one(const Bench& bench, const std::string& model) {
  model::Network network(bench_config(model), at::kCPU);
  network.init(1);
  transport::SoloCollective alone;
  optim::Optimizer optimizer(network, alone, {.max_grad_norm = kNorm}, /*total_steps=*/1'000'000);
  std::vector<at::Tensor> parameters;
  for (const auto& parameter : network.parameters()) parameters.push_back(parameter.tensor);
  torch::optim::AdamW theirs(parameters, torch::optim::AdamWOptions(1e-6));
  const LoadWatch watch;
  Turns turns;
  for (int64_t i = 0; i <= bench.options.reps; ++i) {  // the first one warms
    fill(parameters);
    const double ours = seconds_of([&] {
      optimizer.step();
      optimizer.zero_grad();
    });
    fill(parameters);
    at::set_num_threads(bench.options.threads);
    const double other = seconds_of([&] {
      torch::nn::utils::clip_grad_norm_(parameters, kNorm);
      theirs.step();
      for (const auto& parameter : parameters) parameter.grad().zero_();  // its own would detach our views
    });
    at::set_num_threads(1);
    if (i > 0) turns.add(ours, other);
  }
  const double ours = summarise(turns.ours).median, torch_s = summarise(turns.torch).median;
  const auto numbers = static_cast<double>(network.flat().numel());
  const double bytes = numbers * kBytesOfNumber;
  bench.report.add({.row = "adamw",
                    .model = model,
                    .dtype = "float32",
                    .batch = 1,
                    .tokens_per_s = {.median = numbers / ours},
                    .limit = Limit{numbers / (bytes / (bench.ceilings.read_gb_s(bytes) * 1e9)), "bytes"},
                    .peers = {{.name = "torch-cpp", .tokens_per_s = numbers / torch_s}},
                    .others = watch.others(),
                    .more = {{"threads", bench.options.threads},
                             {"ms", 1e3 * ours},
                             {"ratio", summarise(turns.ratios).median}}});
}

}  // namespace

void bench_adamw(const Bench& bench) {
  for (const auto& model : bench.options.models) bench_one(bench, model);
}

}  // namespace sluice::app
