// The safetensors format: a header that names tensors, then their bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/named_tensor.h"

namespace sluice::model {

// A tensor of a file, as the header describes it.
struct SafetensorsEntry {
  std::string name;
  at::ScalarType type{};
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // from the first byte of the file
};

// An open file, whose tensors are copied out one by one: BOOL, U8, I8, I16, U16, I32, U32, I64, U64, F8_E4M3,
// F8_E5M2, F16, BF16, F32 and F64. Safe from any thread.
//
// The file is mapped, so that a tensor is copied once, from the page cache to where it stays, and the pages
// behind it are given back: a loader needs memory for the weights and not for the file. A file that got
// shorter since it was opened is a DataError at the next read(); one that is cut off while a copy is under
// way ends the process (SIGBUS), so nobody may rewrite weights in place. Our writer renames.
class SafetensorsFile {
 public:
  // Throws DataError naming the file, and the tensor or the byte, for a torn file, a header over 100 MB, a
  // duplicate name, an unknown type, overlapping, missing or left-over bytes, and sizes that overflow: all
  // checked before anything of the size they claim is allocated.
  explicit SafetensorsFile(const std::filesystem::path& file);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const { return file_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the header's order
  at::Tensor read(const SafetensorsEntry& entry) const;                      // of this file; owns its memory

 private:
  class Mapping;
  std::filesystem::path file_;
  std::unique_ptr<const Mapping> mapping_;
  std::vector<SafetensorsEntry> entries_;
};

// Every tensor of a file, in the header's order.
std::vector<NamedTensor> read_safetensors(const std::filesystem::path& file);

// A tensor to be written, made when its turn comes: a save that converts needs memory for one tensor.
struct TensorSource {
  std::string name;
  at::ScalarType type{};
  std::vector<int64_t> shape;
  std::function<at::Tensor()> produce;  // of this type and shape, on any device

  uint64_t num_bytes() const;
};

// The tensors as they are, or converted to `type` where they are floating-point.
std::vector<TensorSource> sources_of(const std::vector<NamedTensor>& tensors,
                                     std::optional<at::ScalarType> type = std::nullopt);

// Temporary name, fsync, rename. `metadata` gets {"format": "pt"} added, without which other readers refuse.
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata = {});
void write_safetensors(const std::filesystem::path& file, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace sluice::model
