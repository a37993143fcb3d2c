#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/philox.h"
#include "base/resident_memory.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Jsonl, ReadsARowPerLineAndSkipsBlankOnes) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl",
                                 "{\"prompt\": \"1+1=\", \"completion\": \"2\", \"level\": [3]}\r\n"
                                 "\n   \r\n"
                                 "{\"prompt\": \"2+2=\"}");  // the last line has no end

  const auto rows = read_prompts({.path = file}, Split::Train);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "1+1=");
  EXPECT_EQ(rows[0].completion, "2");
  EXPECT_EQ(rows[0].columns["level"][0], 3);
  EXPECT_TRUE(rows[0].messages.is_null());
  EXPECT_EQ(rows[1].prompt, "2+2=");
  EXPECT_EQ(rows[1].completion, "");
  EXPECT_EQ(rows[1].where(), file.string() + ":4");
}

TEST(Jsonl, TakesTheColumnsItIsToldAndWritesNumbersAsText) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", R"({"q": 12, "a": -0.5, "sure": true})");

  const DataOptions options{.path = file, .prompt_column = "q", .completion_column = "a"};
  const auto rows = read_examples(options, Split::Train);

  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].prompt, "12");
  EXPECT_EQ(rows[0].completion, "-0.5");
  EXPECT_EQ(rows[0].columns["q"], 12);  // a column stays what it is
}

TEST(Jsonl, KeepsAConversationBesideItsText) {
  const TempFolder folder;
  const auto file =
      folder.write("a.jsonl", R"({"messages": [{"role": "user", "content": "hi"}], "prompt": "user: hi"})");

  const auto rows = read_prompts({.path = file}, Split::Train);

  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].messages[0]["content"], "hi");
  EXPECT_EQ(rows[0].prompt, "user: hi");
}

TEST(Jsonl, ReadsTheHeldOutFileForTheTestSplit) {
  const TempFolder folder;
  const DataOptions options{.path = folder.write("a.jsonl", R"({"prompt": "a"})"),
                            .test_path = folder.write("b.jsonl", R"({"prompt": "b"})")};

  EXPECT_EQ(read_prompts(options, Split::Test)[0].prompt, "b");
}

std::string complaint(const TempFolder& folder, std::string_view bytes, bool examples = false) {
  const DataOptions options{.path = folder.write("bad.jsonl", bytes)};
  return message_of<DataError>(
      [&] { examples ? read_examples(options, Split::Train) : read_prompts(options, Split::Train); });
}

TEST(Jsonl, NamesFileAndLineOfABadRow) {
  const TempFolder folder;
  const std::string good = "{\"prompt\": \"a\"}\n";
  const std::string at2 = (folder.path() / "bad.jsonl").string() + ":2: ";

  EXPECT_THAT(complaint(folder, good + "{\"prompt\": \"b\"\n"), StartsWith(at2));
  EXPECT_THAT(complaint(folder, good + "[1, 2]\n"), AllOf(StartsWith(at2), HasSubstr("saw array")));
  EXPECT_THAT(complaint(folder, good + "{\"prompt\": \"b\"} {\"prompt\": \"c\"}\n"), StartsWith(at2));
  EXPECT_THAT(complaint(folder, good + "{\"prompt\": \"b\", \"prompt\": \"c\"}\n"), StartsWith(at2));
  EXPECT_THAT(complaint(folder, good + "{\"prompt\": \"\xff\"}\n"), StartsWith(at2));
  EXPECT_THAT(complaint(folder, good + std::string(100'000, '[')), StartsWith(at2));
  EXPECT_THAT(complaint(folder, good + "{\"prompt\": null}"), AllOf(StartsWith(at2), HasSubstr("saw null")));
  EXPECT_THAT(complaint(folder, good + "{\"prompt\": \"\"}"), AllOf(StartsWith(at2), HasSubstr("empty")));
}

TEST(Jsonl, AsksConversations) {
  const TempFolder folder;
  const auto file = folder.write(
      "a.jsonl",
      R"({"prompt": [{"role": "user", "content": "hi"}], "completion": "ho", "messages": [1]})"
      "\n"
      R"({"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "you"}]})");

  const auto rows = read_prompts({.path = file}, Split::Train);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "");
  EXPECT_EQ(rows[0].completion, "ho");
  EXPECT_EQ(rows[0].messages, Json::parse(R"([{"role": "user", "content": "hi"}])"));
  EXPECT_EQ(rows[0].asked(), R"([{"role":"user","content":"hi"}])");
  EXPECT_EQ(rows[1].messages.size(), 2u);
}

