// Ranks of a learner as threads of a test.
#pragma once

#include <ATen/Parallel.h>
#include <stdlib.h>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/base/temp_folder.h"
#include "transport/gloo_collective.h"

namespace sluice {

using RunRank = std::function<void(transport::Collective& group)>;
using JoinRanks =
    std::function<std::unique_ptr<transport::Collective>(const transport::RankOptions& options)>;

// Calls `run` once for each rank of a group and returns what each of them threw.
inline std::vector<std::exception_ptr> thrown_by_ranks(int64_t size, const RunRank& run, Millis timeout_ms,
                                                       const JoinRanks& join) {
  // c10d's record of what was done is one for the process, which ranks of other processes do not share.
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
  const TempFolder folder;
  std::vector<std::exception_ptr> thrown(static_cast<size_t>(size));
  {
    std::vector<std::jthread> ranks;
    for (int64_t rank = 0; rank < size; ++rank) {
      ranks.emplace_back([&, rank] {
        at::set_num_threads(1);  // ranks that share their cores
        try {
          const auto group =
              join({.meeting = folder / "meeting", .rank = rank, .size = size, .timeout_ms = timeout_ms});
          run(*group);
        } catch (...) {
          thrown[static_cast<size_t>(rank)] = std::current_exception();
        }
      });
    }
  }
  return thrown;
}

// Calls `run` once for each rank of a group and rethrows what the first of them threw.
inline void spawn_ranks(int64_t size, const RunRank& run, Millis timeout_ms = 60'000,
                        const JoinRanks& join = transport::make_gloo_collective) {
  for (const auto& error : thrown_by_ranks(size, run, timeout_ms, join)) {
    if (error) std::rethrow_exception(error);
  }
}

// Calls `run` once for each rank of a group and returns what each says that went wrong; "" where nothing did.
inline std::vector<std::string> messages_of_ranks(int64_t size, const RunRank& run, Millis timeout_ms,
                                                  const JoinRanks& join = transport::make_gloo_collective) {
  std::vector<std::string> messages;
  for (const auto& error : thrown_by_ranks(size, run, timeout_ms, join)) {
    messages.emplace_back();
    try {
      if (error) std::rethrow_exception(error);
    } catch (const std::exception& said) {
      messages.back() = said.what();
    }
  }
  return messages;
}

}  // namespace sluice
