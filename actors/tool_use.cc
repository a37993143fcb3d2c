#include "actors/tool_use.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/trace.h"

namespace sluice::actors {

ToolUse::ToolUse(Engine& engine, const text::Tokenizer& tokenizer, const rewards::Toolbox& tools,
                 const ToolUseOptions& options)
    : engine_(engine),
      tokenizer_(tokenizer),
      tools_(tools),
      options_(options),
      conversation_(marks_of(options.form)),
      plain_(marks_of(text::observation_form(nullptr))) {
  require(options.max_calls > 0 && options.max_observation_tokens > 0 && options.threads > 0,
          "tools: ", options.max_calls, " calls, ", options.max_observation_tokens,
          " tokens of an observation, ", options.threads, " threads");
  engine.when_call_is_made([this](const GenerationRequest& request, int64_t sample, std::string call) {
    add(request, sample, std::move(call));
  });
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
  }
}

ToolUse::~ToolUse() {
  for (auto& thread : threads_) thread.request_stop();
  if (num_open_ > 0) tools_.interrupt();
}

ToolUse::Marks ToolUse::marks_of(const text::ObservationForm& form) const {
  return {tokenizer_.encode(form.before), tokenizer_.encode(form.after)};
}

void ToolUse::add(const GenerationRequest& request, int64_t sample, std::string text) {
  auto& [calls, watch] = requests_[request.id];
  ++watch.calls;
  ++num_open_;
  Call call{
      .id = request.id,
      .sample = sample,
      .text = std::move(text),
      .one_too_many = ++calls[sample] > options_.max_calls,
      .in_conversation = options_.form.turn.empty() ||
                         tokenizer_.decode(request.prompt, /*keep_specials=*/true).find(options_.form.turn) !=
                             std::string::npos};
  {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  wake_.notify_all();
}

void ToolUse::pass_on(Millis wait_ms) {
  std::vector<Answered> answered;
  {
    std::unique_lock lock(mutex_);
    const auto there = [this] { return failure_ || !answered_.empty(); };
    if (engine_.waits_for_calls()) wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), there);
    if (failure_) std::rethrow_exception(failure_);
    answered.swap(answered_);
  }
  num_open_ -= std::ssize(answered);
  for (const auto& [call, answer, seconds] : answered) {
    auto& watch = requests_.at(call.id).watch;
    watch.failed += answer.failed ? 1 : 0;
    watch.seconds += seconds;
    engine_.append(call.id, call.sample, observation(call, answer.text));
  }
}

buffers::ToolWatch ToolUse::take_watch(uint64_t id) {
  const auto request = requests_.extract(id);
  return request.empty() ? buffers::ToolWatch() : request.mapped().watch;
}

std::vector<int32_t> ToolUse::observation(const Call& call, const std::string& said) const {
  const auto& [before, after] = call.in_conversation ? conversation_ : plain_;
  auto ids = before;
  auto middle = tokenizer_.encode(said, text::Specials::AsText);
  if (std::ssize(middle) > options_.max_observation_tokens)
    middle.resize(static_cast<size_t>(options_.max_observation_tokens));
  ids.insert(ids.end(), middle.begin(), middle.end());
  ids.insert(ids.end(), after.begin(), after.end());
  return ids;
}

rewards::ToolAnswer ToolUse::answer(const Call& call) const {
  if (!call.one_too_many) return tools_.answer(call.text);
  return {"error: that is more than " + std::to_string(options_.max_calls) + " calls, no more are answered",
          /*failed=*/true};
}

void ToolUse::run(const std::stop_token& stop) {
  pulse_.adopt();
  try {
    while (true) {
      Call call;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, stop, [this] { return !calls_.empty(); });
        if (stop.stop_requested()) return;
        call = std::move(calls_.front());
        calls_.pop_front();
      }
      const auto began = std::chrono::steady_clock::now();
      const Traced trace("tool");
      auto said = answer(call);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      {
        const std::lock_guard lock(mutex_);
        answered_.push_back({std::move(call), std::move(said), seconds});
      }
      wake_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    wake_.notify_all();
  }
}

}  // namespace sluice::actors
