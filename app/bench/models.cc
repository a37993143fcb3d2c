#include "app/bench/models.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "base/error.h"
#include "model/model_directory.h"

namespace sluice::app {
namespace {

Limit slower_of(double tokens, double flop, double bytes, const Work& work, const Ceilings& ceilings) {
  const double flop_s = flop / (ceilings.fma_gflop_s * 1e9);
  const double bytes_s = bytes / (ceilings.read_gb_s(work.weight_bytes) * 1e9);
  return flop_s > bytes_s ? Limit{tokens / flop_s, "flop"} : Limit{tokens / bytes_s, "bytes"};
}

}  // namespace

model::ModelConfig bench_config(const std::string& size) {
  model::LlamaShape shape{.max_position = 512, .rms_norm_eps = 1e-6, .tie_embeddings = true};
  const auto set = [&shape](int64_t hidden, int64_t layers, int64_t heads, int64_t kv_heads, int64_t head_dim,
                            int64_t intermediate, int64_t vocab) {
    shape.hidden_size = hidden;
    shape.num_layers = layers;
    shape.num_heads = heads;
    shape.num_kv_heads = kv_heads;
    shape.head_dim = head_dim;
    shape.intermediate_size = intermediate;
    shape.vocab_size = vocab;
  };
  if (size == "tiny") {
    set(128, 4, 4, 2, 32, 352, 1'024);
  } else if (size == "S") {
    set(256, 6, 4, 2, 64, 704, 4'096);
  } else if (size == "M") {
    set(512, 12, 8, 4, 64, 1'408, 16'384);
  } else {
    fail<UsageError>("bench: there is no model \"", size, "\"; there are tiny, S and M");
  }
  return model::llama_config(shape);
}

std::unique_ptr<model::Network> make_bench_network(const std::string& size, const std::string& dtype) {
  const bool rounded = dtype == "int8";
  auto network = std::make_unique<model::Network>(bench_config(size), at::kCPU,
                                                  rounded ? at::kFloat : model::dtype_named(dtype).value());
  network->init(1);
  if (rounded) network->round_products(model::Rounding::Int8);
  network->freeze();
  return network;
}

int bytes_of_weight(const std::string& dtype) { return dtype == "float32" ? 4 : dtype == "bfloat16" ? 2 : 1; }

Work::Work(const model::Network& network, const std::string& dtype) {
  const auto& config = network.config();
  const auto& attention = config.attention;
  const auto hidden = static_cast<double>(config.hidden_size),
             layers = static_cast<double>(config.num_layers());
  const auto queries = static_cast<double>(attention.num_heads * attention.head_dim);
  const auto keys = static_cast<double>(attention.num_kv_heads * attention.head_dim);
  const auto intermediate = static_cast<double>(config.intermediate_size);
  block_parameters = layers * hidden * (2 * queries + 2 * keys + 3 * intermediate);
  head_parameters = hidden * static_cast<double>(config.vocab_size);
  attention_flop = 4 * layers * queries;
  kv_bytes = 2 * layers * keys * sizeof(float);
  weight_bytes = static_cast<double>(network.flat().numel() * bytes_of_weight(dtype));
}

double Work::scored_flop(int64_t prompt, const std::vector<int64_t>& completions) const {
  const auto first = static_cast<double>(prompt);
  double flop = 2 * block_parameters * first + attention_flop * first * first / 2;
  for (const int64_t length : completions) {
    const auto tokens = static_cast<double>(length);
    flop +=
        2 * (block_parameters + head_parameters) * tokens + attention_flop * tokens * (first + tokens / 2);
  }
  return flop;
}

Limit decode_limit(const Work& work, const Ceilings& ceilings, int64_t batch, double context) {
  const auto rows = static_cast<double>(batch);
  const double flop = 2 * (work.block_parameters + work.head_parameters) + work.attention_flop * context;
  return slower_of(rows, rows * flop, work.weight_bytes + rows * context * work.kv_bytes, work, ceilings);
}

Limit flop_limit(double tokens, double flop, const Ceilings& ceilings, const std::string& dtype) {
  double gflop_s = ceilings.fma_gflop_s;
  if (dtype == "bfloat16") {
    gflop_s = std::max(
        {gflop_s, ceilings.bf16_dot_gflop_s.value_or(0.0), ceilings.bf16_tile_gflop_s.value_or(0.0)});
  }
  return {tokens / (flop / (gflop_s * 1e9)), "flop"};
}

Limit prefill_limit(const Work& work, const Ceilings& ceilings, int64_t prompts, int64_t length) {
  const auto sequences = static_cast<double>(prompts), tokens = static_cast<double>(length);
  const double flop = 2 * (work.block_parameters * tokens + work.head_parameters) +
                      work.attention_flop * tokens * tokens / 2;  // a token sees half of them in the mean
  return slower_of(sequences * tokens, sequences * flop, work.weight_bytes, work, ceilings);
}

}  // namespace sluice::app
