// The environment of a process that a launcher started.
#pragma once

#include <stdlib.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace sluice {

// While it lives the process has these of the variables that launchers set, and no others.
class Launched {
 public:
  explicit Launched(const std::map<std::string, std::string>& environment) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NNODES",
          "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "TORCHELASTIC_USE_AGENT_STORE",
          "TORCHELASTIC_RESTART_COUNT"}) {
      const char* value = std::getenv(name);
      before_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  }
  ~Launched() {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), /*overwrite=*/1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }
  Launched(const Launched&) = delete;

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

}  // namespace sluice
