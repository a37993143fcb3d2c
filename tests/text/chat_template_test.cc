#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(SLUICE_SOURCE_DIR) / "data" / "chat_templates" / name;
}

const Json kTokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};

RenderedChat render(const std::string& source, const Json& messages = Json::array(),
                    const ChatOptions& options = {}) {
  return ChatTemplate(source, kTokens, "chat.jinja").render(messages, options);
}

std::string text_of(const std::string& source, const Json& extra = Json::object()) {
  return render(source, Json::array(), {.tools = nullptr, .extra = extra}).text;
}

// What cases.json says of a rendering: its text and ranges, or that it is refused.
Json outcome(const ChatTemplate& chat, const Json& messages, const ChatOptions& options) {
  Json out = Json::object();
  try {
    const RenderedChat rendered = chat.render(messages, options);
    out["text"] = rendered.text;
    for (const auto& [begin, end] : rendered.generation) out["generation"].push_back({begin, end});
  } catch (const DataError&) {
    out["refused"] = true;
  }
  return out;
}

Json wanted(const Json& test_case) {
  Json out = Json::object();
  for (const char* key : {"text", "generation", "refused"}) {
    if (test_case.contains(key)) out[key] = test_case[key];
  }
  return out;
}

TEST(ChatTemplate, RendersWhatTransformersDoes) {
  std::map<std::string, Json> conversations;
  for (const Json& talk : read_json(data("conversations.json"))) conversations[talk["name"]] = talk;
  std::map<std::string, ChatTemplate> templates;
  int compared = 0;
  for (const Json& test_case : read_json(data("cases.json"))) {
    if (!test_case.contains("template")) continue;
    const auto file = test_case["template"].get<std::string>();
    if (!templates.contains(file))
      templates.emplace(file, ChatTemplate(read_file(data(file)), kTokens, file));
    const Json& talk = conversations.at(test_case["conversation"]);
    ChatOptions options;
    options.add_generation_prompt = test_case["generation_prompt"];
    options.tools = talk.value("tools", Json());
    options.extra = talk.value("extra", Json::object());
    EXPECT_EQ(outcome(templates.at(file), talk["messages"], options), wanted(test_case))
        << file << ", " << talk["name"] << ", prompt " << options.add_generation_prompt;
    ++compared;
  }
  EXPECT_EQ(compared, 14 * 14 * 2);
}

TEST(ChatTemplate, SpeaksTheLanguageThatJinjaSpeaks) {
  ChatOptions options;
  options.extra = {{"d", {{"a", 1}, {"items", "own"}, {"list", {10, 20}}}},
                   {"l", {3, 1, 2}},
                   {"rows", Json::array({{{"name", "al"}, {"age", 41}},
                                         {{"name", "Cy"}, {"age", 7}},
                                         {{"name", "bo"}, {"age", 7}}})}};
  int compared = 0;
  for (const Json& test_case : read_json(data("cases.json"))) {
    if (!test_case.contains("snippet")) continue;
    const auto source = test_case["snippet"].get<std::string>();
    Json got = {{"refused", true}};
    try {
      got = outcome(ChatTemplate(source, kTokens, "snippet"), Json::array(), options);
    } catch (const DataError&) {
    }
    EXPECT_EQ(got, wanted(test_case)) << source;
    ++compared;
  }
  EXPECT_GT(compared, 90);
}

TEST(ChatTemplate, SaysWhereAndInTheTemplatesOwnWordsWhyItRefuses) {
  const std::string source =
      "{% for m in messages %}\n{% if m.role != 'user' %}\n{{ raise_exception('only ' ~ 'users') }}\n"
      "{% endif %}{% endfor %}";
  EXPECT_EQ(message_of<DataError>([&] {
              render(source, Json::array({{{"role", "tool"}}}));
            }),
            "chat.jinja:3: the template says: only users");
}

TEST(ChatTemplate, NamesWhatTheConversationLacks) {
  EXPECT_EQ(message_of<DataError>([] {
              render("a\nb {{ messages[0].content.text }}", Json::array({{{"role", "user"}}}));
            }),
            "chat.jinja:2: a 'dict' has no 'content', so it has no 'text'");
  EXPECT_EQ(message_of<DataError>([] { render("{{ system + '.' }}"); }),
            "chat.jinja:1: 'system' is undefined");
}

TEST(ChatTemplate, CountsGenerationInBytes) {
  const auto rendered = render("é{% generation %}äö{% endgeneration %}-{% generation %}{% endgeneration %}");
  EXPECT_EQ(rendered.text, "éäö-");
  EXPECT_EQ(rendered.generation, (std::vector<std::pair<size_t, size_t>>{{2, 6}, {7, 7}}));
}

TEST(ChatTemplate, GivesReasoningBothOfItsNames) {
  const Json messages = Json::array({{{"role", "assistant"}, {"reasoning", "r"}, {"content", "c"}}});
  EXPECT_EQ(
      render("{{ messages[0] | tojson }}", messages).text,
      R"({"thinking": "r", "role": "assistant", "reasoning": "r", "content": "c", "reasoning_content": "r"})");
}

TEST(ChatTemplate, TellsToolsThatAreNotGivenFromAnEmptyList) {
  EXPECT_EQ(render("{{ tools is none }}").text, "True");
  EXPECT_EQ(render("{{ tools }}", Json::array(), {.tools = Json::array()}).text, "[]");
}

TEST(ChatTemplate, PutsTheDateWhereItIsAskedFor) {
  const std::string today = text_of("{{ strftime_now('%Y-%m-%d') }}");
  EXPECT_EQ(today.size(), 10u);
  EXPECT_EQ(today.substr(0, 2), "20");
}

TEST(ChatTemplate, KeepsTheLastValueOfALoopThatHoldsItself) {
  EXPECT_EQ(text_of("{% set ns = namespace() %}{% for x in [1, 2] %}{% set ns.l = loop %}{% set ns.n = ns "
                    "%}{% endfor %}"
                    "{% macro m() %}{% endmacro %}{% set ns.m = m %}{{ ns.l.index }}"),
            "2");
}

TEST(ChatTemplate, ForgetsNothingBetweenTwoRenderings) {
  const ChatTemplate chat("{% set x = (x | default(0)) + 1 %}{{ x }}", kTokens, "chat.jinja");
  EXPECT_EQ(chat.render(Json::array()).text, "1");
  EXPECT_EQ(chat.render(Json::array()).text, "1");
  EXPECT_EQ(chat.source(), "{% set x = (x | default(0)) + 1 %}{{ x }}");
}

TEST(ChatTemplate, WantsAConversationAsAnArray) {
  EXPECT_EQ(message_of<DataError>([] { render("", Json::object()); }),
            "chat.jinja: the messages of a conversation are an array, saw object");
}

}  // namespace
}  // namespace sluice::text
