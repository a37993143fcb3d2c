#include "rewards/tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/error.h"
#include "rewards/sandbox.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

ToolSpec tool(const std::string& use, const Json& options = Json::object()) {
  return {.use = use, .name = use, .options = options, .where = "recipe.toml:3:9"};
}

Toolbox box_of(const ToolSpec& spec) { return Toolbox(std::vector<ToolSpec>{spec}); }

std::string call_of(const std::string& name, const Json& arguments) {
  return Json{{"name", name}, {"arguments", arguments}}.dump();
}

TEST(Calculator, IsExact) {
  const auto box = box_of(tool("calculator"));
  const std::pair<const char*, const char*> cases[] = {
      {"48/2", "24"},
      {"0.2*50", "10"},
      {" (1.5 + 2) / 7 ", "0.5"},
      {"0.1+0.2", "0.3"},
      {"-7/8", "-0.875"},
      {"3-10", "-7"},
      {"10/3", "10/3 (about 3.33333)"},
      {"999999999999999999*1", "999999999999999999"},
  };
  for (const auto& [expression, value] : cases) {
    const auto answer = box.answer(call_of("calculator", {{"expression", expression}}));
    EXPECT_EQ(answer.text, value) << expression;
    EXPECT_FALSE(answer.failed);
    EXPECT_EQ(box.answer(call_of("calculator", expression)).text, value);  // without the name of the argument
  }
}

TEST(Calculator, SaysWhyThereIsNoValue) {
  const auto box = box_of(tool("calculator"));
  const std::pair<std::string, const char*> cases[] = {
      {"1/0", "it divides by 0"},
      {"999999999999999999*10", "more than 18 digits"},
      {"2**3", "no expression"},
      {"1.", "no expression"},
      {"__import__('os')", "no expression"},
      {"", "no expression"},
      {std::string(300, '1'), "no expression"},
      {std::string(100, '(') + "1" + std::string(100, ')'), "no expression"},
  };
  for (const auto& [expression, why] : cases) {
    const auto answer = box.answer(call_of("calculator", {{"expression", expression}}));
    EXPECT_TRUE(answer.failed) << expression;
    EXPECT_THAT(answer.text, HasSubstr(why));
    EXPECT_THAT(answer.text, testing::StartsWith("error: "));
  }
}

TEST(Toolbox, AnswersWhatIsNoCallInWords) {
  const auto box = box_of(tool("calculator"));
  const std::pair<std::string, const char*> cases[] = {
      {"48/2", "the call"},
      {"", "the call: not JSON"},
      {"[1]", "the call"},
      {R"({"arguments": "1+1"})", "\"name\" is missing"},
      {R"({"name": "calculato", "arguments": "1+1"})",
       "there is no tool of that name; there are: calculator"},
      {R"({"name": "calculator"})", "\"expression\" is missing"},
      {R"({"name": "calculator", "arguments": {"expression": 3}})", "expression"},
      {R"({"name": "calculator", "arguments": "1+1)", "not JSON"},
      {std::string(100'000, '['), "error: "},
      {"{\"name\": \"\xff\"}", "error: "},
  };
  for (const auto& [call, why] : cases) {
    const auto answer = box.answer(call);
    EXPECT_TRUE(answer.failed) << call;
    EXPECT_THAT(answer.text, HasSubstr(why)) << call;
    EXPECT_LT(answer.text.size(), 20'000u);
  }
}

TEST(Toolbox, DescribesItsToolsAsChatTemplatesTakeThem) {
  const auto said = box_of(tool("calculator")).descriptions();
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].at("type"), "function");
  const auto& function = said[0].at("function");
  EXPECT_EQ(function.at("name"), "calculator");
  EXPECT_EQ(function.at("parameters").at("required"), Json::array({"expression"}));
  EXPECT_EQ(function.at("parameters").at("properties").at("expression").at("type"), "string");
  EXPECT_TRUE(Toolbox().descriptions().is_null());
}

template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Toolbox, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(refusal([] { box_of(tool("calculater")); }),
            "recipe.toml:3:9: tool \"calculater\" does not exist; did you mean \"calculator\"?");
  EXPECT_THAT(refusal([] {
                box_of(tool("python", {{"timeout", 3}}));
              }),
              HasSubstr("tool \"python\" has no option \"timeout\"; did you mean \"timeout_s\"?"));
  EXPECT_THAT(refusal([] {
                Toolbox(std::vector{tool("calculator"), tool("calculator")});
              }),
              HasSubstr("two tools are called \"calculator\""));
}

class PythonTool : public testing::Test {
 protected:
  // At the highest level there is here.
  Toolbox box(const Json& more = Json::object()) const {
    Json options = {{"sandbox", std::string(sandbox_name(sandbox_support().level))}, {"timeout_s", 2}};
    options.update(more);
    return box_of(tool("python", options));
  }
};

TEST_F(PythonTool, SaysWhatAProgramPrints) {
  const auto tools = box();
  const auto say = [&](const std::string& code) { return tools.answer(call_of("python", {{"code", code}})); };
  EXPECT_EQ(say("print(2**100)").text, "1267650600228229401496703205376");
  EXPECT_EQ(say("for i in range(3): print(i)").text, "0\n1\n2");
  EXPECT_EQ(say("x = 1").text, "(it printed nothing)");
  EXPECT_FALSE(say("x = 1").failed);
}

TEST_F(PythonTool, IsGivenUpWhenNobodyWantsItsAnswer) {
  const auto tools = box({{"timeout_s", 600}});
  auto answer = std::async(std::launch::async, [&] {
    return tools.answer(call_of("python", {{"code", "import time\ntime.sleep(1000)"}}));
  });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);

  tools.interrupt();

  EXPECT_THAT(answer.get().text, HasSubstr("error: interrupted"));
}

