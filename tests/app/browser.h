// A headless Chromium, told what to do over a pipe (the DevTools protocol), for pages as a person sees them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/subprocess.h"

namespace sluice::app {

class Browser {
 public:
  // Whether this machine has one; bootstrap brings none.
  static bool is_there();

  // Its profile is a folder inside `folder`.
  explicit Browser(const std::filesystem::path& folder);
  ~Browser();
  Browser(const Browser&) = delete;

  // The window, in CSS pixels; more of them on a screen of a telephone.
  void resize(int width, int height, bool telephone = false);
  void prefer_dark(bool dark);

  // Returns when it has been loaded.
  void open(const std::string& url);
  // What JavaScript says, a promise's answer too. A test failure when it throws.
  Json evaluate(const std::string& expression);
  // Asks again and again, up to a minute.
  bool comes_true(const std::string& condition);
  // "Tab", "ArrowLeft", "Enter", "Home", or a letter.
  void press(const std::string& key);
  // The window as a PNG, less than what docs may hold.
  void screenshot(const std::filesystem::path& file);

  // Errors and warnings of the console, exceptions, requests that failed or were refused.
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  Json call(const std::string& method, const Json& params);
  Json next_message();
  void note(const Json& event);

  int to_ = -1, from_ = -1;
  std::optional<Subprocess> process_;
  std::string buffer_, session_;
  int64_t last_id_ = 0;
  bool loaded_ = false;
  std::vector<std::string> complaints_;
};

}  // namespace sluice::app
