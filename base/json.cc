#include "base/json.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/quoted_name.h"

namespace sluice {
namespace {

// Objects up to this size are searched for a duplicate key one by one; larger ones keep a set of their keys,
// so that a hostile object costs n log n and not n^2.
constexpr size_t kSmallObject = 16;
constexpr size_t kMaxErrorText = 240;

// Walks over the text and tells how far it has come, which the parser does not say in its callbacks.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, size_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*count_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  size_t* count_;
};

// Receives the parser's events and builds the document. Nothing here or in the parser recurses.
class Builder {
 public:
  Builder(std::string_view where, int max_depth, const size_t* offset)
      : where_(where), max_depth_(max_depth), offset_(offset) {}

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(int64_t value) { return scalar(value); }
  bool number_unsigned(uint64_t value) { return scalar(value); }
  bool number_float(double value, const std::string&) { return scalar(value); }
  bool string(std::string& value) { return scalar(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // JSON text has none

  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    Frame& frame = stack_.back();
    auto& object = frame.node->get_ref<Json::object_t&>();
    if (object.size() == kSmallObject) {
      for (const auto& member : object) frame.keys.insert(member.first);
    }
    bool fresh = true;
    if (object.size() < kSmallObject) {
      fresh = std::none_of(object.begin(), object.end(),
                           [&](const auto& member) { return member.first == name; });
    } else {
      fresh = frame.keys.insert(name).second;
    }
    require<DataError>(fresh, where_, ": the key ", quoted_name(name), " stands twice, at byte ", *offset_);
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    std::string text = error.what();
    if (const size_t end = text.find("] "); end != std::string::npos) text.erase(0, end + 2);
    if (text.size() > kMaxErrorText) text = text.substr(0, kMaxErrorText) + "...";
    // It repeats what it read, which need not be text.
    std::ranges::replace_if(
        text, [](unsigned char byte) { return byte >= 0x80; }, '?');
    fail<DataError>(where_, ": not JSON at byte ", position, ": ", text);
  }

  Json take() { return std::move(root_); }

 private:
  struct Frame {
    Json* node;                  // stays where it is: its parent does not grow while it is open
    std::set<std::string> keys;  // of an object larger than kSmallObject
  };

  template <class T>
  bool scalar(T&& value) {
    add(Json(std::forward<T>(value)));
    return true;
  }

  Json* add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *stack_.back().node;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& object = parent.get_ref<Json::object_t&>();
    object.emplace_back(std::move(key_), std::move(value));
    return &object.back().second;
  }

  bool open(Json container) {
    require<DataError>(stack_.size() < static_cast<size_t>(max_depth_), where_, ": JSON nested deeper than ",
                       max_depth_, " levels, at byte ", *offset_);
    stack_.push_back({add(std::move(container)), {}});
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  const std::string_view where_;
  const int max_depth_;
  const size_t* offset_;
  Json root_;
  std::string key_;
  std::vector<Frame> stack_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  require<DataError>(text.size() <= limits.max_bytes, where, ": JSON of ", text.size(), " bytes, at most ",
                     limits.max_bytes, " are read");
  size_t offset = 0;
  Builder builder(where, limits.max_depth, &offset);
  const CountingIterator begin(text.data(), &offset);
  const CountingIterator end(text.data() + text.size(), &offset);
  require<DataError>(Json::sax_parse(begin, end, &builder), where, ": not JSON at byte ", offset);
  return builder.take();
}

Json read_json(const std::filesystem::path& file, const JsonLimits& limits) {
  return parse_json(read_file(file, limits.max_bytes), file.string(), limits);
}

namespace internal {
namespace {

template <class T>
bool convert_each(const Json& value, std::vector<T>& out) {
  if (!value.is_array()) return false;
  out.reserve(value.size());
  for (const Json& element : value) {
    T converted{};
    if (!json_convert(element, converted)) return false;
    out.push_back(std::move(converted));
  }
  return true;
}

}  // namespace

bool json_convert(const Json& value, std::string& out) {
  if (!value.is_string()) return false;
  out = value.get_ref<const std::string&>();
  return true;
}

bool json_convert(const Json& value, int64_t& out) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return false;
  }
  out = value.get<int64_t>();
  return true;
}

bool json_convert(const Json& value, double& out) {
  if (!value.is_number()) return false;
  out = value.get<double>();
  return true;
}

bool json_convert(const Json& value, bool& out) {
  if (!value.is_boolean()) return false;
  out = value.get<bool>();
  return true;
}

bool json_convert(const Json& value, Json& out) {
  if (!value.is_structured()) return false;
  out = value;
  return true;
}

bool json_convert(const Json& value, std::vector<std::string>& out) { return convert_each(value, out); }
bool json_convert(const Json& value, std::vector<int64_t>& out) { return convert_each(value, out); }
bool json_convert(const Json& value, std::vector<double>& out) { return convert_each(value, out); }

const Json* json_find(const Json& object, const std::string& key, std::string_view where) {
  require<DataError>(object.is_object(), where, ": an object with \"", key, "\" is wanted, saw ",
                     object.type_name());
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

void json_member_fail(const Json* value, const std::string& key, std::string_view where, const char* wanted) {
  require<DataError>(value != nullptr, where, ": \"", key, "\" is missing, ", wanted, " is wanted");
  const std::string seen = value->is_number() || value->is_boolean() ? " " + value->dump() : "";
  fail<DataError>(where, ": \"", key, "\" should be ", wanted, ", saw ", value->type_name(), seen);
}

}  // namespace internal
}  // namespace sluice
