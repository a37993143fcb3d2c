#include "model/internal/block.h"

#include <ATen/ATen.h>

#include <tuple>

#include "model/families/family.h"
#include "model/internal/residual.h"

namespace sluice::model {
Block::Block(Parameters& parameters, const ModelConfig& config, int64_t index)
    : adapts_mlp_(!config.experts), numbers_{.first = parameters.num_numbers()} {
  const auto& names = config.family->names;
  const std::string prefix = std::string(names.layers) + std::to_string(index) + ".";
  const auto norm = [&](std::string_view name) {
    return Norm(parameters, prefix + std::string(name), config.hidden_size, config.norm, config.norm_eps);
  };
  attention_norm_ = norm(names.attention_norm);
  attention_ = make_attention(parameters, config, index, prefix);
  if (config.post_norms) attention_post_norm_ = norm(names.attention_post_norm);
  mlp_norm_ = norm(names.mlp_norm);
  mlp_ = make_feed_forward(parameters, config, index, prefix);
  if (config.post_norms) mlp_post_norm_ = norm(names.mlp_post_norm);
  numbers_.count = parameters.num_numbers() - numbers_.first;
}

void Block::bind(Parameters& parameters) {
  for (Norm* norm : {&attention_norm_, &attention_post_norm_, &mlp_norm_, &mlp_post_norm_}) {
    if (*norm) norm->bind(parameters);
  }
  attention_->bind(parameters);
  mlp_->bind(parameters);
}

at::Tensor Block::forward(at::Tensor hidden, Pass& pass) const {
  auto [stream, read] = for_two(hidden);
  auto attended = attention_->forward(attention_norm_(read), pass);
  if (attention_post_norm_) attended = attention_post_norm_(attended);
  std::tie(stream, read) = for_two(add_to_stream(stream, attended));
  auto fed = mlp_->forward(mlp_norm_(read), pass);
  if (mlp_post_norm_) fed = mlp_post_norm_(fed);
  return add_to_stream(stream, fed);
}

void Block::describe(cpu::TransformerLayer& layer, RawVectors& vectors) const {
  layer.attention_norm = attention_norm_.describe(vectors);
  attention_->describe(layer, vectors);
  layer.mlp_norm = mlp_norm_.describe(vectors);
  mlp_->describe(layer, vectors);
  if (attention_post_norm_) layer.attention_post_norm = attention_post_norm_.describe(vectors);
  if (mlp_post_norm_) layer.mlp_post_norm = mlp_post_norm_.describe(vectors);
}

std::vector<Linear*> Block::linears() {
  auto all = attention_->linears();
  if (!adapts_mlp_) return all;
  for (Linear* linear : mlp_->linears()) all.push_back(linear);
  return all;
}

}  // namespace sluice::model
