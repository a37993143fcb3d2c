// Which tensor of a model directory's files each parameter of its network is.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "model/parameters.h"
#include "model/weight_files.h"

namespace sluice::model {

// Everything is checked when it is made: DataError for what load_model() refuses. Of files that stay open:
// what is read later is what was there, also where their names are gone. Safe from any thread.
class WeightMap {
 public:
  // `dtype` is what they are loaded into.
  WeightMap(const std::filesystem::path& directory, const ModelConfig& config, at::ScalarType dtype);

  const std::vector<std::string>& notices() const { return notices_; }
  at::ScalarType stored_type(const ParameterSlot& slot) const;
  // A tensor in the order the network wants it.
  at::Tensor read(const ParameterSlot& slot) const;

 private:
  std::string stored_name(const ParameterSlot& slot) const;
  std::string check_slot(const ParameterSlot& slot);
  void check_scale(const WeightEntry& entry);  // that an F8 tensor has those of its blocks
  void check_extra(const WeightEntry& entry, const std::set<std::string>& used);
  void add_notice(const std::string& notice);

  const WeightFiles files_;
  const ModelConfig config_;
  const at::ScalarType dtype_;
  const Parameters parameters_;
  const std::string where_;
  std::vector<std::string> notices_;
};

}  // namespace sluice::model
