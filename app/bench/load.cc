#include "app/bench/load.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace sluice::app {
namespace {

double machine_seconds() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  stat >> cpu >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  return (user + nice + system + irq + softirq + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const auto& time : {usage.ru_utime, usage.ru_stime}) {
      seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    }
  }
  return seconds;
}

double seconds_on(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

double seconds_of(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

double cpu_of_process() { return seconds_on(CLOCK_PROCESS_CPUTIME_ID); }
double cpu_of_thread() { return seconds_on(CLOCK_THREAD_CPUTIME_ID); }

LoadWatch::LoadWatch() : machine_s_(machine_seconds()), own_s_(own_seconds()) {}

double LoadWatch::others() const {
  const double busy = machine_seconds() - machine_s_ - (own_seconds() - own_s_);
  const double cores = std::max(0.0, busy) / std::max(watch_.seconds(), 1e-9);
  return std::round(cores * 100) / 100;
}

}  // namespace sluice::app
