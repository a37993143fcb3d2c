// Where a template stands and how much of its limits is left: whatever runs takes it along.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "text/chat_template.h"

namespace sluice::text::jinja {

// How deep lists may lie in lists; a conversation has at most JsonLimits::max_depth.
inline constexpr int kMaxValueDepth = 128;

// Belongs to one rendering. Work is paid for before it is done, memory included: a step is about 64 bytes of
// text or eight items of a list.
class Context {
 public:
  Context(std::string where, const TemplateLimits& limits);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // The line that errors name from now on.
  void set_line(int line) { line_ = line; }

  // Throws DataError "where:line: ...".
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    sluice::fail<DataError>(where_, ":", line_, ": ", parts...);
  }
  template <class... Parts>
  void require(bool condition, const Parts&... parts) const {
    if (!condition) [[unlikely]] {
      fail(parts...);
    }
  }

  void charge(int64_t steps = 1) {
    steps_ += steps;
    if (steps_ >= next_check_) check();
  }
  // For text that is about to be made or walked over, `before` bytes of it already paid.
  void charge_bytes(size_t bytes, size_t before = 0);
  // For a list that is about to be made.
  void charge_items(size_t items);

  // Runs when the context ends: values that can hold each other in a circle are emptied there.
  void at_end(std::function<void()> action);

 private:
  friend class Nested;
  void check();

  const std::string where_;
  const TemplateLimits limits_;
  const SteadyClock clock_;
  const Millis deadline_ms_;
  int line_ = 1;
  int64_t steps_ = 0;
  int64_t next_check_;
  int64_t depth_ = 0;
  std::vector<std::function<void()>> at_end_;
};

// One level deeper while it lives: the machine's stack is finite.
class Nested {
 public:
  explicit Nested(Context& context);
  ~Nested() { --context_.depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Context& context_;
};

}  // namespace sluice::text::jinja
