// What a step sums over ranks while its backward is under way.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/graph_task.h>

#include <memory>
#include <utility>

#include "model/network.h"
#include "transport/collective.h"

namespace sluice {

// The first of two ranks, the other of which adds nothing.
class EarlySums final : public transport::Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& /*tensor*/) override {
    if (torch::autograd::get_current_graph_task_id() != -1) ++num_early_;
  }
  void broadcast(at::Tensor&, int64_t /*root*/) override {}  // the other has the same
  // Since the last call.
  int64_t take() { return std::exchange(num_early_, 0); }

 private:
  int64_t num_early_ = 0;
};

// Large enough that the optimizer sums its gradient in several stretches.
inline std::unique_ptr<model::Network> wide_network() {
  model::LlamaShape shape;
  shape.vocab_size = 23;
  shape.hidden_size = 256;
  shape.intermediate_size = 512;
  shape.num_layers = 2;
  shape.num_heads = 4;
  shape.num_kv_heads = 2;
  shape.head_dim = 64;
  shape.max_position = 64;
  auto network = std::make_unique<model::Network>(model::llama_config(shape), at::kCPU);
  network->init(/*seed=*/7);
  return network;
}

}  // namespace sluice
