#include "base/json_text.h"

#include <algorithm>

#include "base/json.h"

namespace sluice {
namespace {

bool is_plain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

}  // namespace

void append_json_text(std::string& json, std::string_view text) {
  json += '"';
  while (!text.empty()) {
    const auto plain = static_cast<size_t>(std::ranges::find_if_not(text, is_plain) - text.begin());
    json += text.substr(0, plain);
    text.remove_prefix(plain);
    const auto other = static_cast<size_t>(std::ranges::find_if(text, is_plain) - text.begin());
    if (other > 0) {
      const auto quoted = Json(text.substr(0, other)).dump(-1, ' ', false, Json::error_handler_t::replace);
      json += std::string_view(quoted).substr(1, quoted.size() - 2);
    }
    text.remove_prefix(other);
  }
  json += '"';
}

}  // namespace sluice
