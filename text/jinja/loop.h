// The variable `loop` of a for block.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

// Looks at the next item only when it is asked for one, because a filtered loop decides on the way.
class Loop {
 public:
  // `length` is that of `source` where it is known without walking; `depth` that of what is walked over.
  Loop(Next source, std::optional<int64_t> length, int depth);

  // Goes on to the next item; nothing at the end.
  std::optional<Value> next();
  // loop.index and so on; nothing for an attribute that loops do not have.
  std::optional<Value> attribute(Context& context, const std::string& name);
  int64_t index0() const { return index0_; }
  int depth() const { return depth_; }

 private:
  const std::optional<Value>& peek();
  int64_t length(Context& context);

  Next source_;
  std::optional<int64_t> length_;
  const int depth_;
  int64_t index0_ = -1;
  std::optional<Value> previous_;
  std::optional<Value> current_;
  std::optional<Value> peeked_;
};

Value make_loop(Context& context, std::shared_ptr<Loop> loop);

}  // namespace sluice::text::jinja
