#include "rewards/plugins/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iostream>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/pulse.h"

namespace sluice::rewards::plugins {
namespace {

constexpr Millis kBeatMs = 250;
constexpr size_t kMaxLogBytes = 64u << 10;  // of an exchange
constexpr size_t kMaxLastWords = 200;
constexpr Millis kEndMs = 200;  // for a process that has closed its output to be gone
constexpr size_t kChunk = 64u << 10;
constexpr int kKillRounds = 200;

std::string errno_text() { return std::generic_category().message(errno); }

// Writing to a worker that is gone is an error of the write, not the end of this process.
class NoBrokenPipeSignal {
 public:
  NoBrokenPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoBrokenPipeSignal(const NoBrokenPipeSignal&) = delete;
  ~NoBrokenPipeSignal() {
    const timespec now{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_ = false;
};

// What is waited for of each worker, in this order.
enum Waits : size_t { kOut, kEnd, kIn, kLog, kWaits };

void limit(pid_t pid, __rlimit_resource resource, rlim_t most) {
  const rlimit limits{most, most};
  ::prlimit(pid, resource, &limits, nullptr);
}

// Of the process and those it has started, as far as `most`; one that outlived its parent is not seen.
int64_t count_processes(pid_t pid, int64_t most) {
  int64_t count = 1;
  const auto name = std::to_string(pid);
  std::ifstream children("/proc/" + name + "/task/" + name + "/children");
  for (pid_t child = 0; count < most && children >> child;) count += count_processes(child, most - count);
  return count;
}

constexpr const char* kMark = "SLUICE_WORKER";

// Different for every worker there is.
std::string new_mark() {
  static std::atomic<uint64_t> count = 0;
  return std::to_string(::getpid()) + "-" + std::to_string(++count);
}

// Whether the process was started with this in its environment; what has ended has none.
bool has_mark(const std::filesystem::path& process, const std::string& mark) {
  std::ifstream in(process / "environ", std::ios::binary);
  for (std::string entry; std::getline(in, entry, '\0');) {
    if (entry == mark) return true;
  }
  return false;
}

// Processes that started in a group of the worker's and left it for a session of their own. As long as one is
// found there may be others that it has just started.
void kill_marked(const std::string& mark) {
  for (int round = 0; round < kKillRounds; ++round) {
    bool found = false;
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
      const auto name = process.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      // Opened before it is looked at, so that what is killed is what was seen.
      const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(name), 0));
      if (pidfd < 0) continue;
      if (has_mark(process.path(), mark)) {
        found = true;
        ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
      }
      ::close(pidfd);
    }
    if (!found) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The last line that is not blank, in characters that any log and any file can hold.
std::string last_line(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  std::string line(text.substr(text.rfind('\n') + 1));
  if (line.size() > kMaxLastWords) line.erase(0, line.size() - kMaxLastWords);
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return line;
}

}  // namespace

Worker::Worker(const WorkerOptions& options)
    : level_(options.sandbox.level), mark_(options.sandbox.level == SandboxLevel::None ? new_mark() : "") {
  auto environment = options.environment;
  if (!mark_.empty()) environment[kMark] = mark_;
  process_ = Subprocess::start(sandboxed({.command = options.command,
                                          .environment = std::move(environment),
                                          .working_directory = options.folder,
                                          .stdin_fd = to_worker_.read_end(),
                                          .stdout_fd = from_worker_.write_end(),
                                          .stderr_fd = log_.write_end(),
                                          .closed = true},
                                         options.sandbox));
  // Of private memory, since what a process only maps or sets aside (libraries, a GPU's addresses) is no use
  // of it. Set from outside just after the start, before the program can have taken much.
  if (options.memory_mb > 0) {
    limit(process_->pid(), RLIMIT_DATA, static_cast<rlim_t>(options.memory_mb) << 20u);
  }
  limit(process_->pid(), RLIMIT_CORE, 0);
  to_worker_.close_read();
  from_worker_.close_write();
  log_.close_write();
  for (const int end : {to_worker_.write_end(), from_worker_.read_end(), log_.read_end()}) {
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
}

Worker::~Worker() { kill_all(); }

void Worker::kill_all() {
  process_->signal_group(SIGKILL);
  if (!mark_.empty()) kill_marked(kMark + ("=" + mark_));
}

void Worker::ask(std::string_view line, size_t max_bytes, Millis timeout_ms, std::string what) {
  outgoing_ = line.empty() ? std::string() : std::string(line) + "\n";
  written_ = 0;
  incoming_.clear();
  answer_.clear();
  failure_.clear();
  log_end_.clear();
  log_bytes_ = 0;
  what_ = std::move(what);
  max_bytes_ = max_bytes;
  timeout_ms_ = timeout_ms;
  counted_at_ms_ = SteadyClock().now_ms();
  deadline_ms_ = counted_at_ms_ + timeout_ms;
  busy_ = true;
}

void Worker::wait_for_all(std::span<Worker* const> workers, const std::atomic<bool>& interrupted) {
  wait(workers, interrupted, 0);
}

void Worker::wait_for_any(std::span<Worker* const> workers, const std::atomic<bool>& interrupted) {
  const auto busy = static_cast<size_t>(std::ranges::count_if(workers, &Worker::busy));
  if (busy > 0) wait(workers, interrupted, busy - 1);
}

// Until so many exchanges at most are under way.
void Worker::wait(std::span<Worker* const> workers, const std::atomic<bool>& interrupted, size_t most_busy) {
  const SteadyClock clock;
  const NoBrokenPipeSignal no_signal;
  while (true) {
    std::vector<pollfd> waits;
    std::vector<Worker*> busy;
    const Millis now_ms = clock.now_ms();
    Millis wait_ms = kBeatMs;
    for (Worker* worker : workers) {
      if (worker->busy_ && interrupted)
        worker->fail("interrupted", "no " + worker->what_ + " is wanted any more");
      if (worker->busy_) worker->check(now_ms);
      if (!worker->busy_) continue;
      busy.push_back(worker);
      const bool writes = worker->written_ < worker->outgoing_.size();
      waits.push_back({worker->from_worker_.read_end(), POLLIN, 0});
      waits.push_back({worker->process_->pidfd(), POLLIN, 0});
      waits.push_back({writes ? worker->to_worker_.write_end() : -1, POLLOUT, 0});
      waits.push_back({worker->log_.read_end(), POLLIN, 0});
      wait_ms = std::min(wait_ms, worker->deadline_ms_ - now_ms);
    }
    if (busy.size() <= most_busy) return;
    const int ready = ::poll(waits.data(), waits.size(), static_cast<int>(wait_ms));
    require(ready >= 0 || errno == EINTR, "Worker: poll failed: ", errno_text());
    beat();
    for (size_t i = 0; ready > 0 && i < busy.size(); ++i) {
      const std::span seen(waits.data() + kWaits * i, kWaits);
      if (seen[kLog].revents != 0) busy[i]->read_log();
      if (seen[kIn].revents != 0) busy[i]->write();
      if (seen[kOut].revents != 0) {
        busy[i]->read();
      } else if (seen[kEnd].revents != 0) {  // others of its group hold the pipe open behind it
        busy[i]->fail_by_its_end("");
      }
    }
  }
}

void Worker::check(Millis now_ms) {
  if (now_ms >= deadline_ms_) {
    return fail("timeout", "no " + what_ + " within " + std::to_string(timeout_ms_) + " ms");
  }
  if (now_ms < counted_at_ms_ + kBeatMs) return;
  counted_at_ms_ = now_ms;
  if (count_processes(process_->pid(), kMaxProcesses + 1) <= kMaxProcesses) return;
  fail("crash", "it became more than " + std::to_string(kMaxProcesses) + " processes");
}

// The rest of its group goes at once, not when the object does.
void Worker::fail(const std::string& kind, const std::string& what) {
  failure_ = kind + ": " + what;
  busy_ = false;
  kill_all();
}

void Worker::fail_by_its_end(const std::string& otherwise) {
  const auto status = process_->wait(kEndMs);
  if (!status) return fail("bad output", otherwise);
  read_log();
  const auto words = last_line(log_end_);
  if (level_ != SandboxLevel::None && sandbox_end(*status, level_) == SandboxEnd::Denied) {
    std::cerr << "sluice: a worker " << describe(SandboxEnd::Denied) << ", and was killed for it\n";
    return fail("denied", "it " + describe(SandboxEnd::Denied));
  }
  fail("crash", describe(*status) + (words.empty() ? "" : " (its last words: " + words + ")"));
}

void Worker::read_log() {
  char chunk[kChunk];
  const ssize_t n = ::read(log_.read_end(), chunk, sizeof chunk);
  if (n > 0) {
    const std::string_view text(chunk, static_cast<size_t>(n));
    log_end_ += text;
    if (log_end_.size() > kChunk) log_end_.erase(0, log_end_.size() - kChunk);
    const size_t before = std::exchange(log_bytes_, log_bytes_ + text.size());
    if (before <= kMaxLogBytes) std::cerr << text.substr(0, kMaxLogBytes - before);
    if (before <= kMaxLogBytes && log_bytes_ > kMaxLogBytes) std::cerr << "\nsluice: the rest is left out\n";
  } else if (n == 0) {
    log_.close_read();
  }
}

void Worker::write() {
  const auto left = std::string_view(outgoing_).substr(written_);
  const ssize_t n = ::write(to_worker_.write_end(), left.data(), left.size());
  if (n > 0) written_ += static_cast<size_t>(n);
  // It does not read any more. Whether it has ended, or answers all the same, is seen at its output.
  if (n < 0 && errno != EAGAIN && errno != EINTR) written_ = outgoing_.size();
}

void Worker::read() {
  char chunk[kChunk];
  const ssize_t n = ::read(from_worker_.read_end(), chunk, sizeof chunk);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) fail("crash", "cannot read its output: " + errno_text());
    return;
  }
  if (n == 0) return fail_by_its_end("closed its output");
  const std::string_view fresh(chunk, static_cast<size_t>(n));
  const size_t end = fresh.find('\n');
  incoming_ += fresh.substr(0, end);
  if (incoming_.size() > max_bytes_) {
    return fail("bad output", "a " + what_ + " of more than " + std::to_string(max_bytes_) + " bytes");
  }
  if (end == std::string_view::npos) return;
  if (end + 1 < fresh.size()) return fail("bad output", "more than one line as " + what_);
  if (written_ < outgoing_.size())
    return fail("bad output", "a " + what_ + " before it had read the request");
  answer_ = std::move(incoming_);
  busy_ = false;
}

std::string Worker::why_unusable() {
  if (!failure_.empty()) return failure_;
  if (const auto status = process_->wait(0)) return "it ended between two groups: " + describe(*status);
  pollfd entry{.fd = from_worker_.read_end(), .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, 0) == 0) return "";
  return (entry.revents & POLLIN) != 0 ? "it wrote what nobody had asked for" : "it closed its output";
}

}  // namespace sluice::rewards::plugins
