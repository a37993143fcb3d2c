// command: any program that answers calls, a line of JSON each way (docs/tools.md).
//
//   program  {"sluice_tool": 1}                                          once, when it is ready
//   Sluice   {"id": 1, "arguments": {"query": "capital of France"}}
//   program  {"id": 1, "text": "Paris"}                                  or {"id": 1, "error": "no network"}
//
// A call is never repeated: it may have done something before its worker failed.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <iostream>
#include <mutex>

#include "rewards/plugins/worker.h"
#include "rewards/tools/entries.h"

namespace sluice::rewards::tools {
namespace {

using plugins::Worker;

constexpr int64_t kProtocol = 1;
constexpr size_t kMaxHelloBytes = 4u << 10, kMaxReplyBytes = 1u << 20;
int64_t number(const ToolSpec& spec, const char* key, int64_t fallback, int64_t most) {
  return plugins::bounded(spec.options, speaker(spec), key, fallback, 1, most);
}

class Command final : public Tool {
 public:
  explicit Command(const ToolSpec& spec)
      : name_(spec.name),
        says_(option<std::string>(spec, "description", "")),
        options_(plugins::worker_options(spec.options, speaker(spec),
                                         plugins::entry_command(spec.options, speaker(spec)))),
        timeout_ms_(number(spec, "timeout_ms", 10'000, plugins::kMaxTimeoutMs)),
        start_timeout_ms_(number(spec, "start_timeout_ms", 60'000, plugins::kMaxTimeoutMs)),
        slots_(static_cast<size_t>(number(spec, "workers", 1, plugins::kMaxWorkers))) {
    const auto problem = make_ready(slots_.front());
    require<UsageError>(problem.empty(), speaker(spec), ": ", problem);
  }

  const std::string& name() const override { return name_; }
  Json description() const override {
    return described(name_, says_, {{"type", "object"}, {"properties", Json::object()}});
  }
  ToolAnswer call(const Json& arguments) override {
    Slot& slot = take();
    ToolAnswer answer;
    try {
      answer = ask(slot, arguments);
    } catch (const std::exception& error) {
      answer = {std::string("error: ") + error.what(), /*failed=*/true};
    }
    give_back(slot);
    return answer;
  }
  void interrupt() override { interrupted_ = true; }

 private:
  struct Slot {
    bool taken = false;  // guarded by mutex_; the rest is the taker's
    std::unique_ptr<Worker> worker;
    int64_t last_id = 0;
    int64_t failures = 0;  // in a row
    Millis failed_at_ms = 0;
  };

  Slot& take() {
    std::unique_lock lock(mutex_);
    Slot* found = nullptr;
    free_.wait(lock, [&] {
      const auto slot = std::ranges::find_if(slots_, [](const Slot& one) { return !one.taken; });
      found = slot == slots_.end() ? nullptr : &*slot;
      return found != nullptr;
    });
    found->taken = true;
    return *found;
  }

  void give_back(Slot& slot) {
    {
      const std::lock_guard lock(mutex_);
      slot.taken = false;
    }
    free_.notify_one();
  }

  ToolAnswer ask(Slot& slot, const Json& arguments) {
    auto problem = make_ready(slot);
    if (problem.empty()) {
      const Json request = {{"id", ++slot.last_id}, {"arguments", arguments}};
      slot.worker->ask(request.dump(-1, ' ', false, Json::error_handler_t::replace), kMaxReplyBytes,
                       timeout_ms_, "reply");
      problem = wait_for(slot);
    }
    if (problem.empty()) {
      try {
        auto answer = read_reply(slot.worker->answer(), slot.last_id);
        slot.failures = 0;
        return answer;
      } catch (const DataError& error) {
        problem = std::string("bad output: ") + error.what();
      }
    }
    fail(slot);
    return {"error: " + problem, /*failed=*/true};
  }

  static ToolAnswer read_reply(std::string_view line, int64_t id) {
    const Json reply = parse_json(line, "reply", {.max_bytes = kMaxReplyBytes});
    const auto to = json_member<int64_t>(reply, "id", "reply");
    require<DataError>(to == id, "reply: it is to call ", to, ", call ", id, " was made");
    if (reply.contains("error")) return {"error: " + json_member<std::string>(reply, "error", "reply"), true};
    return {json_member<std::string>(reply, "text", "reply")};
  }

  // Starts a worker where there is none that can be asked. Returns why there is none then.
  std::string make_ready(Slot& slot) {
    if (slot.worker != nullptr) {
      const auto why = slot.worker->why_unusable();
      if (why.empty()) return "";
      std::cerr << "sluice: tool " << name_ << ": its worker is replaced: " << why << '\n';
      slot.worker.reset();
    }
    plugins::pause_before_another_try(slot.failures, slot.failed_at_ms, interrupted_);
    if (interrupted_) return "interrupted: no answer is wanted any more";
    try {
      slot.worker = std::make_unique<Worker>(options_);
      slot.worker->ask("", kMaxHelloBytes, start_timeout_ms_, "hello");
      auto problem = wait_for(slot);
      if (problem.empty()) {
        const Json hello = parse_json(slot.worker->answer(), "hello", {.max_bytes = kMaxHelloBytes});
        const auto protocol = json_member<int64_t>(hello, "sluice_tool", "hello");
        require<DataError>(protocol == kProtocol, "hello: the tool speaks protocol ", protocol, ", this is ",
                           kProtocol);
        return "";
      }
      fail(slot);
      return "not started: " + problem;
    } catch (const Error& error) {
      fail(slot);
      return std::string("not started: ") + error.what();
    }
  }

  std::string wait_for(Slot& slot) const {
    Worker* const worker = slot.worker.get();
    Worker::wait_for_all({&worker, 1}, interrupted_);
    return worker->failure();
  }

  static void fail(Slot& slot) {
    slot.worker.reset();
    ++slot.failures;
    slot.failed_at_ms = SteadyClock().now_ms();
  }

  const std::string name_, says_;
  const plugins::WorkerOptions options_;
  const Millis timeout_ms_, start_timeout_ms_;
  std::mutex mutex_;
  std::condition_variable free_;
  std::vector<Slot> slots_;
  std::atomic<bool> interrupted_ = false;
};

}  // namespace

std::unique_ptr<Tool> make_command(const ToolSpec& spec) { return std::make_unique<Command>(spec); }

}  // namespace sluice::rewards::tools
