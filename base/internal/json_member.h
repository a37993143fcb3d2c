// The types json_member() knows: string, integer, double, bool, arrays of the first three, and Json itself
// for an array or an object.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice {
namespace internal {

template <class T>
inline constexpr const char* kJsonWanted = nullptr;
template <>
inline constexpr const char* kJsonWanted<std::string> = "a string";
template <>
inline constexpr const char* kJsonWanted<int64_t> = "an integer";
template <>
inline constexpr const char* kJsonWanted<double> = "a number";
template <>
inline constexpr const char* kJsonWanted<bool> = "true or false";
template <>
inline constexpr const char* kJsonWanted<Json> = "an array or an object";
template <>
inline constexpr const char* kJsonWanted<std::vector<std::string>> = "an array of strings";
template <>
inline constexpr const char* kJsonWanted<std::vector<int64_t>> = "an array of integers";
template <>
inline constexpr const char* kJsonWanted<std::vector<double>> = "an array of numbers";

// Each returns false when the value is of another type; nothing is converted except an integer to a double.
bool json_convert(const Json& value, std::string& out);
bool json_convert(const Json& value, int64_t& out);
bool json_convert(const Json& value, double& out);
bool json_convert(const Json& value, bool& out);
bool json_convert(const Json& value, Json& out);
bool json_convert(const Json& value, std::vector<std::string>& out);
bool json_convert(const Json& value, std::vector<int64_t>& out);
bool json_convert(const Json& value, std::vector<double>& out);

// Null when there is no such member. Throws DataError when `object` is not an object.
const Json* json_find(const Json& object, const std::string& key, std::string_view where);

// `value` is what was found, or null when there was nothing.
[[noreturn]] void json_member_fail(const Json* value, const std::string& key, std::string_view where,
                                   const char* wanted);

}  // namespace internal

template <class T>
T json_member(const Json& object, const std::string& key, std::string_view where) {
  static_assert(internal::kJsonWanted<T> != nullptr,
                "json_member: see base/internal/json_member.h for the types");
  const Json* value = internal::json_find(object, key, where);
  T out{};
  if (value == nullptr || !internal::json_convert(*value, out)) {
    internal::json_member_fail(value, key, where, internal::kJsonWanted<T>);
  }
  return out;
}

template <class T>
T json_member_or(const Json& object, const std::string& key, T fallback, std::string_view where) {
  const Json* value = internal::json_find(object, key, where);
  if (value == nullptr || value->is_null()) return fallback;
  return json_member<T>(object, key, where);
}

}  // namespace sluice
