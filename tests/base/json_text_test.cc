#include "base/json_text.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace sluice {
namespace {

TEST(JsonText, IsWhatATreeOfValuesWrites) {
  for (const std::string text :
       {"", "plain", "\"", "a\\b\"c\n", "\x01\x1f\x7f", "Grüße 漢字 \xF0\x9F\x98\x80", "cut \xE6\xBC",
        "\xff\xfe tail", "\xC3\"\xA9"}) {
    std::string json = "[";
    append_json_text(json, text);
    EXPECT_EQ(json, "[" + Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)) << text;
  }
}

}  // namespace
}  // namespace sluice
