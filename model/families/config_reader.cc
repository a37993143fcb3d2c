#include "model/families/config_reader.h"

#include <cmath>
#include <utility>

#include "base/error.h"

namespace sluice::model {

ConfigReader::ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
  require<DataError>(json.is_object(), where_, ": not an object, it is ", json.type_name());
}

bool ConfigReader::has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

int64_t ConfigReader::size(const char* key, int64_t max) const {
  const auto value = json_member<int64_t>(json_, key, where_);
  require<DataError>(value >= 1 && value <= max, where_, ": ", key, " is ", value,
                     ", it must be between 1 and ", max);
  return value;
}

int64_t ConfigReader::size_or(const char* key, int64_t fallback, int64_t max) const {
  return has(key) ? size(key, max) : fallback;
}

std::optional<int64_t> ConfigReader::size_if(const char* key, int64_t max) const {
  return has(key) ? std::optional(size(key, max)) : std::nullopt;
}

std::optional<int64_t> ConfigReader::size_if(const char* key, int64_t fallback, int64_t max) const {
  return json_.contains(key) ? size_if(key, max) : fallback;
}

int64_t ConfigReader::count_or(const char* key, int64_t fallback, int64_t max) const {
  if (!has(key)) return fallback;
  const auto value = json_member<int64_t>(json_, key, where_);
  require<DataError>(value >= 0 && value <= max, where_, ": ", key, " is ", value,
                     ", it must be between 0 and ", max);
  return value;
}

double ConfigReader::number(const char* key) const {
  const auto value = json_member<double>(json_, key, where_);
  require<DataError>(std::isfinite(value), where_, ": ", key, " is ", value);
  return value;
}

double ConfigReader::number_or(const char* key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

std::optional<double> ConfigReader::number_if(const char* key) const {
  return has(key) ? std::optional(number(key)) : std::nullopt;
}

std::optional<double> ConfigReader::number_if(const char* key, double fallback) const {
  return json_.contains(key) ? number_if(key) : fallback;
}

bool ConfigReader::flag_or(const char* key, bool fallback) const {
  return json_member_or(json_, key, fallback, where_);
}

std::string ConfigReader::text_or(const char* key, const std::string& fallback) const {
  return json_member_or(json_, key, fallback, where_);
}

ConfigReader ConfigReader::object(const char* key) const {
  require<DataError>(has(key), where_, ": there is no \"", key, "\"");
  return {json_.at(key), where_ + ": " + key};
}

}  // namespace sluice::model
