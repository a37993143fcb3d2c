#include "recipes/run_page.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/pulse.h"
#include "monitor/prometheus.h"
#include "recipes/internal/page.h"
#include "recipes/rollout_files.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using monitor::HttpRequest;
using monitor::HttpResponse;

constexpr size_t kStepsOfAReply = 1000;
constexpr const char* kTokenVariable = "SLUICE_WEB_TOKEN";
constexpr std::string_view kCookie = "sluice_token=";

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
                           "'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
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

std::string host_of(const HttpRequest& request) {
  const auto found = request.headers.find("host");
  if (found == request.headers.end()) return "";
  const auto& host = found->second;
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

std::string shown_token(const HttpRequest& request) {
  constexpr std::string_view kBearer = "Bearer ";
  const auto header = [&](const char* name) {
    const auto found = request.headers.find(name);
    return found == request.headers.end() ? std::string() : found->second;
  };
  if (const auto value = header("authorization"); value.starts_with(kBearer))
    return value.substr(kBearer.size());
  if (const auto found = request.query.find("token"); found != request.query.end()) return found->second;
  const auto cookies = header("cookie");
  const auto at = cookies.find(kCookie);
  if (at == std::string::npos) return "";
  const auto begin = at + kCookie.size();
  return cookies.substr(begin, cookies.find(';', begin) - begin);
}

Json to_json(const monitor::PastAlarm& past, bool stands) {
  return {{"rule", past.alarm.rule},
          {"sentence", past.alarm.sentence},
          {"suggestion", past.alarm.suggestion},
          {"since", past.alarm.since_step},
          {"until", past.until_step},
          {"stands", stands}};
}

// Whatever went wrong with a file that another process writes, there is nothing to see just now.
Json read_or_nothing(const fs::path& file) {
  try {
    return fs::exists(file) ? read_json(file) : Json::object();
  } catch (const DataError&) {
    return Json::object();
  }
}

}  // namespace

monitor::RunStatus run_status(const RunDirectory& run, const monitor::RunHistory& history) {
  monitor::RunStatus status{.name = run.root().filename(), .id = run.id()};
  if (!history.steps().empty()) status.last = history.steps().back();
  const Json live = read_or_nothing(run.state());
  if (live.contains("wall_time")) {
    status.state_time = live.at("wall_time");
    status.state = live.at("state").get<std::map<std::string, std::string>>();
    for (const auto& [name, fields] : live.at("actors").items())
      status.actors[name] = fields.get<std::map<std::string, std::string>>();
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run.root() / "pulse", ignored)) {
    if (const auto pulse = read_pulse(entry.path())) status.doing[entry.path().filename()] = pulse->doing;
  }
  return status;
}

RunPage::RunPage(const RunDirectory& run, std::string token)
    : run_(run), recipe_(run.recipe()), token_(std::move(token)), history_(run.metrics()) {}

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
      response.headers.emplace_back("Set-Cookie",
                                    std::string(kCookie) + token_ + "; HttpOnly; SameSite=Strict; Path=/");
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
    history_.refresh();
    return {.type = "text/plain; version=0.0.4; charset=utf-8",
            .body = monitor::prometheus_text(run_status(run_, history_))};
  }
  if (path == "/api/status") return json_response(status());
  if (path == "/api/steps") return json_response(steps(request));
  if (path == "/api/recipe") return json_response(recipe_.resolved);
  if (path == "/api/rollouts") {
    if (!request.query.contains("step")) return json_response({{"steps", rollout_steps(run_)}});
    const auto search = request.query.find("search");
    return json_response(read_rollouts(run_, number_of(request, "step", 0),
                                       search == request.query.end() ? "" : search->second,
                                       number_of(request, "offset", 0)));
  }
  if (path == "/api/events") return {.type = "text/event-stream", .body = "retry: 2000\n\n", .stays = true};
  return {.status = 404, .body = "there is no " + path + " here\n"};
}

Json RunPage::status() {
  history_.refresh();
  const auto now = run_status(run_, history_);
  Json stages = Json::array(), alarms = Json::array(), results = Json::array();
  for (const auto& stage : recipe_.stages) {
    const auto result = run_.stage_result(stage.name);
    stages.push_back(
        {{"name", stage.name}, {"use", stage.use}, {"steps", stage.steps}, {"done", result.has_value()}});
    if (result) results.push_back(*result);
  }
  for (const auto& past : history_.alarms())
    alarms.push_back(to_json(past, now.last && past.until_step == now.last->step));
  return {{"schema", 1},
          {"run", now.name},
          {"id", now.id},
          {"root", run_.root().string()},
          {"now", wall_seconds()},
          {"generation", history_.generation()},
          {"finished", !run_.next_stage(recipe_).has_value()},
          {"stages", stages},
          {"last", now.last ? monitor::to_json(*now.last) : Json()},
          {"live", {{"wall_time", now.state_time}, {"state", now.state}, {"actors", now.actors}}},
          {"doing", now.doing},
          {"alarms", alarms},
          {"results", results}};
}

Json RunPage::steps(const HttpRequest& request) {
  history_.refresh();
  const bool same_history = number_of(request, "generation", history_.generation()) == history_.generation();
  const int64_t since = same_history ? number_of(request, "since", 0) : 0;
  Json list = Json::array();
  bool more = false;
  for (const auto& report : history_.steps()) {
    if (report.step < since) continue;
    more = list.size() >= kStepsOfAReply;
    if (more) break;
    list.push_back(monitor::to_json(report));
  }
  return {{"generation", history_.generation()}, {"steps", list}, {"more", more}};
}

std::string RunPage::news() {
  std::string text;
  if (history_.refresh() && !history_.steps().empty()) {
    text += "event: step\ndata: " +
            Json{{"step", history_.steps().back().step}, {"generation", history_.generation()}}.dump() +
            "\n\n";
  }
  const Json live = read_or_nothing(run_.state());
  if (live.contains("wall_time") && live.at("wall_time") != told_state_time_) {
    told_state_time_ = live.at("wall_time");
    text += "event: live\ndata: " + live.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
  }
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
  Json json = read_json(run.root() / "run.json");
  json["web"] = {{"url", url_}, {"pid", getpid()}};
  write_file_atomically(run.root() / "run.json", json.dump(2) + "\n");
}

ServedPage::~ServedPage() {
  try {
    Json json = read_json(run_.root() / "run.json");
    json.erase("web");
    write_file_atomically(run_.root() / "run.json", json.dump(2) + "\n");
  } catch (const Error&) {  // on a full disk it goes on naming a page that is gone
  }
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