TEST(Jsonl, AsksNoConversationThatHasItsAnswerOrNoMessage) {
  const TempFolder folder;
  const std::string at2 = (folder.path() / "bad.jsonl").string() + ":2: ";
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";

  EXPECT_THAT(complaint(folder, good + R"({"messages": [{"role": "assistant", "content": "hi"}]})"),
              AllOf(StartsWith(at2), HasSubstr("ends with what the assistant says")));
  EXPECT_THAT(complaint(folder, good + R"({"messages": [], "prompt": ""})"),
              AllOf(StartsWith(at2), HasSubstr("saw an empty one")));
  EXPECT_THAT(complaint(folder, good + R"({"prompt": [{"content": "hi"}]})"),
              AllOf(StartsWith(at2), HasSubstr("prompt[0]")));
}

TEST(Jsonl, ReadsExamplesOfThreeKinds) {
  const TempFolder folder;
  const auto file = folder.write(
      "a.jsonl",
      R"({"text": "once upon"})"
      "\n"
      R"({"prompt": "1+1=", "completion": "2", "text": "not this"})"
      "\n"
      R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]})"
      "\n"
      R"({"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "ho"}]})"
      "\n");

  const auto rows = read_examples({.path = file}, Split::Train);

  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].prompt, "");
  EXPECT_EQ(rows[0].completion, "once upon");
  EXPECT_EQ(rows[1].prompt + rows[1].completion, "1+1=2");
  EXPECT_TRUE(rows[1].messages.is_null());
  EXPECT_EQ(rows[2].completion, "");
  EXPECT_EQ(rows[2].messages.size(), 2u);
  EXPECT_EQ(rows[2].num_prompt_messages, 0);
  EXPECT_EQ(rows[3].messages, rows[2].messages);
  EXPECT_EQ(rows[3].num_prompt_messages, 1);
  EXPECT_EQ(rows[1].text(), "1+1=2");
  EXPECT_EQ(rows[3].text(), "hi\nho\n");
}

TEST(Jsonl, RefusesAConversationThatTeachesNothing) {
  const TempFolder folder;
  const std::string at2 = (folder.path() / "bad.jsonl").string() + ":2: ";
  const auto refused = [&](const std::string& line, const std::string& why) {
    EXPECT_THAT(complaint(folder, "{\"text\": \"a\"}\n" + line, /*examples=*/true),
                AllOf(StartsWith(at2), HasSubstr(why)));
  };
  refused(R"({"messages": []})", "should be a list of messages, saw an empty one");
  refused(R"({"messages": [1]})", "messages[0]");
  refused(R"({"messages": [{"role": 3}]})", "\"role\"");
  refused(R"({"messages": [{"role": "user", "content": "hi"}]})", "no message of the role \"assistant\"");
  refused(R"({"prompt": [{"role": "assistant"}], "completion": [{"role": "user"}]})",
          "\"completion\" has no message of the role \"assistant\"");
  refused(R"({"prompt": "a", "completion": [{"role": "assistant"}]})", "\"prompt\" should be a list");
  refused(R"({"prompt": [{"role": "user"}]})", "no column \"completion\"");
  refused(R"({"prompt": "a", "text": "b"})", "no column \"completion\"");
  refused(R"({"text": ""})", "empty");
}

TEST(Jsonl, GivesAnyRowByItsNumber) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", "\n{\"text\": \"a\"}\n \n\n{\"text\": \"b\"}\n{\"text\": 1");
  const auto rows = open_examples({.path = file}, Split::Train);

  ASSERT_EQ(rows->size(), 3);
  EXPECT_EQ(rows->at(1).completion, "b");
  EXPECT_EQ(rows->at(1).line, 5);
  EXPECT_EQ(rows->at(0).completion, "a");
  EXPECT_EQ(rows->at(0).line, 2);
  EXPECT_THAT(message_of<DataError>([&] { rows->at(2); }), StartsWith(file.string() + ":6: not JSON"));
  EXPECT_EQ(rows->at(1).completion, "b");  // a bad row spoils no other
}