TEST_F(PythonTool, SaysInWordsWhatWentWrong) {
  const auto tools = box();
  const std::pair<const char*, const char*> cases[] = {
      {"1/0", "error: ZeroDivisionError: division by zero"},
      {"print('so far')\nraise ValueError('no')", "so far\nerror: ValueError: no"},
      {"if", "error: SyntaxError"},
      {"while True: pass", "error: it ran longer than 2 s"},
      {"while True: print('x' * 1000)", "error: it wrote more than 65536 bytes"},
      {"import os\nos._exit(3)", "error: failed"},
      {"import sys\nsys.exit('why not')", "error: why not"},
  };
  for (const auto& [code, said] : cases) {
    const auto answer = tools.answer(call_of("python", {{"code", code}}));
    EXPECT_TRUE(answer.failed) << code;
    EXPECT_THAT(answer.text, HasSubstr(said)) << code;
  }
  if (sandbox_support().level != SandboxLevel::None) {
    const auto answer = tools.answer(call_of("python", "import socket\nsocket.socket()"));
    EXPECT_TRUE(answer.failed) << answer.text;
  }
}

// As a program that speaks the protocol: `call` is what was asked, `say` writes a line.
std::string program(const std::string& body) {
  std::istringstream in(body);
  std::string indented;
  for (std::string line; std::getline(in, line);) indented += "  " + line + "\n";
  return "#!/usr/bin/env python3\n"
         "import json, os, signal, sys, time\n"
         "def say(text): print(text, flush=True)\n"
         "say('{\"sluice_tool\": 1}')\n"
         "for line in sys.stdin:\n"
         "  call = json.loads(line)\n"
         "  id, arguments = call['id'], call['arguments']\n" +
         indented;
}

