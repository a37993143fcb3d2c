#include "monitor/internal/http_parse.h"

#include <algorithm>
#include <cctype>

namespace sluice::monitor::internal {
namespace {

ParsedRequest refused(int status, std::string problem) {
  return {.request = {}, .status = status, .problem = std::move(problem)};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

bool is_token(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_';
  });
}

const char* reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Internal Server Error";
  }
}

// Adds the headers; false where a line is none.
bool read_headers(const std::string& text, size_t at, HttpRequest& request) {
  while (true) {
    const size_t end = text.find("\r\n", at);
    if (end == at) return true;
    const std::string line = text.substr(at, end - at);
    const size_t colon = line.find(':');
    if (colon == std::string::npos) return false;
    std::string name = line.substr(0, colon);
    if (!is_token(name)) return false;
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!request.headers.emplace(name, trimmed(line.substr(colon + 1))).second && name == "host")
      return false;
    at = end + 2;
  }
}

// "%20" and "+" as what they stand for; not whole where a "%" is followed by no two hex digits.
std::string percent_decoded(const std::string& text, bool& whole) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = high < 0 ? -1 : hex_digit(text[i + 2]);
      if (low < 0) {
        whole = false;
        return "";
      }
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// An empty path is none.
HttpRequest parse_http_target(const std::string& target) {
  HttpRequest request;
  bool whole = target.starts_with('/');
  const size_t mark = target.find('?');
  request.path = percent_decoded(target.substr(0, mark), whole);
  size_t at = mark == std::string::npos ? target.size() : mark + 1;
  while (at < target.size()) {
    const size_t end = std::min(target.find('&', at), target.size());
    const std::string pair = target.substr(at, end - at);
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto name = percent_decoded(pair.substr(0, equals), whole);
    request.query[name] = equals == pair.size() ? "" : percent_decoded(pair.substr(equals + 1), whole);
    at = end + 1;
  }
  if (!whole) request.path.clear();
  return request;
}

}  // namespace

ParsedRequest parse_http_request(const std::string& text) {
  const size_t end = text.find("\r\n");
  const std::string line = text.substr(0, end);
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string::npos || first == last) return refused(400, "no request line");
  const std::string method = line.substr(0, first), version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refused(400, "not HTTP/1.1");
  if (method != "GET") return refused(405, "only GET is answered here");
  ParsedRequest parsed{.request = parse_http_target(line.substr(first + 1, last - first - 1)), .problem = ""};
  if (parsed.request.path.empty()) return refused(400, "no path");
  if (!read_headers(text, end + 2, parsed.request)) return refused(400, "a header is none");
  const auto& headers = parsed.request.headers;
  const auto length = headers.find("content-length");
  if (headers.contains("transfer-encoding") || (length != headers.end() && length->second != "0"))
    return refused(413, "a request has no body here");
  return parsed;
}

std::string http_text(const HttpResponse& response) {
  std::string text =
      "HTTP/1.1 " + std::to_string(response.status) + " " + reason_of(response.status) + "\r\n";
  text += "Content-Type: " + response.type + "\r\n";
  if (!response.stays) text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  text +=
      "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
      "Referrer-Policy: no-referrer\r\n";
  for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
  return text + "\r\n" + response.body;
}

}  // namespace sluice::monitor::internal
