#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string answer_line(const std::string& answer) {
  return Json{{"question", "?"}, {"answer", answer}}.dump() + "\n";
}

std::vector<std::string> expressions(const std::vector<Row>& rows) {
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(row.columns["expression"].get<std::string>());
  return out;
}

DataOptions notes(const TempFolder& folder, const std::string& train, const std::string& test) {
  return {.use = "gsm8k_notes",
          .path = folder.write("train.jsonl", train),
          .test_path = folder.write("test.jsonl", test)};
}

const DataOptions& gsm8k() {
  static const DataOptions options{.use = "gsm8k_notes",
                                   .path = SLUICE_SOURCE_DIR "/data/gsm8k/train.jsonl",
                                   .test_path = SLUICE_SOURCE_DIR "/data/gsm8k/test.jsonl"};
  return options;
}

TEST(Gsm8kNotes, TurnsANoteIntoASum) {
  const TempFolder folder;
  const auto options =
      notes(folder, answer_line("Half: 48/2 = <<48/2=24>>24.") + answer_line("<<48+24=72>>72"),
            answer_line("<<1+1=2>>2"));

  const auto rows = read_examples(options, Split::Train);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "48/2=");
  EXPECT_EQ(rows[0].completion, "24");
  EXPECT_EQ(rows[0].columns, (Json{{"answer", "24"}, {"expression", "48/2"}, {"seen", false}}));
  EXPECT_EQ(rows[0].where(), options.path.string() + ":1");
  EXPECT_EQ(rows[1].prompt, "48+24=");
  EXPECT_EQ(rows[1].line, 2);
}

TEST(Gsm8kNotes, HasAShareOfTheAnswersComputed) {
  const TempFolder folder;
  auto options = notes(folder, answer_line("<<48/2=24>>24"), answer_line("<<1+1=2>>2"));
  options.calls = 1;
  EXPECT_EQ(read_examples(options, Split::Train)[0].completion,
            "<tool_call>{\"name\": \"calculator\", \"arguments\": \"48/2\"}</tool_call>\n"
            "<tool_response>\n24\n</tool_response>\nA: 24");
  auto all = gsm8k();
  all.calls = 0.25;
  int64_t calls = 0, in_the_head = 0;
  for (const auto& row : read_examples(all, Split::Train)) {
    ++(row.completion.starts_with("<tool_call>") ? calls : in_the_head);
    EXPECT_TRUE(row.completion.ends_with("A: " + row.columns["answer"].get<std::string>()));
  }
  EXPECT_NEAR(static_cast<double>(calls) / static_cast<double>(calls + in_the_head), 0.25, 0.02);
  options.calls = 1.5;
  EXPECT_THROW(read_examples(options, Split::Train), UsageError);
}

TEST(Gsm8kNotes, TakesOnlyWholeSumsOfOneOperator) {
  const TempFolder folder;
  const std::string taken = "<<7*8=56>> <<9999+0=9999>> <<5-5=0>> << 12 / 4 = 3 >>";
  const std::string left_out =
      "<<12/60=0.2>> <<2-5=-3>> <<7/2=3>> <<3/0=0>> <<1+2+3=6>> <<10000+1=10001>> <<9999+1=10000>> <<2+2=5>> "
      "<<05+1=6>> <<.5*2=1>> <<12=12>> <<(3)+1=4>> <<-1+3=2>> <<1+2>> <<>> <<4*4=16.00>> <<20%5=1>> <<3+4=7";
  const auto options = notes(folder, answer_line(left_out) + answer_line(taken), answer_line("<<1+1=2>>"));

  EXPECT_THAT(expressions(read_prompts(options, Split::Train)), ElementsAre("7*8", "9999+0", "5-5", "12/4"));
}

TEST(Gsm8kNotes, KeepsTheTestFilesExpressionsOutOfTraining) {
  const TempFolder folder;
  const auto options =
      notes(folder, answer_line("<<2+3=5>> <<6*7=42>> <<2*9=18>> <<2+3=5>> <<1+4=5>> <<1+4=5>>"),
            answer_line("<<6*7=42>> <<8-1=7>> <<6*7=42>> <<2*9=18.00>>"));

  EXPECT_THAT(expressions(read_prompts(options, Split::Train)), ElementsAre("2+3", "2+3", "1+4", "1+4"));
  EXPECT_THAT(expressions(read_prompts(options, Split::Test)), ElementsAre("6*7", "8-1"));  // each once
}

TEST(Gsm8kNotes, MarksWhatBothSidesHoldWhenItIsKept) {
  const TempFolder folder;
  auto options = notes(folder, answer_line("<<2+3=5>> <<6*7=42>>"), answer_line("<<6*7=42>> <<8-1=7>>"));
  options.keep_seen = true;

  const auto train = read_prompts(options, Split::Train);
  const auto test = read_prompts(options, Split::Test);

  EXPECT_THAT(expressions(train), ElementsAre("2+3", "6*7"));
  EXPECT_EQ(train[0].columns["seen"], false);
  EXPECT_EQ(train[1].columns["seen"], true);
  EXPECT_EQ(test[0].columns["seen"], true);
  EXPECT_EQ(test[1].columns["seen"], false);
  ASSERT_EQ(find_leaks(options).leaked.size(), 1u);
  EXPECT_EQ(find_leaks(options).leaked[0].prompt, "6*7=");
}

