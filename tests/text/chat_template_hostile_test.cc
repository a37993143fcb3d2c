// Templates that are malformed or mean harm: each is refused in time, with its line and what is wrong.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "text/chat_template.h"

namespace sluice::text {
namespace {

struct Hostile {
  std::string source;
  std::string message;  // what the refusal begins with, after "hostile:"
};

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

void expect_refused(const std::vector<Hostile>& templates) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  for (const Hostile& hostile : templates) {
    const SteadyClock clock;
    const Millis begin = clock.now_ms();
    const std::string said = message_of<DataError>([&] {
      ChatTemplate(hostile.source, Json::object(), "hostile", {.timeout_ms = 500}).render(messages);
    });
    EXPECT_LT(clock.now_ms() - begin, 1000) << hostile.source.substr(0, 100);
    EXPECT_EQ(said.substr(0, hostile.message.size() + 8), "hostile:" + hostile.message)
        << hostile.source.substr(0, 100) << "\n"
        << said;
  }
}

TEST(HostileChatTemplate, MalformedTagsAreRefused) {
  expect_refused({
      {"a\n{{", "2: an expression is wanted, saw the end of the template"},
      {"{{ a", "1: '}}' is wanted, saw the end of the template"},
      {"{{ }}", "1: an expression is wanted, saw '}}'"},
      {"{% %}", "1: the name of a tag is wanted, saw '%}'"},
      {"{%", "1: the name of a tag is wanted, saw the end of the template"},
      {"\n\n{# never", "3: the comment has no end"},
      {"{% raw %}{{", "1: 'raw' has no 'endraw'"},
      {"{{ a %}", "1: nothing is open that '}' closes"},
      {"{{ (a] }}", "1: ')' is wanted, saw ']'"},
      {"{{ 'a", "1: the text has no closing '"},
      {"{{ 'a\\", "1: the text has no closing '"},
      {"{{ \"\\x4\" }}", "1: an escape in a text lacks its 2 digits"},
      {"{{ '\\ud800' }}", "1: an escape in a text names no character: d800"},
      {"{{ '\\N{BULLET}' }}", "1: \\N in a text is not supported"},
      {"{{ a ! b }}", "1: nothing that is known begins with '!'"},
      {"{{ a $ b }}", "1: nothing that is known begins with '$'"},
      {"{{ ä }}", "1: nothing that is known begins with 'ä'"},
      {"{{ a b }}", "1: '}}' is wanted, saw 'b'"},
      {"{{ a. }}", "1: the name of an attribute is wanted, saw '}}'"},
      {"{{ a[] }}", "1: there is nothing between '[' and ']'"},
      {"{{ a[1:2:3:4] }}", "1: a slice has at most three parts"},
      {"{{ f(a=1, 2) }}", "1: an argument without a name follows one with a name"},
      {"{{ f(a=1, a=2) }}", "1: the argument 'a' is given twice"},
      {"{{ f(*a) }}", "1: '*' in arguments is not supported"},
      {"{{ 99999999999999999999 }}", "1: the integer 99999999999999999999 is beyond 64 bits"},
      {"bad \xff byte", " not UTF-8 at byte 4"},
  });
}

TEST(HostileChatTemplate, MalformedBlocksAreRefused) {
  expect_refused({
      {"{% if a %}\n\n", "1: 'if' has no 'endif'"},
      {"{% for a in b %}{% endif %}", "1: 'endif' stands in the 'for' of line 1, which 'endfor' ends"},
      {"\n{% endfor %}", "2: there is no block that 'endfor' ends"},
      {"{% else %}", "1: there is no block that 'else' ends"},
      {"{% if a %}{% else %}{% elif b %}{% endif %}", "1: 'elif' stands in the 'if' of line 1"},
      {"{% for a %}{% endfor %}", "1: 'in' is wanted, saw '%}'"},
      {"{% for loop in a %}{% endfor %}", "1: 'loop' cannot be the variable of a loop"},
      {"{% for a in b recursive %}{% endfor %}", "1: a 'recursive' loop is not supported"},
      {"{% set none = 1 %}", "1: 'none' cannot be assigned to"},
      {"{% set 1 = 1 %}", "1: the name of a variable is wanted, saw a number"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "1: the parameter 'b' follows one with a default and has none"},
      {"{% macro m(a, a) %}{% endmacro %}", "1: the parameter 'a' stands twice"},
      {"{% break %}", "1: 'break' stands in no loop"},
      {"{% for a in b %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}",
       "1: 'continue' stands in no loop"},
      {"{% macro m() %}{% generation %}{% endgeneration %}{% endmacro %}",
       "1: 'generation' cannot stand in a macro"},
      {"{{ a is odd is even }}", "1: tests cannot be chained with 'is'"},
  });
}

TEST(HostileChatTemplate, UnknownConstructsAreNamed) {
  expect_refused({
      {"{% include 'x' %}", "1: the tag 'include' is not known here"},
      {"{% import 'os' as os %}", "1: the tag 'import' is not known here"},
      {"{% extends 'x' %}", "1: the tag 'extends' is not known here"},
      {"{% block b %}{% endblock %}", "1: the tag 'block' is not known here"},
      {"{% call m() %}{% endcall %}", "1: the tag 'call' is not known here"},
      {"{% do f() %}", "1: the tag 'do' is not known here"},
      {"a\n{{ x | frobnicate }}", "2: the filter 'frobnicate' is not known here"},
      {"a\n{{ x is frobbed }}", "2: the test 'frobbed' is not known here"},
      {"{{ 'a'.format(1) }}", "1: the method 'format' of a text is not supported"},
      {"{{ '%s' % 1 }}", "1: formatting a text with % is not supported"},
      {"{{ messages | map('attr', '__class__') | list }}",
       "1: map: 'attr' is not a filter that is known here"},
      {"{{ cycler(1) }}", "1: 'cycler' is undefined, it cannot be called"},
      {"{{ open('/etc/passwd') }}", "1: 'open' is undefined, it cannot be called"},
  });
}

TEST(HostileChatTemplate, NothingBehindTheConversationIsReached) {
  expect_refused({
      {"{{ ''.__class__.__mro__ }}", "1: a 'str' has no '__class__', so it has no '__mro__'"},
      {"{{ messages.__init__.__globals__ }}", "1: a 'list' has no '__init__'"},
      {"{{ namespace.__init__() }}", "1: a 'function' has no '__init__', it cannot be called"},
      {"{{ messages[0]['__class__']['x'] }}", "1: a 'dict' has no '__class__'"},
      {"{{ messages.append(1) }}", "1: the method 'append' changes a 'list', which templates cannot"},
      {"{{ messages[0].update({'role': 'x'}) }}", "1: the method 'update' changes a 'dict'"},
      {"{% set messages.x = 1 %}", "1: 'messages' is no namespace, its attributes cannot be set"},
      {"{% set ns = namespace() %}{% set ns.__x = 1 %}", "1: an attribute's name cannot begin with '_'"},
  });
}

TEST(HostileChatTemplate, DeepNestingIsRefusedBeforeTheStackEnds) {
  constexpr int kDeep = 50'000;
  expect_refused({
      {"{{ " + repeated("(", kDeep), "1: nested deeper than 64 levels"},
      {"{{ " + repeated("[", kDeep), "1: nested deeper than 64 levels"},
      {"{{ " + repeated("{1:", kDeep), "1: nested deeper than 64 levels"},
      {"{{ " + repeated("not ", kDeep) + "1 }}", "1: nested deeper than 64 levels"},
      {"{{ " + repeated("-", kDeep) + "1 }}", "1: nested deeper than 64 levels"},
      {"{{ " + repeated("a if b else ", kDeep / 4) + "c }}", "1: nested deeper than 64 levels"},
      {"{{ a" + repeated("[a", kDeep), "1: nested deeper than 64 levels"},
      {"{{ a" + repeated(".a", kDeep) + " }}", "1: an expression is nested deeper than 64 levels"},
      {"{{ a" + repeated("|e", kDeep) + " }}", "1: an expression is nested deeper than 64 levels"},
      {"{{ a" + repeated("()", kDeep) + " }}", "1: an expression is nested deeper than 64 levels"},
      {repeated("{% if 1 %}", kDeep / 4), "1: nested deeper than 64 levels"},
      {repeated("{% for a in b %}", kDeep / 4), "1: nested deeper than 64 levels"},
      {"{% set " + repeated("(", kDeep), "1: nested deeper than 64 levels"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "1: calls are nested too deeply"},
      {"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}",
       "1: values are nested deeper than 128"},
      {"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ns.x | map('e') %}{% endfor %}",
       "1: values are nested deeper than 128"},
      {repeated("x", 300'000), " a chat template of 300000 bytes, at most 262144 are read"},
  });
}

TEST(HostileChatTemplate, WorkWithoutEndIsCutOff) {
  const std::string doubling = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x";
  const std::string lists = "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ";
  expect_refused({
      {"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
       "1: the template takes "},
      {"{{ range(1000000000) }}", "1: range(): more than 100000 numbers"},
      {"{{ range(-9223372036854775807, 9223372036854775807, 1) }}", "1: range(): more than 100000 numbers"},
      {"{{ 'a' * 1000000000 }}", "1: a text of 1000000000 bytes, at most 16777216 are allowed"},
      {"{{ 'ab' * 9223372036854775807 }}", "1: a text of 18446744073709551614 bytes"},
      {"{{ [1] * 1000000000 }}", "1: a list of 1000000000 items is too long"},
      {doubling + " ~ ns.x %}{% endfor %}", "1: "},
      {doubling + ".replace('', ns.x) %}{% endfor %}", "1: "},
      {doubling + " | indent(9999999) %}{% endfor %}", "1: "},
      {lists + "ns.x + ns.x %}{% endfor %}", "1: "},
      {lists + "[ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "1: "},
      {lists + "[ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}", "1: "},
      {lists + "[ns.x, ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}{{ ns.x == ns.x }}{{ ns.x | string }}", "1: "},
      {"{% for i in range(999) %}{{ 'a' * 99999 }}{% endfor %}", "1: a text of 16"},
      {"{{ 'a' | indent(9223372036854775807) }}", "1: a text of 9223372036854775807 bytes"},
      {"{{ messages | tojson(indent=9223372036854775807) }}", "1: a text of 9223372036854775807 bytes"},
      {"{{ [1] | batch(9223372036854775807, 1) | list }}", "1: the template takes "},
      {"{{ ('a' * 8000000).find('a' * 4000000 ~ 'b') }}{{ ('a' * 8000000).rfind('b' ~ 'a' * 4000000) }}"
       "{{ ('a' * 8000000).rsplit('a' * 4000 ~ 'b' ~ 'a' * 4000) }}",
       "1: the template takes "},
      {"{{ range(100000) | list | tojson(separators=('a' * 8000000, ':')) }}", "1: a text of "},
      {"{{ {'a': 1, 'b': 2, 'c': 3} | tojson(separators=(',', 'a' * 8000000)) }}", "1: a text of "},
      {"{{ ('a' * 8000000) | trim('b' * 8000000 ~ 'a') }}", "1: the template takes "},
      {"{{ ('a' * 8000000).strip('b' * 8000000 ~ 'a') }}", "1: the template takes "},
      {"{{ ('a' * 8000000).lstrip('ab') }}", "1: the template takes "},
      {"{% set x = 'a' * 8000000 %}{% for i in range(99999) %}{{ x[-1] }}{% endfor %}",
       "1: the template takes "},
      {"{% set x = 'a' * 8000000 %}{% for i in range(99999) %}{{ x[9999999] }}{% endfor %}",
       "1: the template takes "},
      {"{{ 9223372036854775807 + 1 }}", "1: 9223372036854775807 + 1 is beyond 64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}", "1: -9223372036854775808 // -1 is beyond 64 bits"},
      {"{{ 9 ** 99 }}", "1: 9 ** 99 is beyond 64 bits"},
      {"{{ 10.0 ** 999 }}", "1: the power is too large"},
      {"{{ (-8) ** 0.5 }}", "1: a negative number cannot be raised to a fractional power"},
      {"{{ 1.5 | round(400) }}", "1: round: a precision of 400"},
      {"{{ 1e300 | int }}", "1: int: 1e+300 is beyond 64 bits"},
      {"{{ '9' * 30 | int }}{{ ('9' * 30) | int }}",
       "1: int: 999999999999999999999999999999 is beyond 64 bits"},
      {"{{ strftime_now('%9999999d') }}", "1: strftime_now(): '%9999999d' gives no date of up to 1023 bytes"},
  });
}

// Each look once counted the characters of the text.
TEST(HostileChatTemplate, WhetherATextIsEmptyIsKnownAtOnce) {
  const std::string source =
      "{% set x = 'a' * 8000000 %}{% for i in range(50000) %}{{ '' if x else 'b' }}{% endfor %}";
  const ChatTemplate chat(source, Json::object(), "t", {.timeout_ms = 10'000});
  EXPECT_EQ(chat.render(Json::array()).text, "");
}

TEST(HostileChatTemplate, LimitsAreThoseThatWereGiven) {
  const auto said = [](const std::string& source, const TemplateLimits& limits) {
    return message_of<DataError>(
        [&] { ChatTemplate(source, Json::object(), "t", limits).render(Json::array()); });
  };
  EXPECT_EQ(said("{% for i in range(99) %}{{ i }}{% endfor %}", {.max_steps = 100}),
            "t:1: the template takes more than 100 steps");
  EXPECT_EQ(said("12345", {.max_output_bytes = 4}), "t:1: a text of 5 bytes, at most 4 are allowed");
  EXPECT_EQ(said("{{ ((1)) }}", {.max_depth = 2}), "t:1: nested deeper than 2 levels");
  EXPECT_EQ(said("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                 {.max_steps = 1'000'000'000'000, .timeout_ms = 20}),
            "t:1: the template takes longer than 20 ms");
}

}  // namespace
}  // namespace sluice::text
