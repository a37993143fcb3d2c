// What the processes of a run did when, as trace viewers read it (chrome://tracing, ui.perfetto.dev). Nothing
// is kept unless SLUICE_TRACE names a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice {

inline constexpr const char* kTraceVariable = "SLUICE_TRACE";

// The part of this process, which is called `name`: NAME.jsonl in that folder, a line for each event, the
// first 200,000 of them. One for each process, for as long as others trace.
class Trace {
 public:
  // Throws EnvironmentError when the file cannot be made.
  explicit Trace(const std::string& name);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
};

// Microseconds on a clock that all processes of the machine share.
int64_t trace_clock_us();
// The calling thread did this from then until now.
void traced(std::string_view what, int64_t began_us);

// The calling thread does this as long as it lives.
class Traced {
 public:
  explicit Traced(std::string_view what) : what_(what), began_us_(trace_clock_us()) {}
  ~Traced() { traced(what_, began_us_); }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;

 private:
  const std::string_view what_;  // outlives it
  const int64_t began_us_;
};

// The events of all files of a folder, as viewers read them, that fall into the `nth` of those whose name
// begins with `during`, of each process that has such: into its last where it has fewer. Throws DataError
// when none has.
Json join_traces(const std::filesystem::path& folder, const std::string& during, size_t nth);

}  // namespace sluice
