#include "text/jinja/loop.h"

#include <utility>

namespace sluice::text::jinja {

Loop::Loop(Next source, std::optional<int64_t> length, int depth)
    : source_(std::move(source)), length_(length), depth_(depth + 1) {}

std::optional<Value> Loop::next() {
  std::optional<Value> item = peeked_ ? std::exchange(peeked_, std::nullopt) : source_();
  previous_ = std::exchange(current_, item);
  if (item) ++index0_;
  return item;
}

const std::optional<Value>& Loop::peek() {
  if (!peeked_) peeked_ = source_();
  return peeked_;
}

// What has no length of its own is walked to its end and kept.
int64_t Loop::length(Context& context) {
  if (!length_) {
    auto rest = std::make_shared<std::vector<Value>>();
    while (auto item = source_()) {
      context.charge_items(1);
      rest->push_back(std::move(*item));
    }
    length_ = static_cast<int64_t>(rest->size()) + index0_ + 1 + (peeked_ ? 1 : 0);
    source_ = [rest, place = size_t{0}]() mutable -> std::optional<Value> {
      if (place == rest->size()) return std::nullopt;
      return (*rest)[place++];
    };
  }
  return *length_;
}

std::optional<Value> Loop::attribute(Context& context, const std::string& name) {
  if (name == "index0") return Value::integer(index0_);
  if (name == "index") return Value::integer(index0_ + 1);
  if (name == "first") return Value::boolean(index0_ == 0);
  if (name == "last") return Value::boolean(!peek());
  if (name == "length") return Value::integer(length(context));
  if (name == "revindex") return Value::integer(length(context) - index0_);
  if (name == "revindex0") return Value::integer(length(context) - index0_ - 1);
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") return previous_.value_or(Value::undefined("there is no previous item"));
  if (name == "nextitem") return peek() ? *peek() : Value::undefined("there is no next item");
  return std::nullopt;
}

Value make_loop(Context& context, std::shared_ptr<Loop> loop) {
  context.require(loop->depth() <= kMaxValueDepth, "values are nested deeper than ", kMaxValueDepth);
  return Value(Value::Data(std::move(loop)));
}

}  // namespace sluice::text::jinja
