// One definition of the network for actor, learner, reference and supervised training.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/block_weights.h"
#include "model/kv_cache.h"
#include "model/lora.h"
#include "model/model_config.h"
#include "model/operators.h"
#include "model/packed_batch.h"
#include "model/parameters.h"
#include "model/weight_snapshot.h"

namespace sluice::model {

namespace cpu {
struct Transformer;
}

// Of the targets of one batch.
struct BatchLogprobs {
  at::Tensor logprobs;      // [targets] float32
  at::Tensor entropy;       // [targets] float32
  at::Tensor is_top;        // [targets] bool: no other token is likelier
  at::Tensor hidden;        // [targets, hidden], without gradients: what the logits are made of
  at::Tensor balance_loss;  // scalar, mean of balance_loss() over the layers with experts; undefined without
                            // gradients and without softmax routers
};

// Not safe from several threads at once.
class Network {
 public:
  // Parameters are allocated in one flat buffer of `dtype` (float32, bfloat16 or float64) and left
  // uninitialised. bfloat16 is storage, of all but buffers: numbers are computed in float32, and nothing can
  // be trained.
  Network(const ModelConfig& config, const at::Device& device, at::ScalarType dtype = at::kFloat);
  ~Network();
  // One that has nothing to compute with before bind_window(): float32, and never trained.
  static std::unique_ptr<Network> without_weights(const ModelConfig& config, const at::Device& device);
  // The parameters that a network of this shape has, unbound: nothing of their size is allocated.
  static Parameters declare(const ModelConfig& config);

  // Normal(0, 0.02) by Philox, norms 1, biases 0: the same on every machine.
  void init(uint64_t seed);

  const ModelConfig& config() const { return config_; }
  // Gradients are off from here on, and nobody writes to the weights: products read a packed copy of them.
  // What is computed has the same bits as before.
  void freeze();
  // What products multiply with from here on, and of weights that map() brings; embeddings, norms and biases
  // stay as they are, and so do the weights themselves. bfloat16 gives the same bits frozen and trained; Int8
  // is for the frozen, where kernels_serve() and on the CPU. Before adapters and optimizers; latent attention
  // has none of it.
  void round_products(Rounding rounding);
  Rounding rounding() const { return weights_.rounding(); }
  // Whether a backward computes each block again from its input, which is all that is kept of it: the same
  // gradients, bit for bit, for the memory of one block and a third more arithmetic.
  void checkpoint_blocks(bool checkpoints) { checkpoints_ = checkpoints; }
  // The weights of a block are there only between a gather() and the release() after it, and a backward
  // computes each block again, as with checkpoint_blocks(). Null, as it begins: they are there always.
  // `weights` outlives this.
  void bring_blocks(BlockWeights* weights) { block_weights_ = weights; }
  BlockNumbers block_numbers(int64_t block) const;
  // Of a network without weights: what is outside of its blocks lies in `memory` [window_numbers()], and
  // behind it one block at a time, brought by who bring_blocks() names. Undefined: nothing is there again.
  void bind_window(const at::Tensor& memory);
  int64_t window_numbers() const;
  // What save_model() writes as the ids that end a generation.
  void set_eos_ids(std::vector<int64_t> ids) { config_.eos_ids = std::move(ids); }
  const at::Device& device() const { return device_; }
  CacheLayout cache_layout() const;
  // What the kernels' own forward reads, its rotary tables reaching that position; null where it does not
  // compute this network, or its weights are not frozen. Valid until the weights change.
  const cpu::Transformer* transformer(int64_t max_position) const;

  // Hidden states after the last norm, [rows, hidden]. With a view, keys and values of the batch's rows are
  // written to the cache and attention reads from it, without gradients and prefix links; without a view the
  // batch stands alone. Throws Error for a token outside the vocabulary or a position outside the tables.
  at::Tensor forward(const PackedBatch& batch, const CacheView* view = nullptr) const;

