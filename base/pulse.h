// What this process is doing, for those who look at it from outside: a watchdog, a person who asks.
//
// A word about the work and a count of signs of life, in a small file that outlives the process: it also says
// what one was doing when it died. Where no file was named nothing happens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sluice {

// Without a sign of life for so long a process is silent, unless it said that it would be.
inline constexpr Millis kSilentMs = 50'000;

// Names the file, once, before there are threads. Throws EnvironmentError when it cannot be made.
void keep_pulse(const std::filesystem::path& file);

// "grpo step 12: waits for its groups"; a sign of life, and the next is to come within `limit_ms`. For the
// thread that does the work.
void now_doing(std::string_view what, Millis limit_ms = kSilentMs);
// It still does.
void beat();
// What it does now.
std::string doing();
// "waits for its groups; the last sign of life was 0.2 s ago"
std::string describe_pulse();
// Whether the last sign of life is longer ago than was said, and the process has not computed since.
bool is_overdue();

struct Pulse {
  uint64_t beats = 0;
  Millis limit_ms = 0;
  std::string doing;
};
// Of the time: a thread that looks around now and then uses less, a process that computes uses more.
inline constexpr double kBusyShare = 0.05;

// Empty where there is none yet.
std::optional<Pulse> read_pulse(const std::filesystem::path& file);

// Of a thread beside the one that does the work. What it says and its signs of life stay in here, since they
// say nothing of that one; which passes them on where it waits for nothing else.
class SidePulse {
 public:
  // Called by the thread beside; it ends before this does.
  void adopt();
  // From any thread.
  Pulse now() const;

 private:
  friend void now_doing(std::string_view what, Millis limit_ms);
  friend void beat();
  mutable std::mutex mutex_;
  Pulse pulse_;  // guarded by mutex_
};

}  // namespace sluice
