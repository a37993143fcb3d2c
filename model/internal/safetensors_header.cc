#include "model/internal/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/quoted_name.h"

namespace sluice::model {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kLengthBytes = 8;
constexpr size_t kMaxDims = 64;          // what ATen's kernels take
constexpr size_t kMaxMetadata = 65'536;  // far above what anyone writes; they are kept to find a second one

struct Type {
  const char* name;
  at::ScalarType type;
  uint64_t bytes;
};
constexpr std::array<Type, 15> kTypes{{{"BOOL", at::ScalarType::Bool, 1},
                                       {"U8", at::ScalarType::Byte, 1},
                                       {"I8", at::ScalarType::Char, 1},
                                       {"I16", at::ScalarType::Short, 2},
                                       {"U16", at::ScalarType::UInt16, 2},
                                       {"I32", at::ScalarType::Int, 4},
                                       {"U32", at::ScalarType::UInt32, 4},
                                       {"I64", at::ScalarType::Long, 8},
                                       {"U64", at::ScalarType::UInt64, 8},
                                       {"F8_E4M3", at::ScalarType::Float8_e4m3fn, 1},
                                       {"F8_E5M2", at::ScalarType::Float8_e5m2, 1},
                                       {"F16", at::ScalarType::Half, 2},
                                       {"BF16", at::ScalarType::BFloat16, 2},
                                       {"F32", at::ScalarType::Float, 4},
                                       {"F64", at::ScalarType::Double, 8}}};

const Type& type_named(const std::string& name, const std::string& where) {
  std::string known;
  for (const auto& type : kTypes) {
    if (name == type.name) return type;
    known += std::string(known.empty() ? "" : ", ") + type.name;
  }
  fail<DataError>(where, ": type ", quoted_name(name), " is not supported; those that are: ", known);
}

// Strides are products of sizes too, so those of an empty tensor must not overflow either.
uint64_t bytes_of(const std::vector<int64_t>& shape, uint64_t type_bytes, const std::string& where) {
  auto bytes = static_cast<int64_t>(type_bytes);
  bool empty = false;
  for (const int64_t size : shape) {
    require<DataError>(!__builtin_mul_overflow(bytes, std::max<int64_t>(1, size), &bytes), where, ": shape ",
                       c10::IntArrayRef(shape), " overflows");
    empty = empty || size == 0;
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

// Receives the JSON parser's events. What does not belong where it stands is refused at once, so that nothing
// is kept but entries, and nothing nests deeper than an entry's arrays.
class HeaderReader {
 public:
  HeaderReader(uint64_t data_bytes, const std::string& where) : data_bytes_(data_bytes), where_(where) {}

  bool null() { return refuse("null"); }
  bool boolean(bool) { return refuse("a boolean"); }
  bool number_integer(int64_t value) { return refuse("the number " + std::to_string(value)); }
  bool number_float(double, const std::string& text) { return refuse("the number " + text.substr(0, 40)); }
  bool binary(Json::binary_t&) { return refuse("binary"); }

  bool number_unsigned(uint64_t value) {
    if (level_ == Level::Shape) {
      require<DataError>(value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), inside(),
                         ": shape with ", value, " overflows");
      require<DataError>(entry_.shape.size() < kMaxDims, inside(), ": more than ", kMaxDims, " dimensions");
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (level_ != Level::Offsets) return refuse("the number " + std::to_string(value));
    require<DataError>(num_offsets_ < 2, inside(), ": data_offsets has more than 2 numbers");
    (num_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }

  bool string(std::string& value) {
    if (level_ == Level::Metadata) return true;
    if (level_ != Level::Entry || key_ != "dtype") return refuse("the string " + quoted_name(value));
    type_ = &type_named(value, inside());
    return true;
  }

  bool start_object(size_t) {
    if (level_ == Level::Start) {
      level_ = Level::Header;
      return true;
    }
    if (level_ != Level::Header) return refuse("an object");
    level_ = entry_.name == kMetadata ? Level::Metadata : Level::Entry;
    keys_.clear();
    return true;
  }

  bool key(std::string& name) {
    if (level_ == Level::Header) {
      entry_ = {std::move(name), {}, {}, 0, 0};
      num_offsets_ = 0;
      require<DataError>(entry_.name != kMetadata || !std::exchange(has_metadata_, true), where_,
                         ": __metadata__ stands twice");
      return true;
    }
    require<DataError>(
        level_ == Level::Metadata || name == "dtype" || name == "shape" || name == "data_offsets", inside(),
        ": unknown key ", quoted_name(name), ", an entry is an object of dtype, shape and data_offsets");
    require<DataError>(keys_.size() < kMaxMetadata, where_, ": __metadata__ has more than ", kMaxMetadata,
                       " entries");
    require<DataError>(keys_.insert(name).second, inside(), ": the key ", quoted_name(name), " stands twice");
    key_ = std::move(name);
    return true;
  }

  bool start_array(size_t) {
    if (level_ != Level::Entry || key_ == "dtype") return refuse("an array");
    level_ = key_ == "shape" ? Level::Shape : Level::Offsets;
    return true;
  }

  bool end_array() {
    level_ = Level::Entry;
    return true;
  }

  bool end_object() {
    if (level_ == Level::Entry) finish_entry();
    level_ = level_ == Level::Header ? Level::End : Level::Header;
    return true;
  }

  // `position` counts the bytes read, so the last of them is the one that does not fit.
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    std::string text = error.what();
    if (const size_t end = text.find("] "); end != std::string::npos) text.erase(0, end + 2);
    fail<DataError>(where_, ": the header is not JSON at byte ", kLengthBytes + position - 1, ": ",
                    text.substr(0, 240));
  }

  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

 private:
  static constexpr const char* kMetadata = "__metadata__";
  enum class Level { Start, Header, Metadata, Entry, Shape, Offsets, End };

  std::string inside() const { return where_ + ": tensor " + quoted_name(entry_.name); }

  bool refuse(const std::string& what) {
    switch (level_) {
      case Level::Metadata:
        fail<DataError>(where_, ": __metadata__ ", quoted_name(key_), " is ", what, " and not a string");
      case Level::Shape:
      case Level::Offsets:
        fail<DataError>(inside(), ": ", key_, " holds ", what, " and not only whole numbers from 0 on");
      case Level::Entry:
        fail<DataError>(inside(), ": ", key_, " is ", what);
      default:
        require<DataError>(entry_.name != kMetadata, where_, ": __metadata__ is ", what,
                           " and not an object");
        fail<DataError>(inside(), ": ", what, " and not an object of dtype, shape and data_offsets");
    }
  }

  void finish_entry() {
    require<DataError>(keys_.size() == 3, inside(), ": not an object of dtype, shape and data_offsets");
    require<DataError>(num_offsets_ == 2, inside(), ": data_offsets has ", num_offsets_, " numbers");
    entry_.type = type_->type;
    const uint64_t begin = entry_.begin, end = entry_.end,
                   bytes = bytes_of(entry_.shape, type_->bytes, inside());
    require<DataError>(begin <= end && end <= data_bytes_, inside(), ": bytes ", begin, " .. ", end, " of ",
                       data_bytes_, begin <= end ? "; the file is shorter than its header says" : "");
    require<DataError>(end - begin == bytes, inside(), ": ", end - begin, " bytes, its shape ",
                       c10::IntArrayRef(entry_.shape), " and type ", type_->name, " need ", bytes);
    entries_.push_back(std::move(entry_));
  }

  const uint64_t data_bytes_;
  const std::string& where_;
  Level level_ = Level::Start;
  std::string key_;             // the last one inside an entry or the metadata
  std::set<std::string> keys_;  // of the entry or the metadata that is open
  SafetensorsEntry entry_;      // the one that is open
  const Type* type_ = nullptr;
  int num_offsets_ = 0;
  bool has_metadata_ = false;
  std::vector<SafetensorsEntry> entries_;
};

std::vector<const SafetensorsEntry*> sorted(const std::vector<SafetensorsEntry>& entries, auto less) {
  std::vector<const SafetensorsEntry*> pointers;
  for (const auto& entry : entries) pointers.push_back(&entry);
  std::sort(pointers.begin(), pointers.end(), [&](const auto* a, const auto* b) { return less(*a, *b); });
  return pointers;
}

void check_names(const std::vector<SafetensorsEntry>& entries, const std::string& where) {
  const auto by_name = sorted(entries, [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(by_name.begin(), by_name.end(),
                                        [](const auto* a, const auto* b) { return a->name == b->name; });
  require<DataError>(twice == by_name.end(), where, ": tensor ",
                     twice == by_name.end() ? "" : quoted_name((*twice)->name), " stands twice");
}

// In order of their bytes, without a hole or an overlap, up to the last byte of the file.
void check_coverage(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes,
                    const std::string& where) {
  uint64_t expected = 0;
  for (const auto* entry : sorted(entries, [](const auto&a, const auto&b) {
         return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
       })) {
    require<DataError>(entry->begin == expected, where, ": tensor ", quoted_name(entry->name),
                       " begins at byte ", entry->begin,
                       entry->begin < expected ? ", which overlaps" : ", which leaves a hole after",
                       " what ends at ", expected);
    expected = entry->end;
  }
  require<DataError>(expected == data_bytes, where, ": the tensors end at byte ", expected, " of ",
                     data_bytes);
}

// Names, keys and at most 64 sizes are all that a header holds, so quotation marks follow each other soon.
// Looked at first, because the parser takes seconds to read megabytes of what it then refuses.
void check_pace(std::string_view header, const std::string& where) {
  constexpr size_t kMaxStride = 1 << 16;
  for (size_t last = 0, next = 0; last < header.size(); last = next + 1) {
    next = std::min(header.find('"', last), header.size());
    if (next - last <= kMaxStride) continue;
    fail<DataError>(where, ": ", next - last, " bytes without a quotation mark in the header, at byte ",
                    kLengthBytes + last, ": ", quoted_name(std::string(header.substr(last, kMaxStride))));
  }
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
  // The parser would take a zero byte for the end of the text.
  const size_t zero = text.find('\0');
  require<DataError>(zero == std::string_view::npos, where, ": a zero byte in the header, at byte ",
                     kLengthBytes + zero);

  check_pace(text, where);

  const uint64_t data_begin = kLengthBytes + length, data_bytes = file.size() - data_begin;
  HeaderReader reader(data_bytes, where);
  require<DataError>(Json::sax_parse(text.begin(), text.end(), &reader), where, ": the header is not JSON");
  auto entries = reader.take();
  check_names(entries, where);
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
