#include "base/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/internal/posix.h"
#include "base/internal/progress_text.h"
#include "base/terminal_text.h"

namespace sluice {
namespace {

constexpr Millis kRedraw = 100;
constexpr Millis kPlainEvery = 10'000;
constexpr const char* kErase = "\r\x1b[K";

// Progress is worth no failure: what cannot be written is dropped.
void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = internal::retry([&] { return ::write(STDERR_FILENO, text.data(), text.size()); });
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

std::string one_decimal(double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string two_digits(int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

}  // namespace

bool is_interactive(int fd) {
  const char* term = std::getenv("TERM");
  return ::isatty(fd) == 1 && term != nullptr && std::string_view(term) != "dumb" && *term != '\0';
}

bool use_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  return is_interactive(fd) && (no_colour == nullptr || *no_colour == '\0');
}

namespace internal {

std::string progress_text(std::string_view what, int64_t done, int64_t total, Millis elapsed_ms,
                          std::string_view detail) {
  std::string text(what);
  text += "  " + format_count(done);
  if (total > 0) {
    const auto share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
    text += "/" + format_count(total) + " (" + std::to_string(static_cast<int>(share * 100)) + "%)";
  }
  if (done > 0 && elapsed_ms > 0) {
    const double per_second = static_cast<double>(done) * 1000 / static_cast<double>(elapsed_ms);
    text += "  " + one_decimal(per_second) + "/s";
    if (total > done) text += "  " + format_seconds(static_cast<double>(total - done) / per_second) + " left";
  }
  if (!detail.empty()) text.append("  ").append(detail);
  return text;
}

std::string one_line(std::string_view text, size_t columns) {
  std::string line;
  size_t seen = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool starts_character = (byte & 0xC0) != 0x80;
    if (starts_character && ++seen > columns) break;
    line += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return line;
}

}  // namespace internal

ProgressLine::ProgressLine(std::string what, int64_t total)
    : what_(std::move(what)),
      total_(total),
      interactive_(is_interactive(STDERR_FILENO)),
      started_ms_(SteadyClock().now_ms()),
      shown_ms_(started_ms_) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::update(int64_t done, std::string_view detail) {
  const Millis now_ms = SteadyClock().now_ms();
  const bool last = total_ > 0 && done >= total_;
  const bool due =
      interactive_ ? !drawn_ || last || now_ms - shown_ms_ >= kRedraw : now_ms - shown_ms_ >= kPlainEvery;
  if (!due) return;
  shown_ms_ = now_ms;
  const auto text = internal::progress_text(what_, done, total_, now_ms - started_ms_, detail);
  if (interactive_) {
    // One column is left free: writing the last one makes some terminals wrap.
    write_stderr(kErase + internal::one_line(text, terminal_size(STDERR_FILENO).columns - 1));
    drawn_ = true;
  } else {
    write_stderr(internal::one_line(text, text.size()) + "\n");
  }
}

void ProgressLine::clear() {
  if (drawn_) write_stderr(kErase);
  drawn_ = false;
}

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "?";
  if (seconds < 59.95) return one_decimal(seconds) + "s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return std::to_string(whole / 60) + "m " + two_digits(whole % 60) + "s";
  if (whole < 86400) return std::to_string(whole / 3600) + "h " + two_digits(whole / 60 % 60) + "m";
  return std::to_string(whole / 86400) + "d " + two_digits(whole / 3600 % 24) + "h";
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  constexpr std::array kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes) / 1000;
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return one_decimal(value) + " " + kUnits[unit];
}

std::string format_count(int64_t n) {
  std::string text = std::to_string(n);
  const size_t sign = n < 0 ? 1 : 0;
  for (size_t at = text.size(); at > sign + 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

}  // namespace sluice
