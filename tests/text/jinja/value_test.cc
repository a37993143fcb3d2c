#include "text/jinja/value.h"

#include <gtest/gtest.h>

#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

Value json(Context& context, const std::string& text) { return from_json(context, Json::parse(text)); }

TEST(JinjaValue, KeepsTheOrderOfAnObject) {
  Context context("t", {});
  EXPECT_EQ(to_text(context, json(context, R"({"b": 1, "a": [true, null, 2.0, "x"]})")),
            "{'b': 1, 'a': [True, None, 2.0, 'x']}");
}

TEST(JinjaValue, FindsEqualNumbersUnderOneKey) {
  Context context("t", {});
  Dict dict;
  dict.set(context, Value::integer(1), Value::text("one"));
  dict.set(context, Value::boolean(true), Value::text("true"));
  EXPECT_EQ(dict.items().size(), 1u);
  EXPECT_EQ(*dict.find(context, Value::real(1.0))->as_text(), "true");
  EXPECT_EQ(dict.find(context, Value::text("1")), nullptr);
}

TEST(JinjaValue, ComparesLargeIntegersWithRealsExactly) {
  Context context("t", {});
  const Value large = Value::integer(9007199254740993);  // 2^53 + 1, which no double is
  EXPECT_FALSE(equal(context, large, Value::real(9007199254740992.0)));
  EXPECT_TRUE(less(context, Value::real(9007199254740992.0), large));
}

TEST(JinjaValue, PrintsRealNumbersAsPythonDoes) {
  EXPECT_EQ(repr(0.0), "0.0");
  EXPECT_EQ(repr(-0.0), "-0.0");
  EXPECT_EQ(repr(1e22), "1e+22");
  EXPECT_EQ(repr(0.0001), "0.0001");
  EXPECT_EQ(repr(0.00001), "1e-05");
  EXPECT_EQ(repr(9999999999999998.0), "9999999999999998.0");
  EXPECT_EQ(repr(5e-324), "5e-324");
}

TEST(JinjaValue, ReadsNumbersAsPythonDoes) {
  Context context("t", {});
  EXPECT_EQ(parse_integer(context, " -1_0 ", 10), -10);
  EXPECT_EQ(parse_integer(context, "0x_1f", 16), 31);
  EXPECT_EQ(parse_integer(context, "1__0", 10), std::nullopt);
  EXPECT_EQ(parse_integer(context, "010", 0), std::nullopt);
  EXPECT_EQ(parse_integer(context, "--1", 10), std::nullopt);
  EXPECT_EQ(parse_real("1e400"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(parse_real("+-1"), std::nullopt);
  EXPECT_EQ(round_half_even(2.675, 2), 2.67);
  EXPECT_EQ(round_half_even(0.5, 0), 0.0);
  EXPECT_EQ(round_half_even(1250.0, -2), 1200.0);
}

TEST(JinjaText, CountsBytesThatAreNotUtf8One) {
  EXPECT_EQ(count_characters("a\xff\xc3\xa9"), 3);
  EXPECT_EQ(character_starts("\xf0\x9f\x98\x80x"), (std::vector<size_t>{0, 4, 5}));
}

TEST(JinjaText, SplitsFromBothEnds) {
  Context context("t", {});
  EXPECT_EQ(split(context, "  a b  c ", std::nullopt, 1, false), (std::vector<std::string>{"a", "b  c "}));
  EXPECT_EQ(split(context, "  a b  c ", std::nullopt, 1, true), (std::vector<std::string>{"  a b", "c"}));
  EXPECT_EQ(split(context, "aXXbXX", "XX", 1, true), (std::vector<std::string>{"aXXb", ""}));
  EXPECT_EQ(find_last(context, "abab", "ab"), 2u);
  EXPECT_EQ(find_last(context, "ab", "abc"), std::string_view::npos);
}

}  // namespace
}  // namespace sluice::text::jinja
