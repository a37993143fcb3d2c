// Ranks of a learner as threads of a test.
#pragma once

#include <ATen/Parallel.h>
#include <stdlib.h>

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "tests/base/temp_folder.h"
#include "transport/gloo_collective.h"

namespace sluice {

// Calls `run` once for each rank of a group and rethrows what the first of them threw.
inline void spawn_ranks(int64_t size, const std::function<void(transport::Collective& group)>& run,
                        Millis timeout_ms = 60'000) {
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
          transport::GlooCollective group(
              {.meeting = folder / "meeting", .rank = rank, .size = size, .timeout_ms = timeout_ms});
          run(group);
        } catch (...) {
          thrown[static_cast<size_t>(rank)] = std::current_exception();
        }
      });
    }
  }
  for (const auto& error : thrown) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace sluice
