#include "recipes/internal/stage_ranks.h"

#include "base/byte_codec.h"
#include "base/error.h"

namespace sluice::recipes {
namespace {

std::string encode(Order::Kind kind, int64_t status, const std::vector<buffers::RolloutGroup>& groups) {
  ByteWriter bytes;
  bytes.u8(static_cast<uint8_t>(kind));
  bytes.i64(status);
  bytes.u32(static_cast<uint32_t>(groups.size()));
  for (const auto& group : groups) bytes.bytes(buffers::encode_group(group));
  return bytes.take();
}

}  // namespace

StageStart find_start(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                      transport::Collective& ranks) {
  if (ranks.rank() != 0) {
    ranks.meet();
    return start_from(open_checkpoint(run.checkpoints() / transport::broadcast(ranks, {})), stage);
  }
  auto start = find_start(run, recipe, stage);
  ranks.meet();
  transport::broadcast(ranks, start.checkpoint.name());
  return start;
}

int told_to_stop(transport::Collective& ranks, const StopRequest& stop) {
  return static_cast<int>(transport::gather(ranks, {static_cast<double>(stop())}).front().front());
}

void check_in_step(const optim::Optimizer& optimizer, std::string_view when) {
  auto& ranks = optimizer.collective();
  if (ranks.size() == 1) return;
  ranks.meet();
  const std::string own = optimizer.hash_in_common();
  const bool same = transport::broadcast(ranks, own) == own;
  std::string names;
  const auto all = transport::gather(ranks, {same ? 1.0 : 0.0});
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].front() != 1.0) names += (names.empty() ? "" : ", ") + std::to_string(rank);
  }
  require(names.empty(), "the weights ", when, " are not the same on all ranks: those of rank ", names,
          " differ from rank 0's; nothing is written, --resume goes on from the last checkpoint");
}

void give(transport::Collective& ranks, Order::Kind kind, int64_t status) {
  if (ranks.size() > 1) transport::broadcast(ranks, encode(kind, status, {}));
}

void give_to_learn(transport::Collective& ranks, const std::vector<buffers::RolloutGroup>& groups) {
  if (ranks.size() > 1) transport::broadcast(ranks, encode(Order::Kind::Learn, /*status=*/0, groups));
}

Order take_order(transport::Collective& ranks) {
  const std::string bytes = transport::broadcast(ranks, {});
  ByteReader reader(bytes, "an order of rank 0");
  Order order{.kind = static_cast<Order::Kind>(reader.u8()), .groups = {}, .status = reader.i64()};
  const uint32_t count = reader.u32();
  for (uint32_t i = 0; i < count; ++i) order.groups.push_back(buffers::decode_group(reader.bytes()));
  reader.finish();
  return order;
}

}  // namespace sluice::recipes
