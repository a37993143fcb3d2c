#include "transport/launchers.h"

#include <stdlib.h>

#include <charconv>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::transport {
namespace {

std::string variable(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

int64_t number(const char* name) {
  const std::string text = variable(name);
  int64_t value = -1;
  const char* end = text.data() + text.size();
  require<UsageError>(std::from_chars(text.data(), end, value).ptr == end && !text.empty() && value >= 0,
                      "learner: the environment's ", name, " is \"", text, "\", which is no number");
  return value;
}

}  // namespace

RankOptions rank_options(const std::optional<int64_t>& rank, const std::filesystem::path& meeting) {
  // Sizes and time-outs of 0 are the recipe's.
  if (rank) return {.meeting = meeting, .rank = *rank, .size = 0, .timeout_ms = 0};
  const bool torchrun = !variable("RANK").empty() && !variable("WORLD_SIZE").empty();
  const bool slurm = !variable("SLURM_PROCID").empty() && !variable("SLURM_NTASKS").empty();
  if (!torchrun && !slurm) return {.meeting = meeting, .rank = 0, .size = 0, .timeout_ms = 0};
  require<UsageError>(torchrun || variable("SLURM_NNODES", "1") == "1" || !variable("MASTER_ADDR").empty(),
                      "learner: Slurm started ranks on ", variable("SLURM_NNODES"),
                      " nodes, and nobody says where they meet; export MASTER_ADDR=$(scontrol show hostnames "
                      "\"$SLURM_JOB_NODELIST\" | head -n 1) before srun");
  return {.meeting = {},
          .rank = number(torchrun ? "RANK" : "SLURM_PROCID"),
          .size = number(torchrun ? "WORLD_SIZE" : "SLURM_NTASKS"),
          .timeout_ms = 0,
          .address = variable("MASTER_ADDR", "127.0.0.1") + ":" + variable("MASTER_PORT", "29500")};
}

void keep_own_gpu(const RankOptions& options) {
  int64_t place = options.rank;
  for (const char* name : {"SLURM_LOCALID", "LOCAL_RANK"}) {  // the last, of a torchrun that Slurm started
    if (!options.address.empty() && !variable(name).empty()) place = number(name);
  }
  if (variable("CUDA_VISIBLE_DEVICES", "all").empty()) return;  // it sees none
  std::istringstream visible(variable("CUDA_VISIBLE_DEVICES"));
  std::vector<std::string> devices;
  for (std::string device; std::getline(visible, device, ',');) devices.push_back(device);
  if (!devices.empty() && place >= std::ssize(devices)) return;
  const auto own = devices.empty() ? std::to_string(place) : devices[static_cast<size_t>(place)];
  ::setenv("CUDA_VISIBLE_DEVICES", own.c_str(), /*overwrite=*/1);
}

}  // namespace sluice::transport
