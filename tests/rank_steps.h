// What steps on several ranks are to have in common with those on one.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/network.h"
#include "optim/optimizer.h"
#include "tests/spawn_ranks.h"

namespace sluice {

// Steps that ranks take together. Where weights are shared out each is a hundred small messages.
inline int64_t rank_steps(const std::string& shard = "none") { return shard == "weights" ? 5 : 20; }

// Of a rank, after its steps.
struct RankOutcome {
  at::Tensor weights;
  std::map<std::string, double> first, last;  // metrics of these steps
};

// Those of rank 0, on every rank: where weights are sharded no other has all of them.
inline at::Tensor shared_weights(const model::Network& network, const optim::Optimizer& optimizer) {
  auto& ranks = optimizer.collective();
  const auto whole = optimizer.whole_weights();
  auto weights = ranks.rank() == 0 ? network.flat().clone() : at::zeros_like(network.flat());
  ranks.all_reduce_sum(weights);
  return weights;
}

// `learn` is called on one rank, then on two and on four: all end in the bits of the first, which are within
// 1e-5 of those of one, and measure the same.
inline void expect_as_on_one_rank(const std::function<RankOutcome(transport::Collective& ranks)>& learn) {
  transport::SoloCollective alone;
  const auto whole = learn(alone);
  for (const int64_t size : {2, 4}) {
    SCOPED_TRACE(size);
    std::vector<RankOutcome> ranks(static_cast<size_t>(size));
    spawn_ranks(
        size, [&](transport::Collective& group) { ranks[static_cast<size_t>(group.rank())] = learn(group); });
    for (const auto& rank : ranks) {
      EXPECT_TRUE(at::equal(rank.weights, ranks[0].weights));
      EXPECT_EQ(rank.last, ranks[0].last);
    }
    EXPECT_LE((ranks[0].weights - whole.weights).norm().item<double>(),
              1e-5 * whole.weights.norm().item<double>());
    ASSERT_EQ(ranks[0].first.size(), whole.first.size());
    for (const auto& [name, value] : whole.first) {
      ASSERT_TRUE(ranks[0].first.contains(name)) << name;
      EXPECT_NEAR(ranks[0].first.at(name), value, 1e-4 * std::max(1.0, std::abs(value))) << name;
    }
  }
}

}  // namespace sluice
