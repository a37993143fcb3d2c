// Reads values of a config.json, each checked where it is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::model {

// Far above any network known; below what could overflow a product of two and the bytes behind it.
inline constexpr int64_t kMaxVocab = 1 << 24, kMaxWidth = 1 << 20, kMaxLayers = 1 << 10, kMaxHeads = 1 << 12,
                         kMaxHeadDim = 1 << 12, kMaxPosition = 1 << 24, kMaxExperts = 1 << 12;

// A missing key and one that is null are the same, but where both a value and none can be meant. All of these
// throw DataError naming the file and the key.
class ConfigReader {
 public:
  // `json` outlives it.
  ConfigReader(const Json& json, std::string where);

  bool has(const char* key) const;
  int64_t size(const char* key, int64_t max) const;  // 1 .. max
  int64_t size_or(const char* key, int64_t fallback, int64_t max) const;
  std::optional<int64_t> size_if(const char* key, int64_t max) const;
  // `fallback` for a missing key, none for null: how transformers tells its default from "there is none".
  std::optional<int64_t> size_if(const char* key, int64_t fallback, int64_t max) const;
  int64_t count_or(const char* key, int64_t fallback, int64_t max) const;  // 0 .. max
  double number(const char* key) const;
  double number_or(const char* key, double fallback) const;
  std::optional<double> number_if(const char* key) const;
  std::optional<double> number_if(const char* key, double fallback) const;  // the same
  bool flag_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const std::string& fallback) const;
  // An object inside; `key` joins its name.
  ConfigReader object(const char* key) const;

  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  const Json& json_;
  const std::string where_;
};

}  // namespace sluice::model
