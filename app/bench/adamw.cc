#include <ATen/ATen.h>
#include <torch/optim/adamw.h>

#include <functional>
#include <vector>

#include "app/bench/load.h"
#include "app/bench/rows.h"
#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::app {
namespace {

// Read: weight, gradient, both moments; written: all but the gradient. The norm that clips reads the gradient
// once more.
constexpr double kBytesOfNumber = 8 * sizeof(float);

double median_seconds(int64_t reps, const std::function<void()>& work) {
  std::vector<double> seconds;
  work();  // warms
  for (int64_t i = 0; i < reps; ++i) {
    seconds.push_back(seconds_of(work));
  }
  return summarise(seconds).median;
}

void bench_one(const Bench& bench, const std::string& model) {
  model::Network network(bench_config(model), at::kCPU);
  network.init(1);
  transport::SoloCollective alone;
  optim::Optimizer optimizer(network, alone, {}, /*total_steps=*/1'000'000);
  std::vector<at::Tensor> parameters;
  for (const auto& parameter : network.parameters()) {
    parameter.tensor.grad().normal_();
    parameters.push_back(parameter.tensor);
  }
  const LoadWatch watch;
  const double ours = median_seconds(bench.options.reps, [&] { optimizer.step(); });
  torch::optim::AdamW theirs(parameters, torch::optim::AdamWOptions(1e-6));
  const double torch_s = median_seconds(bench.options.reps, [&] { theirs.step(); });
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
                    .more = {{"threads", bench.options.threads}, {"ms", 1e3 * ours}}});
}

}  // namespace

void bench_adamw(const Bench& bench) {
  for (const auto& model : bench.options.models) bench_one(bench, model);
}

}  // namespace sluice::app
