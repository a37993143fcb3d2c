// JSON that came from outside: bounded in size and depth, duplicate keys refused.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace sluice {

// Object keys keep their order, so that a file written back reads as it did.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t max_bytes = 64u << 20;
  int max_depth = 64;
};

// Parses one document. Throws DataError naming `where` (a file, "message from actor 2") and the byte offset
// for malformed text, a duplicate key, too many bytes or too deep nesting.
Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});

// Reads and parses a file; throws DataError when it is missing or unreadable.
Json read_json(const std::filesystem::path& file, const JsonLimits& limits = {});

// The member `key` of an object as T. Throws DataError naming `where`, the key, the wanted and the found
// type. T is std::string, int64_t, double, bool, a vector of one of the first three, or Json for an array or
// object.
template <class T>
T json_member(const Json& object, const std::string& key, std::string_view where);
// The same, or `fallback` when the member is missing or null.
template <class T>
T json_member_or(const Json& object, const std::string& key, T fallback, std::string_view where);

}  // namespace sluice

#include "base/internal/json_member.h"
