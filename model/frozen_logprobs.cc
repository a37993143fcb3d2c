#include "model/frozen_logprobs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/shared_work.h"
#include "model/decoder.h"
#include "model/kernels/kernels.h"
#include "model/kernels/transformer.h"

namespace sluice::model {
namespace {

// Rows that go through the network together, at least where a sequence has fewer: products of few rows wait
// for their weights.
constexpr int64_t kTogether = 256;

// Which targets each row of the batch is asked about.
class Questions {
 public:
  Questions(const TokenTargets& targets, int64_t num_rows)
      : rows_(targets.rows.contiguous()),
        tokens_(targets.tokens.contiguous()),
        first_(static_cast<size_t>(num_rows) + 1, 0),
        targets_(static_cast<size_t>(rows_.numel())) {
    const std::span rows(rows_.const_data_ptr<int64_t>(), targets_.size());
    for (const int64_t row : rows) ++first_[static_cast<size_t>(row) + 1];
    std::partial_sum(first_.begin(), first_.end(), first_.begin());
    auto next = first_;
    for (size_t target = 0; target < rows.size(); ++target)
      targets_[next[static_cast<size_t>(rows[target])]++] = target;
  }

  std::span<const size_t> of(int64_t row) const {
    const auto at = static_cast<size_t>(row);
    return {targets_.data() + first_[at], first_[at + 1] - first_[at]};
  }
  int64_t token(size_t target) const { return tokens_.const_data_ptr<int64_t>()[target]; }

 private:
  const at::Tensor rows_, tokens_;
  std::vector<size_t> first_;    // [rows + 1] of targets_
  std::vector<size_t> targets_;  // by row
};

struct Work {
  const cpu::Transformer& network;
  const PackedBatch& batch;
  const std::vector<int32_t> tokens;
  const Questions questions;
  const float temperature;
  float* const logprobs;

  int64_t count(int64_t sequence) const {
    return batch.starts[static_cast<size_t>(sequence) + 1] - batch.starts[static_cast<size_t>(sequence)];
  }
  // What of a sequence is asked about: from the first such row to its end.
  int64_t num_logits(int64_t sequence) const {
    const int64_t end = batch.starts[static_cast<size_t>(sequence) + 1];
    int64_t row = batch.starts[static_cast<size_t>(sequence)];
    while (row < end && questions.of(row).empty()) ++row;
    return end - row;
  }
  // As token_logprobs() computes them.
  void answer(int64_t row, std::span<float> logits) const {
    const auto targets = questions.of(row);
    if (targets.empty()) return;
    if (temperature != 1.0f) {
      for (float& logit : logits) logit /= temperature;
    }
    cpu::LogitSums sums;
    cpu::kernels().add_logits(logits.data(), 1, std::ssize(logits), &sums);
    const float lse = cpu::log_sum_exp(sums);
    for (const size_t target : targets)
      logprobs[target] = logits[static_cast<size_t>(questions.token(target))] - lse;
  }
};

// A sequence without a prefix and those whose prefix it is.
struct PrefixGroup {
  int64_t root = 0;
  std::vector<int64_t> followers;
  int64_t rows = 0;
};

std::vector<PrefixGroup> prefix_groups(const PackedBatch& batch) {
  std::vector<PrefixGroup> groups;
  std::vector<size_t> group_of(batch.prefix.size());
  for (int64_t sequence = 0; sequence < batch.num_sequences(); ++sequence) {
    const auto at = static_cast<size_t>(sequence);
    if (batch.prefix[at] == kNoPrefix) {
      group_of[at] = groups.size();
      groups.push_back({.root = sequence, .followers = {}});
    } else {
      group_of[at] = group_of[static_cast<size_t>(batch.prefix[at])];
      groups[group_of[at]].followers.push_back(sequence);
    }
    groups[group_of[at]].rows += batch.starts[at + 1] - batch.starts[at];
  }
  return groups;
}

// Neighbours that are small go together, so that each part has kTogether rows at least, but for the last.
template <class Item, class RowsOf>
std::vector<std::span<Item>> cut(std::span<Item> items, const RowsOf& rows_of) {
  std::vector<std::span<Item>> parts;
  for (size_t first = 0, end = 0; first < items.size(); first = end) {
    for (int64_t rows = 0; end < items.size() && rows < kTogether; ++end) rows += rows_of(items[end]);
    parts.push_back(items.subspan(first, end - first));
  }
  return parts;
}

// What one thread computes some groups with.
class Lane {
 public:
  explicit Lane(const Work& work) : work_(work) {}

  void compute(std::span<const PrefixGroup> groups) {
    std::vector<Member> roots, followers;
    int32_t num_pages = 0;
    for (const auto& group : groups) {
      Member root{.sequence = group.root};
      root.pages.resize(static_cast<size_t>(pages_for(work_.count(group.root))));
      std::iota(root.pages.begin(), root.pages.end(), num_pages);
      num_pages += static_cast<int32_t>(root.pages.size());
      for (const int64_t sequence : group.followers)
        followers.push_back({.sequence = sequence, .cached = work_.count(group.root), .pages = root.pages});
      roots.push_back(std::move(root));
    }
    const auto runs = runs_of(followers);
    int64_t own = 0;  // pages of the followers that are there at once
    for (const auto run : runs) own = std::max(own, pages_of_their_own(run));
    reserve(num_pages + own);
    for (const auto run : runs_of(roots)) step(run);
    for (const auto run : runs) {
      for (int32_t next = num_pages; Member & member : run) go_on(member, next);
      step(run);
    }
  }

