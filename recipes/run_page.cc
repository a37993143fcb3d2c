#include "recipes/run_page.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <iostream>

#include "base/error.h"
#include "base/files.h"
#include "monitor/prometheus.h"
#include "recipes/internal/page.h"
#include "recipes/report.h"
#include "recipes/rollout_files.h"

namespace sluice::recipes {
namespace {

using monitor::HttpRequest;
using monitor::HttpResponse;

constexpr size_t kStepsOfAReply = 1000;
constexpr const char* kTokenVariable = "SLUICE_WEB_TOKEN";

std::string random_hex(size_t num_bytes) {
  std::string bytes(num_bytes, '\0'), hex;
  require<EnvironmentError>(
      RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(num_bytes)) == 1,
      "web page: no random bytes to be had");
  for (const char byte : bytes) {
    hex += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
    hex += "0123456789abcdef"[static_cast<unsigned char>(byte) & 15];
  }
  return hex;
}

// Takes as long whatever they have in common.
bool same(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

HttpResponse json_response(const Json& json) {
  return {.type = "application/json; charset=utf-8",
          .body = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

// Whatever a prompt may say, the page runs its own script alone and asks nobody but the run.
HttpResponse page_response() {
  const std::string nonce = random_hex(16);
  constexpr std::string_view kHole = "NONCE";
  std::string html = internal::kRunPage;
  for (size_t at = html.find(kHole); at != std::string::npos; at = html.find(kHole, at + nonce.size()))
    html.replace(at, kHole.size(), nonce);
  return {.type = "text/html; charset=utf-8",
          .body = std::move(html),
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                           "'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                           "frame-ancestors 'none'"}}};
}

// The number a query names, or `otherwise` where it names none.
int64_t number_of(const HttpRequest& request, const std::string& name, int64_t otherwise) {
  const auto found = request.query.find(name);
  if (found == request.query.end()) return otherwise;
  int64_t value = 0;
  const auto& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require<UsageError>(error == std::errc() && end == text.data() + text.size(), name, "=\"", text,
                      "\" is no number");
  return value;
}

std::string header_of(const HttpRequest& request, const char* name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

std::string host_of(const HttpRequest& request) {
  const auto host = header_of(request, "host");
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// A browser sends a cookie to every port of a host, where another run may have a page: it is named by the
// port, as the browser sees it.
std::string cookie_name(const HttpRequest& request) {
  std::string name = "sluice_token_";
  for (const char c : header_of(request, "host").substr(host_of(request).size()))
    if (c >= '0' && c <= '9') name += c;
  return name;
}

std::string shown_token(const HttpRequest& request) {
  constexpr std::string_view kBearer = "Bearer ";
  if (const auto value = header_of(request, "authorization"); value.starts_with(kBearer))
    return value.substr(kBearer.size());
  if (const auto found = request.query.find("token"); found != request.query.end()) return found->second;
  const auto cookies = "; " + header_of(request, "cookie");
  const auto cookie = "; " + cookie_name(request) + "=";
  const auto at = cookies.find(cookie);
  if (at == std::string::npos) return "";
  const auto begin = at + cookie.size();
  return cookies.substr(begin, cookies.find(';', begin) - begin);
}

}  // namespace

RunPage::RunPage(const RunDirectory& run, std::string token)
    : view_(run), token_(std::move(token)), told_live_(view_.live_number()) {}

bool RunPage::is_allowed(const HttpRequest& request) const {
  if (!token_.empty()) return same(shown_token(request), token_);
  // A page from elsewhere whose name was made to mean this machine would say that name.
  const auto host = host_of(request);
  return host == "localhost" || host == "[::1]" || monitor::is_loopback(host);
}

HttpResponse RunPage::answer(const HttpRequest& request) {
  if (!is_allowed(request)) {
    if (token_.empty()) return {.status = 403, .body = "this host is not named here\n"};
    return {.status = 401, .body = "the token is missing: open the address that the run has printed\n"};
  }
  try {
    auto response = route(request);
    if (!token_.empty() && request.query.contains("token")) {
      response.headers.emplace_back(
          "Set-Cookie", cookie_name(request) + "=" + token_ + "; HttpOnly; SameSite=Strict; Path=/");
    }
    return response;
  } catch (const UsageError& error) {
    return {.status = 400, .body = std::string(error.what()) + "\n"};
  }
}

HttpResponse RunPage::route(const HttpRequest& request) {
  const auto& path = request.path;
  if (path == "/") return page_response();
  if (path == "/metrics") {
    view_.refresh_steps();
    return {.type = "text/plain; version=0.0.4; charset=utf-8",
            .body = monitor::prometheus_text(view_.status())};
  }
  if (path == "/api/status") return status();
  if (path == "/api/steps") return json_response(steps(request));
  if (path == "/api/recipe") return json_response(shown_recipe(view_.recipe()));
  if (path == "/api/rollouts") {
    if (!request.query.contains("step")) return json_response({{"steps", rollout_steps(view_.run())}});
    const auto search = request.query.find("search");
    return json_response(read_rollouts(view_.run(), number_of(request, "step", 0),
                                       search == request.query.end() ? "" : search->second,
                                       number_of(request, "offset", 0)));
  }
  if (path == "/api/events") return {.type = "text/event-stream", .body = "retry: 2000\n\n", .stays = true};
  return {.status = 404, .body = "there is no " + path + " here\n"};
}

// What a thousand actors do is much to be written, and most who ask have it from the same state.json.
HttpResponse RunPage::status() {
  view_.refresh();
  auto response = json_response(without_live(view_));
  response.body.resize(response.body.rfind('}'));
  response.body += ",\"live\":" + view_.live_text() + "}\n";
  return response;
}

Json RunPage::steps(const HttpRequest& request) {
  view_.refresh_steps();
  const int64_t generation = view_.history().generation();
  const bool same_history = number_of(request, "generation", generation) == generation;
  const int64_t since = same_history ? number_of(request, "since", 0) : 0;
  Json list = Json::array();
  bool more = false;
  for (const auto& report : view_.steps()) {
    if (report.step < since) continue;
    more = list.size() >= kStepsOfAReply;
    if (more) break;
    list.push_back(monitor::to_json(report));
  }
  return {{"generation", generation}, {"steps", list}, {"more", more}};
}

std::string RunPage::news() {
  std::string text;
  view_.refresh_steps();
  const int64_t generation = view_.history().generation();
  if (const auto* step = view_.newest()) {
    const std::pair now{generation, step->wall_time};
    if (std::exchange(told_step_, now) != now) {
      text += "event: step\ndata: " + Json{{"step", step->step}, {"generation", generation}}.dump() + "\n\n";
    }
  }
  if (const auto number = view_.live_number(); std::exchange(told_live_, number) != number)
    text += "event: live\ndata: " + view_.live_text() + "\n\n";
  return text;
}

ServedPage::ServedPage(const RunDirectory& run, const std::string& token, const MonitorSpec& spec)
    : run_(run),
      page_(run, token),
      server_(
          {.address = spec.bind, .port = static_cast<int>(spec.port)},
          [this](const HttpRequest& request) { return page_.answer(request); },
          [this] { return page_.news(); }) {
  const std::string host = spec.bind.find(':') == std::string::npos ? spec.bind : "[" + spec.bind + "]";
  url_ = "http://" + host + ":" + std::to_string(server_.port()) + "/";
}

ServedPage::~ServedPage() {
  if (!named_) return;
  try {
    Json json = read_json(run_.root() / "run.json");
    json.erase("web");
    write_file_atomically(run_.root() / "run.json", json.dump(2) + "\n");
  } catch (const Error& error) {  // a full disk, say
    std::cerr << "sluice: the run goes on naming a page that is gone: " << error.what() << '\n';
  }
}

void ServedPage::name_in_run() {
  Json json = read_json(run_.root() / "run.json");
  json["web"] = {{"url", url_}, {"pid", getpid()}};
  write_file_atomically(run_.root() / "run.json", json.dump(2) + "\n");
  named_ = true;
}

std::unique_ptr<ServedPage> ServedPage::start(const RunDirectory& run, const MonitorSpec& spec,
                                              std::string& url, std::string& why) {
  const char* given = std::getenv(kTokenVariable);
  std::string token = given == nullptr ? "" : given;
  try {
    if (token.empty() && !monitor::is_loopback(spec.bind)) token = random_hex(16);
    const auto stands_in_an_address = [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_';
    };
    require<EnvironmentError>(std::ranges::all_of(token, stands_in_an_address), kTokenVariable,
                              " may have letters, digits, - and _ alone: it stands in the page's address");
    std::unique_ptr<ServedPage> page(new ServedPage(run, token, spec));
    url = page->url_ + (token.empty() ? "" : "?token=" + token);
    return page;
  } catch (const EnvironmentError& error) {
    why = error.what();
    return nullptr;
  }
}

}  // namespace sluice::recipes
