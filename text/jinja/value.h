// What a template computes with: the values of JSON, and the few kinds that Jinja adds.
//
// Values are immutable and shared, but for a namespace and what can be walked over once. The kinds, their
// names and their behaviour are Python's, because that is what templates are written against.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja/context.h"

namespace sluice::text::jinja {

struct Undefined {
  std::shared_ptr<const std::string> why;  // "'tools' is undefined"; null reads "undefined"
  bool operator==(const Undefined&) const = default;
};
struct None {
  bool operator==(const None&) const = default;
};
struct Text;
struct List;
class Dict;
struct Namespace;
struct Function;
struct Generator;
class Loop;

class Value {
 public:
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                   std::shared_ptr<const Function>, std::shared_ptr<Generator>, std::shared_ptr<Loop>>;
  Value() = default;  // undefined
  explicit Value(Data data) : data_(std::move(data)) {}

  static Value undefined(std::string why);
  static Value none() { return Value(Data(None{})); }
  static Value boolean(bool value) { return Value(Data(value)); }
  static Value integer(int64_t value) { return Value(Data(value)); }
  static Value real(double value) { return Value(Data(value)); }
  static Value text(std::string bytes, bool markup = false);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  // Null when the value is of another kind.
  const bool* as_boolean() const { return std::get_if<bool>(&data_); }
  const double* as_real() const { return std::get_if<double>(&data_); }
  const std::string* as_text() const;
  template <class T>
  T* as() const {  // T is one of the shared kinds, const where the variant has it so
    const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }
  // An integer or a boolean, which counts as 0 or 1.
  std::optional<int64_t> as_integer() const;
  // Those and real numbers.
  std::optional<double> as_number() const;

  bool is_markup() const;
  const Data& data() const { return data_; }

 private:
  Data data_;
};

struct Text {
  std::string bytes;
  bool markup = false;  // what `safe` and `escape` return: + escapes what is joined to it
};

struct List {
  enum class Kind { List, Tuple, Range, Keys, Values, Items };
  Kind kind = Kind::List;
  std::vector<Value> items;
  std::string shown;  // how a range prints
  int depth = 1;
};

// Keeps the order in which keys came.
class Dict {
 public:
  // Replaces what an equal key had. Fails for a key that cannot be one, a list or a dictionary.
  void set(Context& context, const Value& key, Value value);
  const Value* find(std::string_view key) const;
  const Value* find(Context& context, const Value& key) const;
  const std::vector<std::pair<Value, Value>>& items() const { return items_; }
  int depth() const { return depth_; }

 private:
  std::vector<std::pair<Value, Value>> items_;
  std::unordered_map<std::string, size_t> index_;  // key_of() -> place in items_
  int depth_ = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Context&, Arguments)> call;
  int depth = 0;  // of what it is bound to
};

using Next = std::function<std::optional<Value>()>;

// Can be walked over once; what it yields is computed on the way.
struct Generator {
  Next next;
  int depth = 1;
};

Value make_list(Context& context, std::vector<Value> items, List::Kind kind = List::Kind::List);
Value make_tuple(Context& context, std::vector<Value> items);
Value make_dict(std::shared_ptr<const Dict> dict);
Value make_function(Context& context, std::string name, std::function<Value(Context&, Arguments)> call,
                    int depth);
Value make_generator(Context& context, Next next, int depth);

// As the template sees it. Fails for an integer beyond 64 bits.
Value from_json(Context& context, const Json& json);

// The name that Python gives to the kind.
const char* type_name(List::Kind kind);
const char* type_name(const Value& value);
bool truth(const Value& value);
// Fails for an undefined value, saying why it is.
void require_defined(Context& context, const Value& value);
// How deep containers lie in it; 0 for what is none.
int depth_of(const Value& value);
// Nothing for what has no length.
std::optional<int64_t> length_of(const Value& value);
// Equal for values that are equal; nothing for a value that cannot be a key.
std::optional<std::string> key_of(Context& context, const Value& value);

// Nothing for what cannot be walked over.
std::optional<Next> try_iterate(Context& context, const Value& value);
Next iterate(Context& context, const Value& value);
std::vector<Value> to_vector(Context& context, const Value& value);

}  // namespace sluice::text::jinja
