// What a person sees while something long goes on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sluice {

// True when `fd` is a terminal that understands cursor movement; false for pipes, files and TERM=dumb.
bool is_interactive(int fd);
// True when colour may be used: interactive and NO_COLOR is not set.
bool use_colour(int fd);

// One line that is rewritten in place on a terminal, and a plain line every few seconds elsewhere.
// Written to stderr. Not for use from several threads.
class ProgressLine {
 public:
  // `total` of 0 means unknown: no share and no time left are shown.
  ProgressLine(std::string what, int64_t total);
  ~ProgressLine();

  void update(int64_t done, std::string_view detail = {});
  // Removes the line so that ordinary output can be printed; the next update draws it again.
  void clear();

 private:
  const std::string what_;
  const int64_t total_;
  const bool interactive_;
  const Millis started_ms_;
  Millis shown_ms_ = 0;
  bool drawn_ = false;
};

// "1m 05s", "3.2s"; "1.5 MB"; "12,345".
std::string format_seconds(double seconds);
std::string format_bytes(uint64_t bytes);
std::string format_count(int64_t n);

}  // namespace sluice
