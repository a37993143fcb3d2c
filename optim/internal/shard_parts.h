// Where stretches of the flat buffers and a rank's part of them meet.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::optim {

inline at::Tensor part_of(const at::Tensor& flat, const Shard& part) {
  return flat.narrow(0, part.first, part.count);
}

// What both have; its count may be 0.
inline Shard common_part(const Shard& a, const Shard& b) {
  const int64_t first = std::max(a.first, b.first);
  const int64_t end = std::min(a.first + a.count, b.first + b.count);
  return {.first = first, .count = std::max<int64_t>(0, end - first)};
}

// What `whole` has before and behind `own`.
inline std::array<Shard, 2> other_parts(const Shard& whole, const Shard& own) {
  constexpr int64_t kFar = int64_t{1} << 62;
  return {common_part(whole, {.first = 0, .count = own.first}),
          common_part(whole, {.first = own.first + own.count, .count = kFar})};
}

// Every rank gets those numbers of `whole` that are the others' parts: an all-gather of parts that differ in
// size, each sent by its owner.
inline void share_parts(const at::Tensor& flat, const Shard& whole, transport::Collective& ranks) {
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    const auto part = common_part(whole, shard_of(flat.numel(), rank, ranks.size()));
    if (part.count == 0) continue;
    auto numbers = part_of(flat, part);
    ranks.broadcast(numbers, rank);
  }
}

}  // namespace sluice::optim