  // Throws Error for what forward() and logprobs() would; the highest position of the batch.
  int64_t check(const PackedBatch& batch) const;
  int64_t check(const PackedBatch& batch, const TokenTargets& targets) const;
  // Log-probs of the targets: forward, then token_logprobs() of the target rows. `embedding_noise` [rows,
  // hidden] is added to what is looked up for the tokens, where there is some.
  BatchLogprobs logprobs(const PackedBatch& batch, const TokenTargets& targets, double temperature,
                         const at::Tensor& embedding_noise = {}) const;
  // Logits of hidden states over temperature, for the sampler: [rows, vocab] float32.
  at::Tensor scaled_logits(const at::Tensor& hidden, double temperature) const;
  // The mean over the vocabulary of each row's logits, without gradients: [rows] float32.
  at::Tensor mean_logits(const at::Tensor& hidden) const;

  Weight head() const;  // [vocab, hidden]; the embedding when tied

  // Of a network with a scalar head, which has none of the three above: its output at these rows [n] int64 of
  // the batch, [n] float32 (float64 of such weights).
  at::Tensor scores(const PackedBatch& batch, const at::Tensor& rows) const;

  // All weights, with the names of the safetensors file and in its order. Writing to weights().flat() changes
  // the network.
  const Parameters& weights() const { return weights_; }
  const std::vector<NamedTensor>& parameters() const { return weights_.tensors(); }
  const at::Tensor& flat() const { return weights_.flat(); }
  // What an optimizer moves: the adapters when there are some, else all weights.
  const Parameters& trained() const { return adapter_ ? *adapter_ : weights_; }

  // The parameters that an adapter of such a network has, unbound: NAME.lora_A.weight [rank, in] and
  // NAME.lora_B.weight [out, rank] for each matrix that `lora` names. Throws DataError for a target that no
  // matrix has.
  static Parameters declare_adapter(const ModelConfig& config, const LoraConfig& lora);
  // Adds such an adapter, A Kaiming-uniform by Philox and B zero, and freezes all else: what the network
  // computes does not change.
  void add_adapter(const LoraConfig& lora, uint64_t seed);
  const std::optional<LoraConfig>& lora() const { return lora_; }
  // Whether they take part in what is computed and in merged_flat(); as they come, they do.
  void use_adapter(bool uses);
  // Adds scale * B A to the weights, in float32, and drops the adapters.
  void merge_adapter();

  // Fills the weights, tensor by tensor: `read` gives one in the network's order of sizes, `stored_type` what
  // it was stored in.
  void load(const std::function<at::Tensor(const ParameterSlot&)>& read,
            const std::function<at::ScalarType(const ParameterSlot&)>& stored_type);

  // flat(), or a copy of it with the adapters merged in when there are some.
  at::Tensor merged_flat() const;
  std::string weights_hash() const;  // SHA-256 of merged_flat()'s bytes

  // merged_flat() of such a network, for networks of the same shape that compute on `device` with products
  // rounded so: panels where the kernels' own forward computes them.
  static WeightSnapshot snapshot(const ModelConfig& config, const at::Device& device, Rounding rounding,
                                 at::Tensor flat);
  static int64_t snapshot_bytes(const ModelConfig& config, const at::Device& device, Rounding rounding);
  // Lets the parameters be views of what a snapshot wrote, kept alive by the caller (the actor's mapped
  // weights): frozen from then on. On the CPU nothing is copied, and nothing packed unless it has rows.
  // Throws Error for a layout that is neither rows nor this network's own.
  void map(std::string_view layout, const void* image, int64_t bytes);

 private:
  struct Layers;

  struct NoWeights {};
  Network(const ModelConfig& config, const at::Device& device, NoWeights);
  void bind(const at::Tensor& flat, bool requires_grad, bool constant = false);
  void bind_layers();
  void add_deltas(const at::Tensor& flat) const;  // scale * B A of every adapter
  at::Tensor embed(const PackedBatch& batch, const at::Tensor& noise) const;
  at::Tensor run(const PackedBatch& batch, const CacheView* view, at::Tensor* balance = nullptr,
                 const at::Tensor& noise = {}) const;

  ModelConfig config_;
  at::Device device_;
  Parameters weights_;
  std::unique_ptr<Parameters> adapter_;
  std::optional<LoraConfig> lora_;
  std::unique_ptr<Layers> layers_;
  Weight head_;  // without the rows, which head() knows
  bool uses_adapter_ = true;
  bool has_window_ = false;  // and no weights of its own
  bool checkpoints_ = false;
  BlockWeights* block_weights_ = nullptr;
};

}  // namespace sluice::model
