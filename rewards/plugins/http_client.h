// A request of JSON to a server that scores, which ends whatever the server does.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>

#include "base/clock.h"
#include "rewards/reward.h"

namespace sluice::rewards::plugins {

struct Url {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  int port = 80;
  std::string path = "/";
};

// The URL of the option `key`. Without TLS a server is one of this machine, since the texts would go to
// another in the clear. Throws UsageError with `example` for anything else.
Url parse_url(const RewardSpec& spec, const char* key, const char* example);

// One of the two is set.
struct HttpReply {
  std::string body;
  std::string problem;  // the reason of what is unscored for it
};

// Safe from several threads at once.
class HttpClient {
 public:
  // `bearer` is sent as the authorisation where it is not empty. `doing` is what the process says it does.
  HttpClient(Url url, std::string bearer, Millis timeout_ms, int64_t retries, std::string doing);

  // Posts to the URL with `path` behind it. A request without a good reply is repeated `retries` times, each
  // with the whole time.
  HttpReply post(const std::string& path, const std::string& body, size_t max_bytes) const;
  // Ends what is under way soon, and all that is asked from here on.
  void interrupt() { interrupted_ = true; }

 private:
  HttpReply post_once(const std::string& path, const std::string& body, size_t max_bytes) const;

  const Url url_;
  const std::string bearer_;
  const Millis timeout_ms_;
  const int64_t retries_;
  const std::string doing_;
  std::atomic<bool> interrupted_ = false;
};

}  // namespace sluice::rewards::plugins
