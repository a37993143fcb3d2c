// What a step loses to its Redis, while that is well and while it is not.
#pragma once

#include <cstdint>

#include "app/bench/report.h"

namespace sluice::app {

struct RedisBench {
  int64_t step_ms = 20;
  int64_t seconds = 10;  // of each state of the server
};

// Steps that compute and are told of, while a redis-server of its own is well, stopped, frozen, flushed four
// times a second, and full. A row for each: how long telling takes of a step, and what the thread that has
// the connection takes of a core. Throws EnvironmentError without a redis-server.
void bench_redis(const RedisBench& options, Report& report);

}  // namespace sluice::app