 private:
  struct Member {
    int64_t sequence = 0, cached = 0;
    std::vector<int32_t> pages = {};  // of a follower at first those of its root
  };

  std::vector<std::span<Member>> runs_of(std::vector<Member>& members) const {
    return cut(std::span(members), [&](const Member& member) { return work_.count(member.sequence); });
  }

  int64_t pages_of_their_own(std::span<const Member> run) const {
    int64_t pages = 0;
    for (const auto& member : run)
      pages += pages_for(member.cached + work_.count(member.sequence)) - member.cached / kPageTokens;
    return pages;
  }

  void reserve(int64_t num_pages) {
    const auto& network = work_.network;
    pool_.num_pages = num_pages;
    pool_.page_size = cpu::page_numbers(network.kv_heads, network.head_dim);
    const int64_t numbers = std::ssize(network.layers) * pool_.num_pages * pool_.page_size;
    if (!numbers_.defined() || numbers_.numel() < numbers) numbers_ = at::empty({numbers}, at::kFloat);
    pool_.numbers = numbers_.mutable_data_ptr<float>();
  }

  // Behind its root, on pages from `next` on. The root's last page, unless it is full, goes on in another way
  // with each follower.
  void go_on(Member& member, int32_t& next) {
    const auto full = static_cast<size_t>(member.cached / kPageTokens);
    const auto all = static_cast<size_t>(pages_for(member.cached + work_.count(member.sequence)));
    const int32_t last_of_root = full < member.pages.size() ? member.pages[full] : kNoPage;
    member.pages.resize(full);
    while (member.pages.size() < all) member.pages.push_back(next++);
    if (last_of_root != kNoPage && full < all)
      pool_.copy_page(std::ssize(work_.network.layers), last_of_root, member.pages[full]);
  }

  void step(std::span<const Member> run) {
    std::vector<cpu::StepSequence> sequences;
    std::vector<int64_t> first_asked;  // rows of the batch
    for (const auto& member : run) {
      const int64_t count = work_.count(member.sequence);
      if (count == 0) continue;
      const int64_t row = work_.batch.starts[static_cast<size_t>(member.sequence)];
      const int64_t num_logits = work_.num_logits(member.sequence);
      sequences.push_back({.tokens = work_.tokens.data() + row,
                           .count = count,
                           .cached = member.cached,
                           .pages = member.pages.data(),
                           .num_logits = num_logits});
      first_asked.push_back(row + count - num_logits);
    }
    if (sequences.empty()) return;
    step_.run(work_.network, pool_, sequences, [&](size_t sequence, int64_t i, std::span<float> logits) {
      work_.answer(first_asked[sequence] + i, logits);
    });
  }

  static constexpr int32_t kNoPage = -1;

  const Work& work_;
  cpu::TransformerStep step_{/*threads=*/1};
  at::Tensor numbers_;  // of pool_
  cpu::PagePool pool_;
};

// Whether places are positions, as the kernels' own forward has it.
bool starts_at_once(const PackedBatch& batch) {
  const auto positions = batch.positions.contiguous();
  const auto* const position = positions.const_data_ptr<int64_t>();
  for (size_t s = 0; s < batch.prefix.size(); ++s) {
    if (batch.starts[s] == batch.starts[s + 1]) continue;
    int64_t before = 0;
    if (batch.prefix[s] != kNoPrefix) {
      const auto root = static_cast<size_t>(batch.prefix[s]);
      before = batch.starts[root + 1] - batch.starts[root];
    }
    if (position[batch.starts[s]] != before) return false;
  }
  return true;
}

}  // namespace

at::Tensor frozen_logprobs(const Network& network, const PackedBatch& batch, const TokenTargets& targets,
                           double temperature) {
  const int64_t max_position = network.check(batch, targets);
  require(temperature > 0, "frozen_logprobs: temperature ", temperature);
  const auto* const transformer = network.transformer(max_position);
  const auto groups = prefix_groups(batch);
  const auto parts = cut(std::span(groups), [](const PrefixGroup& group) { return group.rows; });
  if (transformer == nullptr || !starts_at_once(batch) || std::ssize(parts) < work_threads()) {
    const at::NoGradGuard no_grad;
    return network.logprobs(batch, targets, temperature).logprobs;
  }
  auto logprobs = at::empty({targets.rows.numel()}, at::kFloat);
  const auto tokens = batch.tokens.contiguous();
  const auto* const token = tokens.const_data_ptr<int64_t>();
  const Work work{.network = *transformer,
                  .batch = batch,
                  .tokens = std::vector<int32_t>(token, token + batch.num_rows()),
                  .questions = Questions(targets, batch.num_rows()),
                  .temperature = static_cast<float>(temperature),
                  .logprobs = logprobs.mutable_data_ptr<float>()};
  share_work(std::ssize(parts), /*grain=*/1, [&](int64_t begin, int64_t end) {
    Lane lane(work);
    for (int64_t part = begin; part < end; ++part) lane.compute(parts[static_cast<size_t>(part)]);
  });
  return logprobs;
}

}  // namespace sluice::model
