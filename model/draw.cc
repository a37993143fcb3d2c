#include "model/draw.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <functional>
#include <numeric>

#include "model/kernels/kernels.h"

namespace sluice::model {
namespace {

using cpu::kernels;
using cpu::LogitRow;

constexpr double kGreedyBelow = 1e-5;

LogitRow weighed(std::span<float> logits, float temperature, DrawScratch& scratch) {
  const auto width = std::ssize(logits), blocks = cpu::num_logit_blocks(width);
  scratch.blocks.resize(static_cast<size_t>(blocks * (2 + cpu::kLogitLanes)));
  LogitRow row{.z = logits.data(), .width = width, .tops = scratch.blocks.data()};
  row.masses = row.tops + blocks;
  row.lane_tops = row.masses + blocks;
  kernels().weigh_logits(row, temperature);
  return row;
}

// In float32, as the learner subtracts them.
Draw drawn(const LogitRow& row, int64_t token, double kept_mass = 1) {
  return {.token = static_cast<int32_t>(token),
          .logprob = row.z[token] - row.lse,
          .kept_mass = static_cast<float>(std::min(kept_mass, 1.0))};  // rounding can put it a little above
}

int64_t likeliest(const LogitRow& row) {
  const auto block = std::find(row.tops, row.tops + cpu::num_logit_blocks(row.width), row.top) - row.tops;
  return std::find(row.z + block * cpu::kLogitBlock, row.z + row.width, row.top) - row.z;
}

float kth_largest(std::span<const float> numbers, int64_t k, std::vector<float>& order) {
  order.assign(numbers.begin(), numbers.end());
  std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), std::greater<>());
  return order[static_cast<size_t>(k - 1)];
}

// Not above the k-th largest logit: k parts of the row have one that is as large.
float below_kth(const LogitRow& row, int64_t k, std::vector<float>& order) {
  const auto blocks = static_cast<size_t>(cpu::num_logit_blocks(row.width));
  const std::span<const float> tops(row.tops, blocks), lane_tops(row.lane_tops, blocks * cpu::kLogitLanes);
  if (k <= std::ssize(tops)) return kth_largest(tops, k, order);
  return k <= std::ssize(lane_tops) ? kth_largest(lane_tops, k, order) : -FLT_MAX;
}

// Which of the filters are on for this row.
struct Filters {
  bool min_p, top_k, top_p;
  Filters(const DrawOptions& options, int64_t width)
      : min_p(options.min_p > 0),
        top_k(options.top_k > 0 && options.top_k < width),
        top_p(options.top_p < 1) {}
  bool any() const { return min_p || top_k || top_p; }
};

// The tokens that are left, in the order of ids.
struct Candidates {
  std::span<float> logits, masses;
  std::span<int32_t> ids;

  void shrink(int64_t count) {
    logits = logits.first(static_cast<size_t>(count));
    masses = masses.first(static_cast<size_t>(count));
    ids = ids.first(static_cast<size_t>(count));
  }
};

// No token that the filters keep has a smaller logit.
float lowest_kept(const LogitRow& row, const DrawOptions& options, const Filters& filters,
                  DrawScratch& scratch) {
  if (!filters.min_p && !filters.top_k) {
    // What is below has together no more than half of what top-p may drop; the other half is for rounding.
    const double dropped = row.total * (1 - options.top_p) / 2;
    const double lowest = std::log(dropped / static_cast<double>(row.width));
    return row.top + static_cast<float>(std::min(lowest, 0.0));
  }
  const float by_min_p = filters.min_p ? row.top + static_cast<float>(std::log(options.min_p)) : -FLT_MAX;
  return filters.top_k ? std::max(by_min_p, below_kth(row, options.top_k, scratch.order)) : by_min_p;
}

void keep_top_k(Candidates& candidates, int64_t k, std::vector<float>& order) {
  if (std::ssize(candidates.logits) <= k) return;
  const float kth = kth_largest(candidates.logits, k, order);
  size_t kept = 0;
  for (size_t i = 0; i < candidates.logits.size(); ++i) {
    candidates.logits[kept] = candidates.logits[i];
    candidates.ids[kept] = candidates.ids[i];
    kept += candidates.logits[i] >= kth ? 1 : 0;
  }
  candidates.shrink(static_cast<int64_t>(kept));
}

