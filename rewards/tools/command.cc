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
#include <filesystem>
#include <iostream>
#include <mutex>
#include <thread>

#include "rewards/plugins/words.h"
#include "rewards/plugins/worker.h"
#include "rewards/tools/entries.h"

namespace sluice::rewards::tools {
namespace {

using plugins::Worker;

constexpr int64_t kProtocol = 1;
constexpr size_t kMaxHelloBytes = 4u << 10, kMaxReplyBytes = 1u << 20;
constexpr int64_t kMaxTimeoutMs = 3'600'000, kMaxMemoryMb = 1 << 20, kMaxWorkers = 256;
constexpr int64_t kNoCpuLimit = 1 << 30;  // seconds; a worker answers many calls
constexpr Millis kFirstPauseMs = 100;     // before the second start in a row, then twice as long
constexpr Millis kLongestPauseMs = 5'000;

plugins::WorkerOptions worker_options(const ToolSpec& spec) {
  require<UsageError>(spec.options.contains("command"), speaker(spec), ": give the program as `command`");
  plugins::WorkerOptions options;
  options.folder = std::filesystem::absolute(option<std::string>(spec, "folder", "."));
  options.command = plugins::command_words(spec.options.at("command"));
  // A name without a slash is looked up on PATH.
  auto& program = options.command.front();
  if (program.find('/') != std::string::npos) program = (options.folder / program).string();
  options.memory_mb = bounded(spec, "memory_mb", 4096, 0, kMaxMemoryMb);
  options.sandbox = {.level = sandbox_level(option<std::string>(spec, "sandbox", "none"), speaker(spec)),
                     .limits = {.cpu_s = kNoCpuLimit, .processes = plugins::kMaxProcesses},
                     .readable = {options.folder}};
  if (options.memory_mb > 0)
    options.sandbox.limits.memory_bytes = static_cast<uint64_t>(options.memory_mb) << 20u;
  for (const auto& path : option<std::vector<std::string>>(spec, "readable", {})) {
    options.sandbox.readable.emplace_back(options.folder / path);
  }
  require_sandbox(options.sandbox.level, speaker(spec));
  return options;
}

class Command final : public Tool {
 public:
  explicit Command(const ToolSpec& spec)
      : name_(spec.name),
        says_(option<std::string>(spec, "description", "")),
        options_(worker_options(spec)),
        timeout_ms_(bounded(spec, "timeout_ms", 10'000, 1, kMaxTimeoutMs)),
        start_timeout_ms_(bounded(spec, "start_timeout_ms", 60'000, 1, kMaxTimeoutMs)),
        slots_(static_cast<size_t>(bounded(spec, "workers", 1, 1, kMaxWorkers))) {
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

 private:
  struct Slot {
    bool taken = false;  // guarded by mutex_; the rest is the taker's
    std::unique_ptr<Worker> worker;
    int64_t last_id = 0;
    int64_t failures = 0;  // in a row
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
    if (slot.failures > 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(
          std::min(kFirstPauseMs << std::min<int64_t>(slot.failures - 2, 10), kLongestPauseMs)));
    }
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

  static std::string wait_for(Slot& slot) {
    static const std::atomic<bool> wanted_all_along = false;
    Worker* const worker = slot.worker.get();
    Worker::wait_for_all({&worker, 1}, wanted_all_along);
    return worker->failure();
  }

  static void fail(Slot& slot) {
    slot.worker.reset();
    ++slot.failures;
  }

  const std::string name_, says_;
  const plugins::WorkerOptions options_;
  const Millis timeout_ms_, start_timeout_ms_;
  std::mutex mutex_;
  std::condition_variable free_;
  std::vector<Slot> slots_;
};

}  // namespace

std::unique_ptr<Tool> make_command(const ToolSpec& spec) { return std::make_unique<Command>(spec); }

}  // namespace sluice::rewards::tools
