#include "rewards/plugins/http_client.h"

#include <arpa/inet.h>
#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "base/pulse.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/entry_options.h"

namespace sluice::rewards::plugins {
namespace {

constexpr Millis kLookMs = 100;  // between two looks at whether it is wanted
constexpr int kTlsPort = 443;

bool is_loopback(const std::string& host) {
  in_addr address{};
  const bool is_address = ::inet_pton(AF_INET, host.c_str(), &address) == 1;
  return host == "localhost" || host == "::1" || (is_address && host.starts_with("127."));
}

// Ends a client's request at the deadline, however slowly it goes on, or when nobody wants it any more.
class Watch {
 public:
  Watch(httplib::Client& client, Millis timeout_ms, const std::atomic<bool>& interrupted)
      : thread_([this, &client, timeout_ms, &interrupted](const std::stop_token& stop) {
          const SteadyClock clock;
          const Millis deadline_ms = clock.now_ms() + timeout_ms;
          std::unique_lock lock(mutex_);
          while (!stop.stop_requested() && !interrupted && clock.now_ms() < deadline_ms) {
            const Millis wait_ms = std::min(kLookMs, deadline_ms - clock.now_ms());
            wake_.wait_for(lock, stop, std::chrono::milliseconds(wait_ms), [] { return false; });
          }
          while (!stop.stop_requested()) {  // what is still connecting does not hear it
            late_ = true;
            client.stop();
            wake_.wait_for(lock, stop, std::chrono::milliseconds(kLookMs), [] { return false; });
          }
        }) {}
  bool late() const { return late_; }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> late_ = false;
  std::jthread thread_;  // last, so that it stops before anything it uses is destroyed
};

std::string address_of(const Url& url) {
  const bool is_v6 = url.host.find(':') != std::string::npos;
  return (url.tls ? "https://" : "http://") + (is_v6 ? "[" + url.host + "]" : url.host) + ":" +
         std::to_string(url.port);
}

}  // namespace

Url parse_url(const RewardSpec& spec, const char* key, const char* example) {
  const auto url = internal::option<std::string>(spec, key, "");
  const auto refuse_unless = [&](bool condition, const auto&... why) {
    require<UsageError>(condition, internal::speaker(spec), ": \"", url, "\" ", why...);
  };
  Url parsed;
  parsed.tls = url.starts_with("https://");
  refuse_unless(parsed.tls || url.starts_with("http://"), "is no URL of the form ", example);
  if (parsed.tls) parsed.port = kTlsPort;
  const auto rest = std::string_view(url).substr(url.find("//") + 2);
  const auto slash = std::min(rest.find('/'), rest.size());
  std::string_view place = rest.substr(0, slash);
  if (slash < rest.size()) parsed.path = rest.substr(slash);
  const auto colon = place.rfind(':');
  if (colon != std::string_view::npos && place.back() != ']') {
    const auto digits = place.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed.port);
    refuse_unless(error == std::errc() && end == digits.data() + digits.size() && parsed.port > 0 &&
                      parsed.port < 65536,
                  "has no port from 1 to 65535");
    place = place.substr(0, colon);
  }
  if (place.starts_with('[') && place.ends_with(']')) place = place.substr(1, place.size() - 2);
  refuse_unless(!place.empty(), "names no host");
  parsed.host = place;
  refuse_unless(parsed.tls || is_loopback(parsed.host),
                "is another machine's, and the texts would go there in the clear; use https, or let a tunnel "
                "(ssh -L) end at 127.0.0.1");
  return parsed;
}

HttpClient::HttpClient(Url url, std::string bearer, Millis timeout_ms, int64_t retries, std::string doing)
    : url_(std::move(url)),
      bearer_(std::move(bearer)),
      timeout_ms_(timeout_ms),
      retries_(retries),
      doing_(std::move(doing)) {}

HttpReply HttpClient::post(const std::string& path, const std::string& body, size_t max_bytes) const {
  HttpReply reply{.problem = "nobody waits for it any more"};
  for (int64_t attempt = 0; attempt <= retries_ && !interrupted_; ++attempt) {
    pause_before_another_try(attempt + 1, SteadyClock().now_ms(), interrupted_);
    now_doing(doing_, timeout_ms_ + kSilentMs);
    reply = post_once(path, body, max_bytes);
    if (reply.problem.empty()) break;
  }
  return reply;
}

HttpReply HttpClient::post_once(const std::string& path, const std::string& body, size_t max_bytes) const {
  httplib::Client client(address_of(url_));
  const std::chrono::milliseconds timeout(timeout_ms_);
  client.set_connection_timeout(timeout);
  client.set_read_timeout(timeout);
  client.set_write_timeout(timeout);
  httplib::Request request;
  request.method = "POST";
  request.path = url_.path + path;
  request.headers = {{"Content-Type", "application/json"}};
  if (!bearer_.empty()) request.headers.emplace("Authorization", "Bearer " + bearer_);
  request.body = body;
  HttpReply reply;
  bool too_long = false;
  request.content_receiver = [&](const char* bytes, size_t size, uint64_t, uint64_t) {
    too_long = reply.body.size() + size > max_bytes;
    if (!too_long) reply.body.append(bytes, size);
    return !too_long;
  };
  const SteadyClock clock;
  const Millis began_ms = clock.now_ms();
  const Watch watch(client, timeout_ms_, interrupted_);
  const auto result = client.send(request);
  // The client may see the end of the time before the watch does.
  const bool late = watch.late() || (!result && clock.now_ms() - began_ms >= timeout_ms_);
  if (too_long) {
    reply.problem = "bad output: a reply of more than " + std::to_string(max_bytes) + " bytes";
  } else if (late) {
    reply.problem = "timeout: no reply within " + std::to_string(timeout_ms_) + " ms";
  } else if (!result) {
    reply.problem = "no connection to " + url_.host + ":" + std::to_string(url_.port) + ": " +
                    httplib::to_string(result.error());
  } else if (result->status != 200) {
    reply.problem = "bad output: HTTP status " + std::to_string(result->status);
  }
  return reply;
}

}  // namespace sluice::rewards::plugins
