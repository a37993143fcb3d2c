#include "transport/collective.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "transport/gloo_collective.h"
#include "transport/nccl_collective.h"

namespace sluice::transport {

std::unique_ptr<Collective> join_ranks(const RankOptions& options, const at::Device& device) {
  if (options.size == 1) return std::make_unique<SoloCollective>();
  if (device.is_cuda()) return make_nccl_collective(options, device);
  return make_gloo_collective(options);
}

std::string broadcast(Collective& ranks, const std::string& bytes) {
  if (ranks.size() == 1) return bytes;
  const bool speaks = ranks.rank() == 0;
  auto count = at::full({1}, std::ssize(bytes), at::kLong);
  ranks.broadcast(count, 0);
  const auto size = static_cast<size_t>(count.item<int64_t>());
  if (size == 0) return {};
  auto tensor = at::empty({count.item<int64_t>()}, at::kByte);
  if (speaks) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), size);
  ranks.broadcast(tensor, 0);
  return {static_cast<const char*>(tensor.const_data_ptr()), size};
}

std::vector<std::vector<double>> gather(Collective& ranks, const std::vector<double>& own) {
  if (ranks.size() == 1 || own.empty()) return std::vector(static_cast<size_t>(ranks.size()), own);
  const auto count = static_cast<int64_t>(own.size());
  auto all = at::zeros({ranks.size(), count}, at::kDouble);
  std::ranges::copy(own, all.mutable_data_ptr<double>() + ranks.rank() * count);
  ranks.all_reduce_sum(all);
  std::vector<std::vector<double>> rows;
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    const double* row = all.const_data_ptr<double>() + rank * count;
    rows.emplace_back(row, row + count);
  }
  return rows;
}

std::vector<double> sum_over(Collective& ranks, const std::vector<double>& own) {
  const auto all = gather(ranks, own);
  auto sums = all.front();
  for (size_t rank = 1; rank < all.size(); ++rank) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += all[rank][i];
  }
  return sums;
}

}  // namespace sluice::transport
