// http: a server of rewards on this machine, asked by a POST of JSON for each group.
//
//   {"query": [prompt + completion, ...], "prompts": [...], "labels": [...],              as OpenRLHF asks
//    "data_source": [...], "solution_str": [...], "ground_truth": [...], "extra_info": [...]}    in verl's
//    words
//
// and it answers {"rewards": [...]} or {"scores": [...]}, a number or null for each.
#include <arpa/inet.h>
#include <httplib.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/clock.h"
#include "base/pulse.h"
#include "rewards/plugin.h"
#include "rewards/plugins/bounds.h"
#include "rewards/plugins/protocol.h"

namespace sluice::rewards::internal {
namespace {

using plugins::max_reply_bytes;
using plugins::outcomes_of;

constexpr Millis kPauseMs = 100;  // before the first retry, twice as long before each next one

struct Url {
  std::string host;
  int port = 80;
  std::string path = "/";
};

bool is_loopback(const std::string& host) {
  in_addr address{};
  const bool is_address = ::inet_pton(AF_INET, host.c_str(), &address) == 1;
  return host == "localhost" || host == "::1" || (is_address && host.starts_with("127."));
}

// Without TLS, so not for another machine: an SSH tunnel ends on this one.
Url parse_url(const RewardSpec& spec) {
  const auto url = option<std::string>(spec, "http", "");
  constexpr std::string_view kScheme = "http://";
  const auto refuse_unless = [&](bool condition, const char* why) {
    require<UsageError>(condition, speaker(spec), ": \"", url, "\" ", why);
  };
  refuse_unless(url.starts_with(kScheme), "is no URL of the form http://127.0.0.1:9000/score");
  const auto rest = std::string_view(url).substr(kScheme.size());
  const auto slash = std::min(rest.find('/'), rest.size());
  std::string_view place = rest.substr(0, slash);
  Url parsed;
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
  parsed.host = place;
  refuse_unless(is_loopback(parsed.host),
                "is another machine's, and the texts would go there in the clear; let a tunnel (ssh -L) end "
                "at 127.0.0.1");
  return parsed;
}

// Ends a client's request at the deadline, however slowly it goes on.
class Watch {
 public:
  Watch(httplib::Client& client, Millis timeout_ms)
      : thread_([this, &client, timeout_ms](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          wake_.wait_for(lock, stop, std::chrono::milliseconds(timeout_ms), [] { return false; });
          while (!stop.stop_requested()) {  // what is still connecting does not hear it
            late_ = true;
            client.stop();
            wake_.wait_for(lock, stop, std::chrono::milliseconds(kPauseMs), [] { return false; });
          }
        }) {}
  bool late() const { return late_; }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> late_ = false;
  std::jthread thread_;  // last, so that it stops before anything it uses is destroyed
};

class Http final : public RewardFunction {
 public:
  explicit Http(const RewardSpec& spec)
      : name_(spec.name.empty() ? plugin_name("http", spec.options.at("http")) : spec.name),
        url_(parse_url(spec)),
        column_(option<std::string>(spec, "column", "answer")),
        timeout_ms_(plugins::bounded(spec, "timeout_ms", 30'000, 1, plugins::kMaxTimeoutMs)),
        retries_(plugins::bounded(spec, "retries", 1, 0, plugins::kMaxRetries)) {}

  const std::string& name() const override { return name_; }

  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    const auto body = body_of(group);
    std::string problem;
    for (int64_t attempt = 0; attempt <= retries_; ++attempt) {
      if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs << (attempt - 1)));
      now_doing("scores a group with " + name_, timeout_ms_ + kSilentMs);
      std::string reply;
      problem = post(body, max_reply_bytes(group.size()), reply);
      if (problem.empty()) return read(reply, group.size());
    }
    return std::vector(group.size(), RewardOutcome::unscored(problem));
  }

 private:
  std::string body_of(std::span<const RewardRequest> group) const {
    Json body = Json::object();
    for (const char* key :
         {"query", "prompts", "labels", "data_source", "solution_str", "ground_truth", "extra_info"})
      body[key] = Json::array();
    for (const auto& request : group) {
      const text::Row& row = *request.row;
      const Json& columns = row.columns;
      const Json truth = columns.value(column_, Json());
      body["query"].push_back(row.prompt + request.completion);
      body["prompts"].push_back(row.prompt);
      body["labels"].push_back(truth);
      body["data_source"].push_back(columns.value("data_source", Json("")));
      body["solution_str"].push_back(request.completion);
      body["ground_truth"].push_back(truth);
      body["extra_info"].push_back(columns.value("extra_info", columns));
    }
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  // Fills the reply; returns why there is none.
  std::string post(const std::string& body, size_t max_bytes, std::string& reply) const {
    httplib::Client client(url_.host, url_.port);
    const std::chrono::milliseconds timeout(timeout_ms_);
    client.set_connection_timeout(timeout);
    client.set_read_timeout(timeout);
    client.set_write_timeout(timeout);
    httplib::Request request;
    request.method = "POST";
    request.path = url_.path;
    request.headers = {{"Content-Type", "application/json"}};
    request.body = body;
    bool too_long = false;
    request.content_receiver = [&](const char* bytes, size_t size, uint64_t, uint64_t) {
      too_long = reply.size() + size > max_bytes;
      if (!too_long) reply.append(bytes, size);
      return !too_long;
    };
    const SteadyClock clock;
    const Millis began_ms = clock.now_ms();
    const Watch watch(client, timeout_ms_);
    const auto result = client.send(request);
    // The client may see the end of the time before the watch does.
    const bool late = watch.late() || (!result && clock.now_ms() - began_ms >= timeout_ms_);
    if (too_long) return "bad output: a reply of more than " + std::to_string(max_bytes) + " bytes";
    if (late) return "timeout: no reply within " + std::to_string(timeout_ms_) + " ms";
    if (!result) {
      return "no connection to " + url_.host + ":" + std::to_string(url_.port) + ": " +
             httplib::to_string(result.error());
    }
    if (result->status != 200) return "bad output: HTTP status " + std::to_string(result->status);
    return "";
  }

  static std::vector<RewardOutcome> read(const std::string& reply, size_t num_samples) {
    try {
      const Json json =
          parse_json(reply, "reply", {.max_bytes = max_reply_bytes(num_samples), .max_depth = 8});
      require<DataError>(json.is_object(), "reply: an object is wanted, saw ", json.type_name());
      return outcomes_of(json, json.contains("rewards") ? "rewards" : "scores", num_samples);
    } catch (const DataError& error) {
      return std::vector(num_samples, RewardOutcome::unscored(std::string("bad output: ") + error.what()));
    }
  }

  const std::string name_;
  const Url url_;
  const std::string column_;
  const Millis timeout_ms_;
  const int64_t retries_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_http(const RewardSpec& spec, const RewardResources&) {
  require<UsageError>(spec.options.contains("http"), speaker(spec), ": give the server as `http`");
  return std::make_unique<Http>(spec);
}

}  // namespace sluice::rewards::internal
