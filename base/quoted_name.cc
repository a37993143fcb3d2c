#include "base/quoted_name.h"

#include "base/json.h"

namespace sluice {

std::string quoted_name(const std::string& name) {
  constexpr size_t kMaxShown = 120;
  const Json shown = name.size() > kMaxShown ? name.substr(0, kMaxShown) + "..." : name;
  return shown.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sluice
