// One definition of the network for actor, learner, reference and supervised training.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/kv_cache.h"
#include "model/model_config.h"
#include "model/operators.h"
#include "model/packed_batch.h"
#include "model/weight_snapshot.h"

namespace sluice::model {

// Not safe from several threads at once.
class Network {
 public:
  // Parameters are allocated in one flat float32 buffer and left uninitialised.
  Network(const ModelConfig& config, const at::Device& device);

  // Normal(0, 0.02) by Philox, norms 1: the same on every machine.
  void init(uint64_t seed);

  const ModelConfig& config() const { return config_; }
  const at::Device& device() const { return device_; }
  CacheLayout cache_layout() const;

  // Hidden states after the last norm, [rows, hidden]. With a view, keys and values of the batch's rows are
  // written to the cache and attention reads from it, without gradients and prefix links; without a view the
  // batch stands alone. Throws Error for a token outside the vocabulary or a position outside the tables.
  at::Tensor forward(const PackedBatch& batch, const CacheView* view = nullptr) const;

  // Log-probs of the targets: forward, then token_logprobs() of the target rows.
  TokenLogprobs logprobs(const PackedBatch& batch, const TokenTargets& targets, double temperature) const;

  const at::Tensor& head() const;  // [vocab, hidden]; the embedding when tied

  // Leaves that require grad, with the names of the safetensors file and in its order; views of flat().
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  // All parameters end to end, [num_parameters] float32; writing here changes the network.
  const at::Tensor& flat() const { return flat_; }

  // Copies the weights out (with their hash) and in. Tensors whose names or shapes differ are a DataError.
  WeightSnapshot snapshot(int64_t version) const;
  void load(const std::vector<NamedTensor>& tensors);
  // Lets the parameters be views of `bytes`, flat()'s bytes kept alive by the caller (the actor's mapped
  // weights). Nothing is copied; gradients are off from then on.
  void map(const float* bytes, int64_t count);

 private:
  struct Layer {
    at::Tensor input_norm;
    FusedWeight qkv;
    at::Tensor output;
    at::Tensor mlp_norm;
    FusedWeight gate_up;
    at::Tensor down;
  };

  struct Pass;  // what the layers of one forward share

  void make_views(bool requires_grad);  // parameters_ and layers_ onto flat_
  at::Tensor attend(const Layer& layer, const at::Tensor& x, const PackedBatch& batch, Pass& pass) const;
  void check(const PackedBatch& batch) const;

  ModelConfig config_;
  at::Device device_;
  at::Tensor flat_;
  std::vector<NamedTensor> parameters_;
  std::vector<Layer> layers_;
  at::Tensor cos_, sin_;  // [max_position, head_dim / 2]
};

}  // namespace sluice::model
