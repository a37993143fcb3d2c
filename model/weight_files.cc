#include "model/weight_files.h"

#include <algorithm>
#include <deque>
#include <set>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/quoted_name.h"
#include "model/internal/safetensors_writer.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

using NamesOfShard = std::map<std::string, std::set<std::string>>;

bool is_plain_shard_name(const std::string& name) {
  return name.ends_with(".safetensors") && std::none_of(name.begin(), name.end(), [](unsigned char c) {
           return c == '/' || c == '\\' || c < 0x20 || c == 0x7f;
         });
}

NamesOfShard read_index(const fs::path& index) {
  const Json json = read_json(index);
  const std::string where = index.string();
  require<DataError>(json.is_object() && json.contains("weight_map") && json.at("weight_map").is_object(),
                     where, ": no object \"weight_map\"");
  NamesOfShard names_of_shard;
  for (const auto& [name, shard] : json.at("weight_map").items()) {
    require<DataError>(shard.is_string(), where, ": the shard of tensor ", quoted_name(name),
                       " is not a string, it is ", shard.type_name());
    const auto& file = shard.get_ref<const std::string&>();
    require<DataError>(is_plain_shard_name(file), where, ": the shard of tensor ", quoted_name(name),
                       " must be a .safetensors file of this directory, saw ", quoted_name(file));
    names_of_shard[file].insert(name);
  }
  require<DataError>(!names_of_shard.empty(), where, ": \"weight_map\" is empty");
  return names_of_shard;
}

// A shard has exactly the tensors that the index lists for it.
void check_shard(const SafetensorsFile& file, std::set<std::string> listed, const fs::path& index) {
  for (const auto& entry : file.entries()) {
    require<DataError>(listed.erase(entry.name) == 1, index.string(), ": tensor ", quoted_name(entry.name),
                       " of ", file.path().filename().string(), " is not listed for it");
  }
  require<DataError>(listed.empty(), index.string(), ": tensor ",
                     listed.empty() ? "" : quoted_name(*listed.begin()), " is not in ",
                     file.path().filename().string());
}

using Shard = std::span<const TensorSource>;

std::vector<Shard> cut_into_shards(Shard tensors, uint64_t max_bytes) {
  std::vector<Shard> shards;
  size_t begin = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t more = tensors[i].num_bytes();
    if (i > begin && bytes + more > max_bytes) {
      shards.push_back(tensors.subspan(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += more;
  }
  shards.push_back(tensors.subspan(begin));
  return shards;
}

// "model-00002-of-00005.safetensors"
std::string shard_name(size_t number, size_t count) {
  const auto five = [](size_t n) {
    const std::string digits = std::to_string(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return "model-" + five(number) + "-of-" + five(count) + ".safetensors";
}

bool has_shard_name(const std::string& name) {
  const std::string pattern = shard_name(0, 0);
  return std::equal(name.begin(), name.end(), pattern.begin(), pattern.end(),
                    [](char c, char wanted) { return wanted == '0' ? c >= '0' && c <= '9' : c == wanted; });
}

void remove_shards_except(const fs::path& directory, const std::set<std::string>& kept) {
  std::vector<fs::path> stale;
  for (const auto& file : fs::directory_iterator(directory)) {
    const auto name = file.path().filename().string();
    if (has_shard_name(name) && !kept.contains(name)) stale.push_back(file.path());
  }
  for (const auto& file : stale) fs::remove(file);
}

void write_whole(const fs::path& directory, const std::vector<TensorSource>& tensors,
                 const std::map<std::string, std::string>& metadata) {
  write_safetensors(directory / kWhole, tensors, metadata);  // from here on it is what readers open
  fs::remove(directory / kIndex);
  remove_shards_except(directory, {});
}

void write_shards(const fs::path& directory, const std::vector<Shard>& shards,
                  const std::map<std::string, std::string>& metadata) {
  std::deque<UnpublishedFile> files;
  std::set<std::string> names;
  Json weight_map = Json::object();
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto name = *names.insert(shard_name(i + 1, shards.size())).first;
    for (const auto& tensor : shards[i]) {
      require(!weight_map.contains(tensor.name), "safetensors: tensor \"", tensor.name, "\" is there twice");
      weight_map[tensor.name] = name;
      total += tensor.num_bytes();
    }
    files.emplace_back(directory / name, shards[i], metadata);
  }

  // An earlier index must not name shards of two saves. One whole file of an earlier save is what readers
  // open until it goes, last.
  fs::remove(directory / kIndex);
  for (auto& file : files) file.publish();
  sync_directory(directory);
  const Json index{{"metadata", {{"total_size", total}}}, {"weight_map", std::move(weight_map)}};
  write_file_atomically(directory / kIndex, index.dump(2) + "\n");
  fs::remove(directory / kWhole);
  remove_shards_except(directory, names);
}

}  // namespace

bool has_weight_files(const fs::path& directory) {
  return fs::exists(directory / kWhole) || fs::exists(directory / kIndex);
}

WeightFiles::WeightFiles(const fs::path& directory) {
  const auto whole = directory / kWhole, index = directory / kIndex;
  if (fs::exists(whole)) {
    listed_in_ = whole;
    add(SafetensorsFile(whole));
    return;
  }
  require<DataError>(
      fs::exists(index), directory.string(), ": neither ", kWhole, " nor ", kIndex, " is there",
      fs::exists(directory / "pytorch_model.bin")
          ? "; pytorch_model.bin is a pickle, which is never read: save the model as safetensors"
          : "");
  listed_in_ = index;
  open_shards(directory, index);
}

void WeightFiles::open_shards(const fs::path& directory, const fs::path& index) {
  for (auto& [shard, names] : read_index(index)) {
    SafetensorsFile file(directory / shard);
    for (const auto& entry : file.entries()) {
      require<DataError>(
          !contains(entry.name), index.string(), ": tensor ", quoted_name(entry.name), " is in two shards, ",
          contains(entry.name) ? files_[place_of(entry.name).file].path().filename().string() : "", " and ",
          shard);
    }
    check_shard(file, std::move(names), index);
    add(std::move(file));
  }
}

void WeightFiles::add(SafetensorsFile file) {
  for (size_t i = 0; i < file.entries().size(); ++i) {
    const auto& entry = file.entries()[i];
    places_[entry.name] = {files_.size(), i, entries_.size()};
    entries_.push_back({entry.name, entry.type, entry.shape});
  }
  files_.push_back(std::move(file));
}

const WeightFiles::Place& WeightFiles::place_of(const std::string& name) const {
  const auto found = places_.find(name);
  require<DataError>(found != places_.end(), listed_in_.string(), ": there is no tensor ", quoted_name(name));
  return found->second;
}

const WeightEntry& WeightFiles::entry(const std::string& name) const {
  return entries_[place_of(name).index];
}

at::Tensor WeightFiles::read(const std::string& name) const {
  const Place& place = place_of(name);
  return files_[place.file].read(files_[place.file].entries()[place.entry]);
}

std::string WeightFiles::where(const std::string& name) const {
  return files_[place_of(name).file].path().string() + ": tensor " + quoted_name(name);
}

void write_sharded(const fs::path& directory, const std::vector<TensorSource>& tensors,
                   const std::map<std::string, std::string>& metadata, uint64_t max_shard_bytes) {
  fs::create_directories(directory);
  const auto shards = cut_into_shards(tensors, max_shard_bytes);
  if (shards.size() == 1) {
    write_whole(directory, tensors, metadata);
  } else {
    write_shards(directory, shards, metadata);
  }
  sync_directory(directory);
}

}  // namespace sluice::model