TEST(Jsonl, FindsLinesThatLieAcrossTheBlocksItIsReadIn) {
  const TempFolder folder;
  const std::string long_text(3 << 20, 'x');
  const auto file = folder.write(
      "a.jsonl", "{\"text\": \"" + long_text + "\"}\n{\"text\": \"b\"}\n" + std::string(2 << 20, ' '));
  const auto rows = open_examples({.path = file}, Split::Train);

  ASSERT_EQ(rows->size(), 2);
  EXPECT_EQ(rows->at(1).completion, "b");
  EXPECT_EQ(rows->at(0).completion, long_text);
}

TEST(Jsonl, SaysThatAFileHasBecomeShorter) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  const auto rows = open_examples({.path = file}, Split::Train);
  std::filesystem::resize_file(file, 10);

  EXPECT_THAT(message_of<DataError>([&] { rows->at(1); }), HasSubstr(":2: the file ends before this line"));
}

// In a process of its own, whose peak is not that of the tests before.
int added_megabytes(const std::filesystem::path& file, int64_t lines) {
  const int64_t before = peak_resident_bytes();
  const auto rows = open_examples({.path = file}, Split::Train);
  int64_t sum = 0;
  for_each_row(*rows, [&](const Row& row) { sum += std::stoll(row.completion); });
  auto order = shuffled_indices(rows->size(), /*seed=*/1, /*epoch=*/0);
  order.resize(20'000);
  for (const int64_t i : order) sum += std::stoll(rows->at(i).completion) - i;
  if (rows->size() != lines || sum != lines * (lines - 1) / 2) return 255;
  return static_cast<int>((peak_resident_bytes() - before) >> 20);
}

TEST(Jsonl, ReadsALongFileInLessMemoryThanItIsLong) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer keeps what is freed";
#endif
  const TempFolder folder;
  constexpr int64_t kLines = 200'000;
  const auto file = folder.path() / "long.jsonl";
  {
    std::ofstream out(file);
    const std::string prompt(60, 'p');
    for (int64_t i = 0; i < kLines; ++i) {
      out << "{\"prompt\": \"" << prompt << "\", \"completion\": " << i << "}\n";
    }
  }
  const pid_t child = fork();
  if (child == 0) _exit(added_megabytes(file, kLines));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_LE(WEXITSTATUS(status), 10);  // MB: 1.6 of offsets, as much of the order, what a row takes
  EXPECT_GE(std::filesystem::file_size(file), 18u << 20);
}

TEST(Jsonl, SuggestsTheColumnThatWasMeant) {
  const TempFolder folder;

  EXPECT_THAT(complaint(folder, R"({"prompts": "a", "answer": "b"})"),
              AllOf(HasSubstr("no column \"prompt\""), HasSubstr("did you mean \"prompts\""),
                    HasSubstr("the columns prompts, answer"), HasSubstr("data.prompt_column")));
  EXPECT_THAT(complaint(folder, R"({"question": "a"})"), HasSubstr("the columns question"));
  EXPECT_THAT(complaint(folder, "{}"), HasSubstr("no columns"));
  EXPECT_THAT(complaint(folder, R"({"prompt": "a", "completions": "b"})", /*examples=*/true),
              AllOf(HasSubstr("did you mean \"completions\""), HasSubstr("data.completion_column")));
}

TEST(Jsonl, RefusesADatasetWithoutRows) {
  const TempFolder folder;

  EXPECT_THAT(complaint(folder, ""), HasSubstr("no row"));
  EXPECT_THAT(complaint(folder, "\n \n"), HasSubstr("no row"));
  EXPECT_THROW(read_prompts({.path = folder.path() / "gone.jsonl"}, Split::Train), DataError);
  EXPECT_THROW(read_prompts({.path = folder.path()}, Split::Train), DataError);
  EXPECT_THROW(read_prompts({}, Split::Train), UsageError);
}

}  // namespace
}  // namespace sluice::text
