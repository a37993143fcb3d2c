#include "text/jinja/context.h"

#include <algorithm>
#include <utility>

namespace sluice::text::jinja {
namespace {

constexpr int64_t kStepsBetweenChecks = 2048;
constexpr int64_t kBytesPerStep = 64;
constexpr int64_t kItemsPerStep = 8;
// Levels of the renderer for one of the template's own: a macro's call is a block, an output, an expression.
constexpr int64_t kLevelsPerDepth = 16;

}  // namespace

Context::Context(std::string where, const TemplateLimits& limits)
    : where_(std::move(where)),
      limits_(limits),
      deadline_ms_(clock_.now_ms() + limits.timeout_ms),
      next_check_(std::min(kStepsBetweenChecks, limits.max_steps + 1)) {}

Context::~Context() {
  for (const auto& action : at_end_) action();
}

void Context::charge_bytes(size_t bytes, size_t before) {
  const auto limit = static_cast<size_t>(limits_.max_output_bytes);
  require(bytes <= limit && before <= limit - bytes, "a text of ", before + bytes, " bytes, at most ", limit,
          " are allowed");
  charge(1 + static_cast<int64_t>(bytes) / kBytesPerStep);
}

void Context::charge_items(size_t items) {
  const auto steps = static_cast<int64_t>(items / static_cast<size_t>(kItemsPerStep));
  require(steps <= limits_.max_steps, "a list of ", items, " items is too long");
  charge(1 + steps);
}

void Context::at_end(std::function<void()> action) { at_end_.push_back(std::move(action)); }

void Context::check() {
  require(steps_ <= limits_.max_steps, "the template takes more than ", limits_.max_steps, " steps");
  require(clock_.now_ms() <= deadline_ms_, "the template takes longer than ", limits_.timeout_ms, " ms");
  next_check_ = std::min(steps_ + kStepsBetweenChecks, limits_.max_steps + 1);
}

Nested::Nested(Context& context) : context_(context) {
  context_.require(context_.depth_ < context_.limits_.max_depth * kLevelsPerDepth,
                   "calls are nested too deeply, at most ", context_.limits_.max_depth,
                   " levels are allowed");
  ++context_.depth_;
}

}  // namespace sluice::text::jinja