// Where top-p ends: what is above `logit` is kept, and of what is equal to it the first up to `last`.
struct Cut {
  float logit = -FLT_MAX;
  size_t last = 0;
  double mass = 0;  // that is kept

  bool keeps(float other, size_t index) const { return other > logit || (other == logit && index <= last); }
};

// The likeliest candidates, lower ids first among equals, up to the one whose mass reaches `wanted`. The
// range of the logits is cut into buckets, that of the last one kept into buckets again, until its logits are
// equal.
Cut top_p_cut(const Candidates& candidates, double wanted, std::vector<int32_t>& members) {
  constexpr size_t kBuckets = 256;
  const auto logit = [&](int32_t member) { return candidates.logits[static_cast<size_t>(member)]; };
  const auto mass = [&](int32_t member) {
    return static_cast<double>(candidates.masses[static_cast<size_t>(member)]);
  };
  members.resize(candidates.logits.size());
  std::iota(members.begin(), members.end(), 0);
  double above = 0;
  while (true) {
    float low = logit(members.front()), high = low;
    for (const int32_t member : members) {
      low = std::min(low, logit(member));
      high = std::max(high, logit(member));
    }
    if (low == high) break;
    const double scale = kBuckets / (static_cast<double>(high) - static_cast<double>(low));
    const auto bucket_of = [&](int32_t member) {
      const double distance = static_cast<double>(high) - static_cast<double>(logit(member));
      return std::min(static_cast<size_t>(distance * scale), kBuckets - 1);
    };
    double in_bucket[kBuckets] = {};
    for (const int32_t member : members) in_bucket[bucket_of(member)] += mass(member);
    size_t bucket = 0;
    for (; bucket < kBuckets - 1 && above + in_bucket[bucket] < wanted; ++bucket) above += in_bucket[bucket];
    std::erase_if(members, [&](int32_t member) { return bucket_of(member) != bucket; });
  }
  Cut cut{.logit = logit(members.front()), .mass = above};
  for (const int32_t member : members) {
    cut.last = static_cast<size_t>(member);
    cut.mass += mass(member);
    if (cut.mass >= wanted) break;
  }
  return cut;
}

Draw draw_filtered(const LogitRow& row, double uniform, const DrawOptions& options, const Filters& filters,
                   DrawScratch& scratch) {
  const auto width = static_cast<size_t>(row.width);
  scratch.logits.resize(width);
  scratch.masses.resize(width);
  scratch.ids.resize(width);
  scratch.members.reserve(width);
  scratch.order.reserve(std::max(width, scratch.blocks.size()));
  Candidates left{scratch.logits, scratch.masses, scratch.ids};
  left.shrink(kernels().logits_from(row, lowest_kept(row, options, filters, scratch), left.logits.data(),
                                    left.ids.data()));
  if (filters.top_k) keep_top_k(left, options.top_k, scratch.order);
  kernels().logit_masses(left.logits.data(), std::ssize(left.logits), row.top, left.masses.data());

  // Of all that min-p and top-k left; without them the candidates are not all of it.
  double mass = row.total;
  if (filters.min_p || filters.top_k) mass = std::accumulate(left.masses.begin(), left.masses.end(), 0.0);
  Cut cut{.last = width, .mass = mass};
  if (filters.top_p) cut = top_p_cut(left, options.top_p * mass, scratch.members);

  double sum = 0;
  size_t chosen = 0;
  for (size_t i = 0; i < left.masses.size() && sum <= uniform * cut.mass; ++i) {
    if (!(left.masses[i] > 0) || !cut.keeps(left.logits[i], i)) continue;
    chosen = i;
    sum += static_cast<double>(left.masses[i]);
  }
  return drawn(row, left.ids[chosen], cut.mass / row.total);
}

}  // namespace

std::optional<Draw> draw_token(std::span<float> logits, double uniform, const DrawOptions& options,
                               DrawScratch& scratch) {
  const bool is_greedy = options.temperature < kGreedyBelow;
  const auto row = weighed(logits, is_greedy ? 1.0f : static_cast<float>(options.temperature), scratch);
  if (!std::isfinite(row.lse)) return std::nullopt;
  if (is_greedy) return drawn(row, likeliest(row));
  const Filters filters(options, row.width);
  return filters.any() ? draw_filtered(row, uniform, options, filters, scratch)
                       : drawn(row, kernels().draw_logit(row, uniform));
}

}  // namespace sluice::model
