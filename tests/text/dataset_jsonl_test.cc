#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/text/temporary_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Jsonl, ReadsARowPerLineAndSkipsBlankOnes) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  const auto file = folder.write("a.jsonl", R"({"q": 12, "a": -0.5, "sure": true})");

  const DataOptions options{.path = file, .prompt_column = "q", .completion_column = "a"};
  const auto rows = read_examples(options, Split::Train);

  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].prompt, "12");
  EXPECT_EQ(rows[0].completion, "-0.5");
  EXPECT_EQ(rows[0].columns["q"], 12);  // a column stays what it is
}

TEST(Jsonl, KeepsAConversationBesideItsText) {
  const TemporaryFolder folder;
  const auto file =
      folder.write("a.jsonl", R"({"messages": [{"role": "user", "content": "hi"}], "prompt": "user: hi"})");

  const auto rows = read_prompts({.path = file}, Split::Train);

  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].messages[0]["content"], "hi");
  EXPECT_EQ(rows[0].prompt, "user: hi");
}

TEST(Jsonl, ReadsTheHeldOutFileForTheTestSplit) {
  const TemporaryFolder folder;
  const DataOptions options{.path = folder.write("a.jsonl", R"({"prompt": "a"})"),
                            .test_path = folder.write("b.jsonl", R"({"prompt": "b"})")};

  EXPECT_EQ(read_prompts(options, Split::Test)[0].prompt, "b");
}

std::string complaint(const TemporaryFolder& folder, std::string_view bytes, bool examples = false) {
  const DataOptions options{.path = folder.write("bad.jsonl", bytes)};
  return message_of<DataError>(
      [&] { examples ? read_examples(options, Split::Train) : read_prompts(options, Split::Train); });
}

TEST(Jsonl, NamesFileAndLineOfABadRow) {
  const TemporaryFolder folder;
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

TEST(Jsonl, RefusesAConversationWithoutText) {
  const TemporaryFolder folder;
  const std::string at2 = (folder.path() / "bad.jsonl").string() + ":2: ";
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  const auto refused = AllOf(StartsWith(at2), HasSubstr("no chat template in this version"));

  EXPECT_THAT(complaint(folder, good + R"({"messages": [{"role": "user", "content": "hi"}]})"), refused);
  EXPECT_THAT(complaint(folder, good + R"({"messages": [], "prompt": ""})"), refused);
  EXPECT_THAT(complaint(folder, good + R"({"messages": [1], "completion": "b"})", /*examples=*/true),
              refused);
  EXPECT_THAT(complaint(folder, good + R"({"messages": [1], "prompt": "a"})", /*examples=*/true), refused);
}

TEST(Jsonl, SuggestsTheColumnThatWasMeant) {
  const TemporaryFolder folder;

  EXPECT_THAT(complaint(folder, R"({"prompts": "a", "answer": "b"})"),
              AllOf(HasSubstr("no column \"prompt\""), HasSubstr("did you mean \"prompts\""),
                    HasSubstr("the columns prompts, answer"), HasSubstr("data.prompt_column")));
  EXPECT_THAT(complaint(folder, R"({"question": "a"})"), HasSubstr("the columns question"));
  EXPECT_THAT(complaint(folder, "{}"), HasSubstr("no columns"));
  EXPECT_THAT(complaint(folder, R"({"prompt": "a", "completions": "b"})", /*examples=*/true),
              AllOf(HasSubstr("did you mean \"completions\""), HasSubstr("data.completion_column")));
}

TEST(Jsonl, RefusesADatasetWithoutRows) {
  const TemporaryFolder folder;

  EXPECT_THAT(complaint(folder, ""), HasSubstr("no row"));
  EXPECT_THAT(complaint(folder, "\n \n"), HasSubstr("no row"));
  EXPECT_THROW(read_prompts({.path = folder.path() / "gone.jsonl"}, Split::Train), DataError);
  EXPECT_THROW(read_prompts({.path = folder.path()}, Split::Train), DataError);
  EXPECT_THROW(read_prompts({}, Split::Train), UsageError);
}

}  // namespace
}  // namespace sluice::text