TEST(Gsm8kNotes, CountsOfTheRealFiles) {
  const auto train = read_prompts(gsm8k(), Split::Train);
  const auto test = read_prompts(gsm8k(), Split::Test);

  EXPECT_EQ(train.size(), 7464u);  // of 17,603 valid notes
  EXPECT_EQ(test.size(), 1812u);   // of 3,120 valid notes
  EXPECT_EQ(train[0].prompt, "84/2=");
  EXPECT_EQ(train[0].line, 4);  // what stands before it, the test file has too
  EXPECT_EQ(find_leaks(gsm8k()).leaked.size(), 0u);
}

TEST(Gsm8kNotes, LeaksOfTheRealFilesWhenTheyAreKept) {
  auto options = gsm8k();
  options.keep_seen = true;

  const auto leak = find_leaks(options);

  EXPECT_EQ(leak.train_rows, 17603);
  EXPECT_EQ(leak.test_rows, 1812);
  EXPECT_EQ(leak.leaked.size(),
            17603u - 7514u);  // 7,514: expressions that no valid note of the test file has
}

TEST(Gsm8kNotes, GeneratesNewSumsThatAreRightAndHeldOutFromTheTestFile) {
  auto options = gsm8k();
  options.generated = 2000;
  options.seed = 3;

  const auto rows = read_prompts(options, Split::Train);
  ASSERT_EQ(rows.size(), 7464u + 2000u);
  EXPECT_EQ(rows[7464].where(), "generated:1");
  EXPECT_EQ(find_leaks(options).leaked.size(), 0u);

  std::set<char> operators;
  for (size_t i = 7464; i < rows.size(); ++i) {
    int left = 0;
    int right = 0;
    char op = 0;
    ASSERT_EQ(std::sscanf(rows[i].prompt.c_str(), "%d%c%d=", &left, &op, &right), 3) << rows[i].prompt;
    const int answer = std::stoi(rows[i].completion);
    EXPECT_TRUE(answer >= 0 && answer <= 9999) << rows[i].prompt;
    const int expected = op == '+'   ? left + right
                         : op == '-' ? left - right
                         : op == '*' ? left * right
                                     : left / right;
    EXPECT_EQ(answer, expected) << rows[i].prompt;
    EXPECT_TRUE(op != '/' || left % right == 0) << rows[i].prompt;
    operators.insert(op);
  }
  EXPECT_EQ(operators, (std::set<char>{'+', '-', '*', '/'}));
}

TEST(Gsm8kNotes, GeneratesTheSameSumsForTheSameSeedAndKeepsAPrefix) {
  auto options = gsm8k();
  options.generated = 50;
  options.seed = 3;
  const auto first = expressions(read_prompts(options, Split::Train));

  EXPECT_EQ(expressions(read_prompts(options, Split::Train)), first);
  options.generated = 20;
  const auto fewer = expressions(read_prompts(options, Split::Train));
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), first.begin()));
  options.generated = 50;
  options.seed = 4;
  EXPECT_NE(expressions(read_prompts(options, Split::Train)), first);
}

TEST(Gsm8kNotes, StopsWhenNoNewSumCanBeMade) {
  const TempFolder folder;
  auto options = notes(folder, answer_line("<<2+3=5>>"), answer_line("<<2+3=5>>"));
  options.generated = 5;

  EXPECT_THAT(message_of<DataError>([&] { read_prompts(options, Split::Train); }),
              HasSubstr("data.generated asks for 5"));
}

TEST(Gsm8kNotes, SaysWhatIsWrong) {
  const TempFolder folder;
  const auto no_answer =
      notes(folder, "{\"question\": \"?\", \"answers\": \"4\"}\n", answer_line("<<1+1=2>>"));
  EXPECT_THAT(message_of<DataError>([&] { read_prompts(no_answer, Split::Train); }),
              AllOf(StartsWith(no_answer.path.string() + ":1: no column \"answer\""),
                    HasSubstr("did you mean \"answers\"?")));

  const auto no_notes = notes(folder, answer_line("four"), answer_line("<<1+1=2>>"));
  EXPECT_THAT(message_of<DataError>([&] { read_prompts(no_notes, Split::Train); }), HasSubstr("no row"));

  auto no_test = no_notes;
  no_test.test_path.clear();
  EXPECT_THAT(message_of<UsageError>([&] { read_prompts(no_test, Split::Train); }),
              HasSubstr("data.test_path"));

  auto negative = no_notes;
  negative.generated = -1;
  EXPECT_THROW(read_prompts(negative, Split::Train), UsageError);
}

}  // namespace
}  // namespace sluice::text
