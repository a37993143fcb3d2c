// The weights of a model directory: one safetensors file, or shards and the index that names them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/safetensors.h"

namespace sluice::model {

struct WeightEntry {
  std::string name;
  at::ScalarType type{};
  std::vector<int64_t> shape;
};

// Whether there is something for WeightFiles to open.
bool has_weight_files(const std::filesystem::path& directory);

// Opens model.safetensors or, without it, the shards that model.safetensors.index.json names; tensors are
// read one at a time. Safe from any thread.
class WeightFiles {
 public:
  // Throws DataError naming the file for what SafetensorsFile refuses; for a shard that is not named as a
  // file of this very directory; and for a tensor that is in two shards, is not in the shard the index gives
  // for it, or is in a shard without being listed. Links are followed: the folders of a download cache are
  // made of them, and a model's files cannot bring one along.
  explicit WeightFiles(const std::filesystem::path& directory);

  const std::vector<WeightEntry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return places_.contains(name); }
  const WeightEntry& entry(const std::string& name) const;  // a name that is not there is a DataError
  // A name that is not there is a DataError.
  at::Tensor read(const std::string& name) const;
  std::string where(const std::string& name) const;  // "FILE: tensor \"NAME\""

 private:
  struct Place {
    size_t file = 0, entry = 0;  // files_[file].entries()[entry]
    size_t index = 0;            // of entries_
  };
  void open_shards(const std::filesystem::path& directory, const std::filesystem::path& index);
  void add(SafetensorsFile file);
  const Place& place_of(const std::string& name) const;

  std::filesystem::path listed_in_;  // model.safetensors or the index
  std::vector<SafetensorsFile> files_;
  std::vector<WeightEntry> entries_;
  std::map<std::string, Place> places_;
};

// Writes model.safetensors, or model-00001-of-0000N.safetensors and the index when that would have more than
// `max_shard_bytes`; a tensor is never cut. What an earlier save left beside it is removed. Whenever it
// stops, the directory holds the earlier save, the new one, or no weights that can be opened; never some of
// each.
void write_sharded(const std::filesystem::path& directory, const std::vector<TensorSource>& tensors,
                   const std::map<std::string, std::string>& metadata = {},
                   uint64_t max_shard_bytes = 5'000'000'000);

}  // namespace sluice::model
