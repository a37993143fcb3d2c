// Answers GET requests of a few people and scrapers, one thread for all of them: whoever is slow waits alone.
//
// No request has a body and no connection a second request, so that there is little to get wrong. A request
// that is not whole in time is let go, and so is who does not take the answer; of too many clients the one
// that has been on its way longest goes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace sluice::monitor {

struct HttpRequest {
  std::string path;                            // decoded, without the query
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
};

struct HttpResponse {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  bool stays = false;  // the body is the beginning of a stream that goes on with what news() says
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";  // in numbers, version 4 or 6
  int port = 0;                       // 0: any
  size_t max_clients = 256;
  size_t max_request_bytes = 16 << 10;
  Millis request_ms = 2'000;   // for a request to be there as a whole
  Millis response_ms = 5'000;  // without taking a byte
  Millis news_ms = 500;        // between looks for news
};

class HttpServer {
 public:
  using Answer = std::function<HttpResponse(const HttpRequest& request)>;
  using News = std::function<std::string()>;

  // Both are called by the server's thread alone, `news` while somebody follows; an Error they throw is
  // answered with status 500. Throws EnvironmentError when the address cannot be bound.
  HttpServer(const HttpServerOptions& options, Answer answer, News news);
  ~HttpServer();

  int port() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
  std::jthread thread_;  // last, so that it stops before what it uses is destroyed
};

// "127.0.0.1", "::1" and their like.
bool is_loopback(const std::string& address);

}  // namespace sluice::monitor
