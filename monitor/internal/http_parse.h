// The text of a request and of an answer, HTTP/1.1 as far as the run's page speaks it.
#pragma once

#include <string>

#include "monitor/http_server.h"

namespace sluice::monitor::internal {

struct ParsedRequest {
  HttpRequest request;
  int status = 200;     // of the answer, where it is refused,
  std::string problem;  // and why
};

// Of everything up to the empty line. Only GET without a body is let through.
ParsedRequest parse_http_request(const std::string& text);

// Head and body; what a page may do is said in its own headers, and nothing is kept by anybody.
std::string http_text(const HttpResponse& response);

}  // namespace sluice::monitor::internal
