#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor {
namespace {

constexpr std::string_view kForms =
    "; the forms are redis://[user:password@]host[:port][/db] and unix://[user:password@]/path";
constexpr size_t kMaxSocketPath = 107;  // sun_path without its zero

std::string percent_decoded(std::string_view text, const std::string& shown) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    require<UsageError>(digits.size() == 2 && end == digits.data() + 2, "Redis URL ", shown,
                        ": a % without two hexadecimal digits; write %25 for a percent sign");
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

int number(std::string_view text, int low, int high, const char* what, const std::string& shown) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
  require<UsageError>(good, "Redis URL ", shown, ": the ", what, " is \"", text, "\", a number from ", low,
                      " to ", high, " is wanted");
  return value;
}

void take_credentials(std::string_view text, const std::string& shown, RedisAddress& out) {
  const auto colon = text.find(':');
  require<UsageError>(colon != std::string_view::npos, "Redis URL ", shown,
                      ": a user without a password; a password alone is written redis://:password@host");
  out.username = percent_decoded(text.substr(0, colon), shown);
  out.password = percent_decoded(text.substr(colon + 1), shown);
  require<UsageError>(!out.password.empty(), "Redis URL ", shown, ": the password is empty");
}

void take_host(std::string_view text, const std::string& shown, RedisAddress& out) {
  const bool bracketed = text.starts_with('[');
  const auto host_end = bracketed ? text.find(']') : text.find(':');
  require<UsageError>(!bracketed || host_end != std::string_view::npos, "Redis URL ", shown,
                      ": no ] after [");
  out.host = bracketed ? text.substr(1, host_end - 1) : text.substr(0, host_end);
  const auto rest =
      host_end == std::string_view::npos ? "" : text.substr(bracketed ? host_end + 1 : host_end);
  require<UsageError>(rest.empty() || rest.starts_with(':'), "Redis URL ", shown, ": \"", rest,
                      "\" after the host");
  if (!rest.empty()) out.port = number(rest.substr(1), 1, 65535, "port", shown);
  const bool plain =
      std::all_of(out.host.begin(), out.host.end(), [](unsigned char c) { return std::isgraph(c); });
  require<UsageError>(!out.host.empty() && plain, "Redis URL ", shown, ": no host", kForms);
}

}  // namespace

std::string without_password(const std::string& url) {
  const auto scheme = url.find("://");
  const auto at = url.rfind('@');
  if (scheme == std::string::npos || at == std::string::npos || at < scheme) return url;
  return url.substr(0, scheme + 3) + "***" + url.substr(at);
}

RedisAddress parse_redis_url(const std::string& url) {
  const auto shown = without_password(url);
  std::string_view rest = url;
  RedisAddress out;
  require<UsageError>(url.find('\0') == std::string::npos, "Redis URL ", shown, ": a zero byte");
  if (rest.starts_with("unix://")) {
    rest.remove_prefix(7);
    if (const auto at = rest.substr(0, rest.find('/')).rfind('@'); at != std::string_view::npos) {
      take_credentials(rest.substr(0, at), shown, out);
      rest.remove_prefix(at + 1);
    }
    out.unix_socket = rest;
    require<UsageError>(out.unix_socket.starts_with('/'), "Redis URL ", shown,
                        ": the path of the socket is not absolute", kForms);
    require<UsageError>(out.unix_socket.size() <= kMaxSocketPath, "Redis URL ", shown,
                        ": the path of the socket has ", out.unix_socket.size(), " bytes, the system takes ",
                        kMaxSocketPath);
    return out;
  }
  require<UsageError>(!rest.starts_with("rediss://"), "Redis URL ", shown,
                      ": TLS is not spoken here; put stunnel in front, or use unix:///path");
  require<UsageError>(rest.starts_with("redis://"), "Redis URL ", shown, ": unknown scheme", kForms);
  rest.remove_prefix(8);

  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    take_credentials(rest.substr(0, at), shown, out);
    rest.remove_prefix(at + 1);
  }
  const auto slash = rest.find('/');
  take_host(rest.substr(0, slash), shown, out);
  const auto database = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  if (!database.empty()) {
    out.database = number(database, 0, std::numeric_limits<int>::max(), "database", shown);
  }
  return out;
}

}  // namespace sluice::monitor
