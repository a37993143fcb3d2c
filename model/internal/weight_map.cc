#include "model/internal/weight_map.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/quoted_name.h"
#include "model/families/family.h"
#include "model/float8.h"
#include "model/model_directory.h"
#include "model/network.h"

namespace sluice::model {
namespace {

constexpr std::string_view kScale = "_scale_inv";  // after the name of an F8 tensor

}  // namespace

WeightMap::WeightMap(const std::filesystem::path& directory, const ModelConfig& config, at::ScalarType dtype)
    : files_(directory),
      config_(config),
      dtype_(dtype),
      parameters_(Network::declare(config)),
      where_(directory.string()) {
  std::set<std::string> used;
  for (const auto& slot : parameters_.slots()) used.insert(check_slot(slot));
  for (const auto& entry : files_.entries()) {
    if (!used.contains(entry.name)) check_extra(entry, used);
  }
}

at::ScalarType WeightMap::stored_type(const ParameterSlot& slot) const {
  const auto type = files_.entry(stored_name(slot)).type;
  return is_float8(type) ? at::kFloat : type;
}

at::Tensor WeightMap::read(const ParameterSlot& slot) const {
  const std::string name = stored_name(slot);
  auto tensor = files_.read(name);
  if (is_float8(tensor.scalar_type())) {
    const auto [rows, columns] = *config_.float8_block;
    tensor = dequantise_blocks(tensor, files_.read(name + std::string(kScale)), rows, columns);
  }
  return slot.transposed ? tensor.t() : tensor;
}

// Some files name the tensors of the network without what it is called in the model with a head.
std::string WeightMap::stored_name(const ParameterSlot& slot) const {
  const auto prefix = config_.family->base_prefix;
  if (!prefix.empty() && !files_.contains(slot.name) && slot.name.starts_with(prefix)) {
    return slot.name.substr(prefix.size());
  }
  return slot.name;
}

std::string WeightMap::check_slot(const ParameterSlot& slot) {
  const std::string name = stored_name(slot);
  require<DataError>(files_.contains(name), where_, ": tensor ", slot.name, " of shape ",
                     shape_text(slot.stored_shape()), " is missing");
  const auto& entry = files_.entry(name);
  require<DataError>(entry.shape == slot.stored_shape(), files_.where(name), " should be ",
                     shape_text(slot.stored_shape()), ", it is ", shape_text(entry.shape));
  require<DataError>(at::isFloatingType(entry.type), files_.where(name), " is of type ",
                     c10::toString(entry.type));
  if (is_float8(entry.type)) check_scale(entry);
  if (entry.type == at::kDouble && dtype_ != at::kDouble) {
    add_notice("F64 weights are rounded to " + dtype_name(dtype_) +
               ", and what is saved as F64 has the rounded numbers");
  }
  return name;
}

void WeightMap::check_scale(const WeightEntry& entry) {
  const std::string where = files_.where(entry.name), scale = entry.name + std::string(kScale);
  require<DataError>(config_.float8_block.has_value(), where, " is of type ", c10::toString(entry.type),
                     ", and config.json has no quantization_config");
  require<DataError>(entry.shape.size() == 2, where, " is of type ", c10::toString(entry.type), " and shape ",
                     shape_text(entry.shape), "; only matrices have blocks");
  require<DataError>(files_.contains(scale), where, ": its scales ", quoted_name(scale), " are missing");
  const auto& scales = files_.entry(scale);
  const auto blocks = [&](size_t i) {
    const int64_t size = entry.shape[i], block = (*config_.float8_block)[i];
    return size / block + (size % block != 0 ? 1 : 0);
  };
  const std::vector<int64_t> wanted{blocks(0), blocks(1)};
  require<DataError>(scales.shape == wanted, files_.where(scale), " should be ", shape_text(wanted),
                     ", it is ", shape_text(scales.shape));
  require<DataError>(at::isFloatingType(scales.type) && !is_float8(scales.type), files_.where(scale),
                     " is of type ", c10::toString(scales.type));
  add_notice("F8 weights are widened to float32 with their block scales, and saved so");
}

void WeightMap::check_extra(const WeightEntry& entry, const std::set<std::string>& used) {
  const std::string& name = entry.name;
  if (name.ends_with("rotary_emb.inv_freq")) {
    return add_notice("rotary frequencies are worked out from config.json, those of the file are not loaded");
  }
  if (config_.tie_embeddings && name == std::string(config_.family->names.head) + ".weight") {
    return add_notice("embeddings are tied, so the file's " + name + " is not loaded");
  }
  if (name.ends_with(kScale) && used.contains(name.substr(0, name.size() - kScale.size()))) return;
  const std::string reason = config_.family->skipped == nullptr ? "" : config_.family->skipped(name, config_);
  require<DataError>(!reason.empty(), files_.where(name), " of shape ", shape_text(entry.shape),
                     " is not part of this network");
  add_notice(reason);
}

void WeightMap::add_notice(const std::string& notice) {
  if (std::ranges::count(notices_, notice) == 0) notices_.push_back(notice);
}

}  // namespace sluice::model
