#include "rewards/plugins/words.h"

#include <sstream>

#include "base/error.h"

namespace sluice::rewards::plugins {

FunctionOfFile split_function(std::string_view text) {
  const auto colon = text.rfind(':');
  require<UsageError>(colon != std::string_view::npos && colon > 0 && colon + 1 < text.size(),
                      "python wants a file and a function of it, \"my.py:reward\", saw \"", text, "\"");
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

std::vector<std::string> command_words(const Json& command) {
  std::vector<std::string> words;
  if (command.is_string()) {
    std::istringstream text(command.get<std::string>());
    for (std::string word; text >> word;) words.push_back(word);
  } else if (command.is_array()) {
    for (const auto& word : command) {
      if (word.is_string()) words.push_back(word.get<std::string>());
    }
    if (words.size() != command.size()) words.clear();
  }
  require<UsageError>(!words.empty() && !words.front().empty(),
                      "command wants a program and its arguments, as text or as a list of texts, saw ",
                      command.dump());
  return words;
}

}  // namespace sluice::rewards::plugins
