#include "model/internal/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace sluice::model {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kLengthBytes = 8;

struct Type {
  const char* name;
  at::ScalarType type;
  uint64_t bytes;
};
constexpr std::array<Type, 7> kTypes{{{"F32", at::ScalarType::Float, 4},
                                      {"F16", at::ScalarType::Half, 2},
                                      {"BF16", at::ScalarType::BFloat16, 2},
                                      {"I64", at::ScalarType::Long, 8},
                                      {"I32", at::ScalarType::Int, 4},
                                      {"U8", at::ScalarType::Byte, 1},
                                      {"BOOL", at::ScalarType::Bool, 1}}};

const Type& type_named(const std::string& name, const std::string& where) {
  for (const auto& type : kTypes) {
    if (name == type.name) return type;
  }
  fail<DataError>(where, ": type \"", name,
                  "\" is not supported; those that are: F32, F16, BF16, I64, I32, U8, BOOL");
}

uint64_t unsigned_of(const Json& value, const char* what, const std::string& where) {
  require<DataError>(value.is_number_unsigned(), where, ": a number in ", what,
                     " is not a whole number from 0 on");
  return value.get<uint64_t>();
}

const Json& array_of(const Json& entry, const char* key, const std::string& where) {
  require<DataError>(entry.contains(key) && entry.at(key).is_array(), where, ": no array \"", key, "\"");
  return entry.at(key);
}

// Strides are products of sizes too, so those of an empty tensor must not overflow either.
std::pair<std::vector<int64_t>, uint64_t> shape_and_bytes(const Json& sizes, uint64_t type_bytes,
                                                          const std::string& where) {
  std::vector<int64_t> shape;
  int64_t bytes = static_cast<int64_t>(type_bytes);
  bool empty = false;
  for (const Json& value : sizes) {
    const uint64_t size = unsigned_of(value, "shape", where);
    const bool overflows =
        size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        __builtin_mul_overflow(bytes, std::max<int64_t>(1, static_cast<int64_t>(size)), &bytes);
    require<DataError>(!overflows, where, ": shape ", sizes.dump(), " overflows");
    empty = empty || size == 0;
    shape.push_back(static_cast<int64_t>(size));
  }
  return {shape, empty ? 0 : static_cast<uint64_t>(bytes)};
}

SafetensorsEntry parse_entry(const std::string& name, const Json& entry, uint64_t data_bytes,
                             const std::string& where) {
  require<DataError>(entry.is_object() && entry.size() == 3, where,
                     ": not an object of dtype, shape and data_offsets");
  const Type& type = type_named(json_member<std::string>(entry, "dtype", where), where);
  const auto [shape, bytes] = shape_and_bytes(array_of(entry, "shape", where), type.bytes, where);
  const Json& offsets = array_of(entry, "data_offsets", where);
  require<DataError>(offsets.size() == 2, where, ": data_offsets has ", offsets.size(), " numbers");
  const uint64_t begin = unsigned_of(offsets[0], "data_offsets", where);
  const uint64_t end = unsigned_of(offsets[1], "data_offsets", where);
  require<DataError>(begin <= end && end <= data_bytes, where, ": bytes ", begin, " .. ", end, " of ",
                     data_bytes, begin <= end ? "; the file is shorter than its header says" : "");
  require<DataError>(end - begin == bytes, where, ": ", end - begin, " bytes, its shape and type need ",
                     bytes);
  return {name, type.type, shape, begin, end};
}

void check_metadata(const Json& metadata, const std::string& where) {
  require<DataError>(metadata.is_object(), where, ": __metadata__ is not an object");
  for (const auto& [key, value] : metadata.items()) {
    require<DataError>(value.is_string(), where, ": __metadata__ \"", key, "\" is not a string");
  }
}

// In order of their bytes, without a hole or an overlap, up to the last byte of the file.
void check_coverage(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes,
                    const std::string& where) {
  std::vector<const SafetensorsEntry*> sorted;
  for (const auto& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t expected = 0;
  for (const auto* entry : sorted) {
    require<DataError>(entry->begin == expected, where, ": tensor \"", entry->name, "\" begins at byte ",
                       entry->begin,
                       entry->begin < expected ? ", which overlaps" : ", which leaves a hole after",
                       " what ends at ", expected);
    expected = entry->end;
  }
  require<DataError>(expected == data_bytes, where, ": the tensors end at byte ", expected, " of ",
                     data_bytes);
}

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view file, const std::string& where) {
  require<DataError>(file.size() >= kLengthBytes, where, ": ", file.size(), " bytes are no safetensors file");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  require<DataError>(length <= kMaxHeader, where, ": a header of ", length, " bytes, at most ", kMaxHeader,
                     " are allowed");
  require<DataError>(length <= file.size() - kLengthBytes, where, ": a header of ", length,
                     " bytes in a file of ", file.size());
  const auto text = file.substr(kLengthBytes, length);
  require<DataError>(text.starts_with('{'), where, ": the header does not start with {");
  const Json header = parse_json(text, where, {.max_bytes = kMaxHeader, .max_depth = 4});

  const uint64_t data_begin = kLengthBytes + length, data_bytes = file.size() - data_begin;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(entry, where);
    } else {
      entries.push_back(parse_entry(name, entry, data_bytes, where + ": tensor \"" + name + "\""));
    }
  }
  check_coverage(entries, data_bytes, where);
  for (auto& entry : entries) {
    entry.begin += data_begin;
    entry.end += data_begin;
  }
  return entries;
}

std::string safetensors_type_name(at::ScalarType type) {
  for (const auto& known : kTypes) {
    if (known.type == type) return known.name;
  }
  fail("safetensors: tensors of type ", c10::toString(type), " are not written");
}

}  // namespace sluice::model
