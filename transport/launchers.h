// Which rank of a learner a process is, as whoever started it says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "transport/collective.h"

namespace sluice::transport {

// The `rank` that was named, of as many as the recipe says, which find each other at the file. Without one:
// what torchrun says (RANK, WORLD_SIZE), or Slurm (SLURM_PROCID, SLURM_NTASKS), whose ranks find each other
// at MASTER_ADDR and MASTER_PORT, by default 127.0.0.1 and 29500; else rank 0. Throws UsageError for an
// environment that does not hold together.
RankOptions rank_options(const std::optional<int64_t>& rank, const std::filesystem::path& meeting);

// Leaves this process one of the GPUs that it sees, before CUDA looks at them: the one of its number among
// the ranks of the machine. Who sees fewer keeps them.
void keep_own_gpu(const RankOptions& options);

}  // namespace sluice::transport
