#include "tests/app/browser.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChromium = "/usr/bin/chromium";
constexpr uintmax_t kLargestPicture = 300'000;
constexpr JsonLimits kLimits = {.max_bytes = size_t{1} << 28};

// Our end of a pipe, and the other one at a number that is free in a child and given to it.
struct Pipe {
  int ours = -1, theirs = -1;
};
Pipe make_pipe(bool we_write) {
  std::array<int, 2> ends{};
  require<EnvironmentError>(::pipe2(ends.data(), O_CLOEXEC) == 0, "browser: no pipe");
  const int given = ::fcntl(ends[we_write ? 0 : 1], F_DUPFD, 10);
  ::close(ends[we_write ? 0 : 1]);
  return {ends[we_write ? 1 : 0], given};
}

std::string from_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  size_t filled = 0;
  while (filled < 2 && filled < text.size() && text[text.size() - 1 - filled] == '=') ++filled;
  bytes.resize(static_cast<size_t>(std::max(size, 0)) - filled);
  return bytes;
}

}  // namespace

bool Browser::is_there() { return fs::exists(kChromium); }

Browser::Browser(const fs::path& folder) {
  const Pipe commands = make_pipe(true), answers = make_pipe(false);
  to_ = commands.ours;
  from_ = answers.ours;
  const std::string redirected =
      "exec \"$0\" \"$@\" 3<&" + std::to_string(commands.theirs) + " 4>&" + std::to_string(answers.theirs);
  process_ =
      Subprocess::start({.command = {"bash", "-c", redirected, kChromium, "--headless", "--no-sandbox",
                                     "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                                     "--no-first-run", "--user-data-dir=" + (folder / "browser").string(),
                                     "--remote-debugging-pipe", "about:blank"},
                         .output = folder / "browser.log"});
  ::close(commands.theirs);
  ::close(answers.theirs);
  const Json target = call("Target.createTarget", {{"url", "about:blank"}}).at("targetId");
  session_ = call("Target.attachToTarget", {{"targetId", target}, {"flatten", true}}).at("sessionId");
  for (const char* domain : {"Page", "Runtime", "Log", "Network"})
    call(std::string(domain) + ".enable", Json::object());
}

Browser::~Browser() {
  process_.reset();
  ::close(to_);
  ::close(from_);
}

Json Browser::next_message() {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + kLongMs; clock.now_ms() < until;) {
    if (const auto end = buffer_.find('\0'); end != std::string::npos) {
      const Json message = parse_json(buffer_.substr(0, end), "browser", kLimits);
      buffer_.erase(0, end + 1);
      return message;
    }
    pollfd wait{from_, POLLIN, 0};
    ::poll(&wait, 1, static_cast<int>(until - clock.now_ms()));
    std::array<char, 65536> bytes{};
    const auto count = ::read(from_, bytes.data(), bytes.size());
    require(count > 0, "browser: it has gone");
    buffer_.append(bytes.data(), static_cast<size_t>(count));
  }
  fail("browser: nothing was heard for a minute");
}

void Browser::note(const Json& event) {
  const std::string method = event.at("method");
  const Json& params = event.at("params");
  if (method == "Page.loadEventFired") loaded_ = true;
  if (method == "Runtime.exceptionThrown")
    complaints_.push_back("exception: " + params.at("exceptionDetails").dump());
  if (method == "Runtime.consoleAPICalled" && params.at("type") != "log")
    complaints_.push_back("console: " + params.dump());
  if (method == "Log.entryAdded") complaints_.push_back("log: " + params.at("entry").dump());
}

Json Browser::call(const std::string& method, const Json& params) {
  const int64_t id = ++last_id_;
  Json request = {{"id", id}, {"method", method}, {"params", params}};
  if (!session_.empty()) request["sessionId"] = session_;
  const std::string text = request.dump() + std::string(1, '\0');
  for (size_t sent = 0; sent < text.size();) {
    const auto count = ::write(to_, text.data() + sent, text.size() - sent);
    require(count > 0, "browser: it takes no more");
    sent += static_cast<size_t>(count);
  }
  while (true) {
    const Json message = next_message();
    if (message.contains("method")) note(message);
    if (message.value("id", int64_t{0}) != id) continue;
    require(message.contains("result"), "browser: ", method, ": ", message.dump());
    return message.at("result");
  }
}

void Browser::resize(int width, int height, bool telephone) {
  call("Emulation.setDeviceMetricsOverride", {{"width", width},
                                              {"height", height},
                                              {"deviceScaleFactor", telephone ? 2 : 1},
                                              {"mobile", telephone}});
}

void Browser::prefer_dark(bool dark) {
  call("Emulation.setEmulatedMedia",
       {{"features", {{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}}}});
}

void Browser::open(const std::string& url) {
  loaded_ = false;
  call("Page.navigate", {{"url", url}});
  while (!loaded_) {
    const Json message = next_message();
    if (message.contains("method")) note(message);
  }
}

Json Browser::evaluate(const std::string& expression) {
  const Json answer =
      call("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
  if (answer.contains("exceptionDetails")) ADD_FAILURE() << expression << "\n" << answer.dump();
  return answer.at("result").value("value", Json());
}

bool Browser::comes_true(const std::string& condition) {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + kLongMs; clock.now_ms() < until;) {
    if (evaluate("Boolean(" + condition + ")") == true) return true;
    evaluate("new Promise(done => setTimeout(done, 50))");
  }
  return false;
}

void Browser::press(const std::string& key) {
  static const std::map<std::string, int> kCodes = {{"Tab", 9},         {"Enter", 13},     {"End", 35},
                                                    {"Home", 36},       {"ArrowLeft", 37}, {"ArrowUp", 38},
                                                    {"ArrowRight", 39}, {"ArrowDown", 40}};
  const auto code = kCodes.find(key);
  Json event = {{"type", "keyDown"}, {"key", key}};
  if (code != kCodes.end()) event["windowsVirtualKeyCode"] = code->second;
  if (key == "Enter") event["text"] = "\r";
  if (code == kCodes.end()) event["text"] = key;
  call("Input.dispatchKeyEvent", event);
  event["type"] = "keyUp";
  event.erase("text");
  call("Input.dispatchKeyEvent", event);
}

void Browser::screenshot(const fs::path& file) {
  const Json answer = call("Page.captureScreenshot", {{"format", "png"}});
  write_plain(file, from_base64(answer.at("data")));
  EXPECT_GT(fs::file_size(file), 1000u) << file;
  EXPECT_LT(fs::file_size(file), kLargestPicture) << file;
}

}  // namespace sluice::app
