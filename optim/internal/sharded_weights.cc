#include "optim/internal/sharded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/stopwatch.h"
#include "model/tensor_bytes.h"
#include "optim/internal/lent_pages.h"
#include "optim/internal/shard_parts.h"

namespace sluice::optim {
namespace {

std::vector<Shard> blocks_of(const model::Network& network) {
  std::vector<Shard> blocks;
  for (int64_t i = 0; i < network.config().num_layers(); ++i) {
    const auto numbers = network.block_numbers(i);
    require(blocks.empty() || blocks.back().first + blocks.back().count == numbers.first,
            "ShardedWeights: block ", i, " does not begin where the one before it ends");
    blocks.push_back({.first = numbers.first, .count = numbers.count});
  }
  return blocks;
}

Shard together(const std::vector<Shard>& blocks) {
  const int64_t first = blocks.front().first;
  return {.first = first, .count = blocks.back().first + blocks.back().count - first};
}

}  // namespace

ShardedWeights::ShardedWeights(model::Network& network, const at::Tensor& grad, const Shard& own,
                               transport::Collective& ranks)
    : network_(network),
      ranks_(ranks),
      own_(own),
      weights_(network.flat().variable_data()),
      grad_(grad.variable_data()),
      own_grad_(at::zeros({own.count}, grad.options())),
      blocks_(blocks_of(network)),
      root_(other_parts({.first = 0, .count = grad.numel()}, together(blocks_))) {
  use_small_pages(weights_);
  use_small_pages(grad_);
  give_back(grad_);
  network_.bring_blocks(this);
}

ShardedWeights::~ShardedWeights() { network_.bring_blocks(nullptr); }

void ShardedWeights::sum(at::Tensor numbers) {
  const Stopwatch waited;
  ranks_.begin_sum(std::move(numbers))();
  wait_s_ += waited.seconds();
}

void ShardedWeights::fill(const Shard& part) {
  const Stopwatch waited;
  share_parts(weights_, part, ranks_);
  wait_s_ += waited.seconds();
}

void ShardedWeights::gather(int64_t block) {
  if (!is_whole_) fill(blocks_[static_cast<size_t>(block)]);
}

void ShardedWeights::release(int64_t block) {
  if (is_whole_) return;
  for (const auto& part : other_parts(blocks_[static_cast<size_t>(block)], own_)) {
    give_back(part_of(weights_, part));
  }
}

void ShardedWeights::take_gradient(int64_t block) {
  const c10::NoGradGuard no_grad;
  const auto& all = blocks_[static_cast<size_t>(block)];
  sum(part_of(grad_, all));
  const auto own = common_part(all, own_);
  if (own.count > 0) own_grad_.narrow(0, own.first - own_.first, own.count).add_(part_of(grad_, own));
  give_back(part_of(grad_, all));
}

void ShardedWeights::idle_forward() {
  for (int64_t block = 0; block < std::ssize(blocks_); ++block) {
    gather(block);
    release(block);
  }
}

void ShardedWeights::idle_backward() {
  for (int64_t block = std::ssize(blocks_); block-- > 0;) {
    gather(block);
    take_gradient(block);
    release(block);
  }
}

void ShardedWeights::begin_update() {
  require(!is_gathered_, "ShardedWeights: an update, while all weights are gathered");
  if (std::exchange(is_whole_, false)) {
    for (int64_t block = 0; block < std::ssize(blocks_); ++block) release(block);
  }
  own_grad_.zero_();
  for (const auto& part : root_) part_of(grad_, part).zero_();
  give_back(part_of(grad_, together(blocks_)));  // what a pass left that came to no end
}

at::Tensor ShardedWeights::sum_gradient() {
  const c10::NoGradGuard no_grad;
  for (const auto& part : root_) {
    if (part.count == 0) continue;
    sum(part_of(grad_, part));
    const auto own = common_part(part, own_);
    if (own.count > 0) own_grad_.narrow(0, own.first - own_.first, own.count).copy_(part_of(grad_, own));
  }
  return own_grad_;
}

void ShardedWeights::share_root() {
  const c10::NoGradGuard no_grad;
  for (const auto& part : root_) fill(part);
}

void ShardedWeights::gather_all() {
  require(!is_gathered_, "ShardedWeights: all weights are gathered twice");
  if (is_whole_) return;
  for (int64_t block = 0; block < std::ssize(blocks_); ++block) {
    gather(block);
    if (ranks_.rank() != 0) release(block);
  }
  is_gathered_ = is_whole_ = ranks_.rank() == 0;
}

void ShardedWeights::release_all() {
  if (!std::exchange(is_gathered_, false)) return;
  is_whole_ = false;
  for (int64_t block = 0; block < std::ssize(blocks_); ++block) release(block);
}

std::string ShardedWeights::hash_in_common() const {
  if (is_whole_) return network_.weights_hash();
  std::string hashes;
  for (const auto& part : root_) {
    const auto numbers = part_of(weights_, part);
    hashes += sha256_hex(model::bytes_of(numbers));
  }
  return sha256_hex(hashes);
}

double ShardedWeights::take_wait_seconds() { return std::exchange(wait_s_, 0.0); }

}  // namespace sluice::optim