ToolSpec command(const PluginFolder& folder, const Json& options = Json::object()) {
  Json all = {{"command", "./search.py"}, {"folder", (folder / "").string()}, {"timeout_ms", 20'000}};
  all.update(options);
  auto spec = tool("command", all);
  spec.name = "search";
  return spec;
}

TEST(CommandTool, IsAskedInItsOwnProcess) {
  const PluginFolder folder;
  folder.write_program("search.py",
                       program("say(json.dumps({'id': id, 'text': 'about ' + arguments['query']}))"));
  {
    const auto tools = box_of(command(folder, {{"description", "Looks things up."}}));
    for (const char* query : {"Paris", "Rome"}) {
      const auto answer = tools.answer(call_of("search", {{"query", query}}));
      EXPECT_EQ(answer.text, std::string("about ") + query);
      EXPECT_FALSE(answer.failed);
    }
    EXPECT_EQ(folder.num_processes(), 1);
    EXPECT_EQ(tools.descriptions()[0].at("function").at("description"), "Looks things up.");
  }
  EXPECT_TRUE(folder.comes_to(0));
}

struct Hostile {
  const char* name;
  const char* body;  // what it does when it is to look up "bad"
  const char* reason;
};
std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

constexpr Hostile kHostile[] = {
    {"Hangs", "time.sleep(1000)", "error: timeout: no reply within 500 ms"},
    {"IgnoresSigterm", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)", "timeout"},
    {"Segfaults", "os.kill(os.getpid(), signal.SIGSEGV)", "error: crash: killed by SIGSEGV"},
    {"Exits", "sys.exit('the end')", "error: crash: exit 1 (its last words: the end)"},
    {"SaysItCannot", "say(json.dumps({'id': id, 'error': 'no network'}))", "error: no network"},
    {"AnswersAnotherCall", "say('{\"id\": %d, \"text\": \"\"}' % (id + 1))",
     "bad output: reply: it is to call"},
    {"GivesANumber", "say('{\"id\": %d, \"text\": 3}' % id)", "bad output: "},
    {"GivesNothing", "say('{\"id\": %d}' % id)", "bad output: reply: \"text\" is missing"},
    {"WritesGarbage", "sys.stdout.buffer.write(b'\\xff\\x00\\n')\nsys.stdout.flush()",
     "bad output: reply: not JSON"},
    {"WritesAHundredMegabytes", "say('x' * (100 << 20))", "error: "},
    {"WritesTwoLines", "say('{\"id\": %d, \"text\": \"\"}\\n{}' % id)", "bad output: more than one line"},
    {"ClosesItsOutput", "os.close(1)\ntime.sleep(1000)", "bad output: closed its output"},
    {"LeavesASession", "if os.fork() == 0:\n  os.setsid()\n  time.sleep(1000)\nos._exit(7)", "crash: exit 7"},
};

class HostileCommandTool : public testing::TestWithParam<Hostile> {};

TEST_P(HostileCommandTool, FailsInWordsAndIsReplaced) {
  const PluginFolder folder;
  std::istringstream in(GetParam().body);
  std::string bad = "if arguments == 'bad':\n";
  for (std::string line; std::getline(in, line);) bad += "  " + line + "\n";
  folder.write_program("search.py", program(bad + "  continue\nsay(json.dumps({'id': id, 'text': 'good'}))"));
  {
    const auto tools = box_of(command(folder, {{"timeout_ms", 500}}));
    EXPECT_EQ(tools.answer(call_of("search", "x")).text, "good");
    const auto answer = tools.answer(call_of("search", "bad"));
    EXPECT_TRUE(answer.failed);
    EXPECT_THAT(answer.text, HasSubstr(GetParam().reason));
    EXPECT_EQ(tools.answer(call_of("search", "x")).text, "good");
    EXPECT_TRUE(folder.comes_to(1)) << folder.num_processes() << " processes";
  }
  EXPECT_TRUE(folder.comes_to(0)) << folder.num_processes() << " processes";
}

INSTANTIATE_TEST_SUITE_P(Tools, HostileCommandTool, testing::ValuesIn(kHostile),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(CommandTool, SeveralThreadsShareItsWorkers) {
  const PluginFolder folder;
  folder.write_program("search.py",
                       program("time.sleep(0.01)\nsay(json.dumps({'id': id, 'text': arguments}))"));
  const auto tools = box_of(command(folder, {{"workers", 2}}));
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int k = 0; k < 5; ++k) {
          const auto text = std::to_string(10 * i + k);
          right += tools.answer(call_of("search", text)).text == text ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(right, 20);
  EXPECT_LE(folder.num_processes(), 2);
}

TEST(CommandTool, IsGivenUpWhenNobodyWantsItsAnswer) {
  const PluginFolder folder;
  folder.write_program("search.py", program("time.sleep(1000)"));
  const auto tools = box_of(command(folder, {{"timeout_ms", 900'000}}));
  auto answer = std::async(std::launch::async, [&] { return tools.answer(call_of("search", "x")); });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);

  tools.interrupt();

  EXPECT_THAT(answer.get().text, HasSubstr("interrupted"));
  EXPECT_TRUE(tools.answer(call_of("search", "y")).failed);
  EXPECT_TRUE(folder.comes_to(0));
}

TEST(CommandTool, OneThatNeverWorkedIsAMistakeInTheRecipe) {
  const PluginFolder folder;
  folder.write_program("search.py", "#!/bin/sh\necho '{\"sluice_tool\": 2}'\ncat\n");
  EXPECT_THAT(refusal([&] { box_of(command(folder)); }),
              HasSubstr("not started: hello: the tool speaks protocol 2, this is 1"));
  folder.write_program("search.py", "#!/bin/sh\nsleep 1000\n");
  EXPECT_THAT(refusal([&] {
                box_of(command(folder, {{"start_timeout_ms", 200}}));
              }),
              HasSubstr("not started: timeout: no hello within 200 ms"));
  EXPECT_TRUE(folder.comes_to(0));
}

}  // namespace
}  // namespace sluice::rewards
