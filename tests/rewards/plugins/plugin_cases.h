// Plug-ins that a test writes, and what becomes of the processes they start.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {

// Python: replies of http.server's `handler` that come a byte at a time, or break off.
inline constexpr const char* kBrokenReplies = R"(
import time
def drip(handler):
    handler.send_response(200)
    handler.end_headers()
    for i in range(1000):
        handler.wfile.write(b" ")
        time.sleep(0.05)
def drop(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    handler.close_connection = True
)";

// A folder with the files of a plug-in, and a mark in the environment of whatever is started while it is
// there.
class PluginFolder {
 public:
  PluginFolder() { ::setenv(kMark, folder_.path().c_str(), 1); }
  ~PluginFolder() { ::unsetenv(kMark); }
  PluginFolder(const PluginFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text);
  }
  std::filesystem::path write_program(const std::string& name, const std::string& text) const {
    const auto file = write(name, text);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file;
  }

  // Of a plug-in here, with no second try unless `options` says otherwise.
  RewardSpec spec(const std::string& kind, const Json& what, const Json& options = Json::object()) const {
    RewardSpec out;
    out.use = kind;
    out.options = {{kind, what}, {"folder", folder_.path().string()}, {"timeout_ms", 20'000}, {"retries", 0}};
    if (kind != "http" && kind != "judge") out.options["start_timeout_ms"] = 20'000;
    out.options.update(options);
    out.where = "recipe.toml:7:3";
    return out;
  }
  std::unique_ptr<RewardFunction> make(const std::string& kind, const Json& what,
                                       const Json& options = Json::object()) const {
    return make_reward(spec(kind, what, options), {});
  }

  // Processes with the mark, this one left aside.
  std::vector<pid_t> processes() const {
    std::vector<pid_t> marked;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const auto name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos || name == std::to_string(::getpid()))
        continue;
      std::ifstream in(entry.path() / "environ", std::ios::binary);
      std::ostringstream text;
      text << in.rdbuf();
      if (text.str().find(std::string(kMark) + "=" + folder_.path().string()) != std::string::npos)
        marked.push_back(std::stoi(name));
    }
    return marked;
  }
  int num_processes() const { return static_cast<int>(processes().size()); }
  // Whether there are so many of them before a few seconds have passed: a killed process takes a moment.
  bool comes_to(int count) const {
    for (int i = 0; i < 500; ++i) {
      if (num_processes() == count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

 private:
  static constexpr const char* kMark = "SLUICE_PLUGIN_TEST";
  TempFolder folder_;
};

inline std::vector<RewardOutcome> score_group(RewardFunction& reward, const Case& from,
                                              const std::vector<std::string>& completions) {
  std::vector<RewardRequest> group;
  for (const auto& completion : completions) group.push_back(from.request(completion));
  for (size_t i = 0; i < group.size(); ++i) group[i].sample = static_cast<int64_t>(i);
  return reward.score(group);
}

}  // namespace sluice::rewards
