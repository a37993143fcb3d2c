// recipes/shakespeare_words.toml in short, with its reward `real_words` written again by a person, in each
// way that there is: the same rewards and the same weights as with the built-in one.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/files.h"
#include "tests/app/reply_server.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShakespeare = SLUICE_SOURCE_DIR "/data/text/tinyshakespeare.txt";

constexpr const char* kWords = R"(
import bisect, re, sys
WORD = re.compile("[A-Za-z](?:[A-Za-z]|'(?=[A-Za-z]))*")

def vocabulary(file):
    text, counts = open(file, encoding="utf-8").read(), {}
    for word in WORD.findall(text[: int(len(text) * 0.9)].lower()):
        counts[word] = counts.get(word, 0) + 1
    return sorted(word for word, n in counts.items() if n >= 2 and (len(word) > 1 or word in "aio"))

def score(words, prompt, completion, cut):
    tail = re.search(r"[A-Za-z']*\Z", prompt).group()
    text = tail + completion
    found = [(m.start(), m.end(), m.group().lower()) for m in WORD.finditer(text)]
    if found and cut:
        begin, end, word = found[-1]
        at = bisect.bisect_left(words, word)
        touches_end = end == len(text) or (end + 1 == len(text) and text[-1] == "'")
        if touches_end and at < len(words) and words[at].startswith(word):
            found.pop()
            text = text[:begin]
    letters = real = count = 0
    distinct = set()
    for begin, end, word in found:
        if end <= len(tail): continue
        n = sum(c != "'" for c in text[max(begin, len(tail)):end])
        letters, count = letters + n, count + 1
        distinct.add(word)
        at = bisect.bisect_left(words, word)
        if at < len(words) and words[at] == word: real += n
    if letters == 0: return 0.0
    written = min(1.0, letters / (0.5 * (len(text) - len(tail))))
    return real / letters * (len(distinct) / count) * written * min(1.0, count / 4)

if __name__ == "__main__": print("\n".join(vocabulary(sys.argv[1])))
)";

constexpr const char* kFunction = R"(
import words
WORDS = open("words.txt").read().split()
def reward(prompts, completions, completion_ids, **columns):
    cut = [len(ids) == 32 for ids in completion_ids]
    return [words.score(WORDS, *said) for said in zip(prompts, completions, cut)]
)";

constexpr const char* kProgram = R"(#!/usr/bin/env python3
import json, sys, words
WORDS = open("words.txt").read().split()
print(json.dumps({"sluice_reward": 1, "name": "words"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    scores = [words.score(WORDS, s["prompt"], s["completion"], s["truncated"]) for s in request["samples"]]
    print(json.dumps({"id": request["id"], "scores": scores}), flush=True)
)";

constexpr const char* kServer = R"(
import words
WORDS = open("words.txt").read().split()
def answer(path, asked):
    said = zip(asked["prompts"], asked["solution_str"], asked["truncated"])
    return {"rewards": [words.score(WORDS, *one) for one in said]}
)";

constexpr const char* kLibrary = R"(
#include <sluice_reward.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { MOST = 4096, LONGEST = 64 };
static char words[40000][LONGEST];
static size_t num_words;
static int compare(const void* a, const void* b) { return strcmp(a, b); }
static int has_prefix(const char* start) {
  for (size_t i = 0; i < num_words; ++i)
    if (strncmp(words[i], start, strlen(start)) == 0) return 1;
  return 0;
}
static double least(double a, double b) { return a < b ? a : b; }
static double score_one(const sluice_sample* sample) {
  char text[MOST], seen[MOST / 2][LONGEST];
  size_t tail = sample->prompt.size;
  while (tail > 0 && (isalpha((unsigned char)sample->prompt.bytes[tail - 1]) || sample->prompt.bytes[tail - 1] == '\'')) --tail;
  const size_t joined = sample->prompt.size - tail;
  size_t size = joined + sample->completion.size;
  memcpy(text, sample->prompt.bytes + tail, joined);
  memcpy(text + joined, sample->completion.bytes, sample->completion.size);
  text[size] = 0;
  size_t letters = 0, real = 0, count = 0, distinct = 0;
  for (size_t at = 0; at < size;) {
    if (!isalpha((unsigned char)text[at])) { ++at; continue; }
    char word[LONGEST];
    size_t end = at, n = 0;
    while (end < size && (isalpha((unsigned char)text[end]) || (text[end] == '\'' && isalpha((unsigned char)text[end + 1]))))
      word[n++] = (char)tolower((unsigned char)text[end++]);
    word[n] = 0;
    const int touches_end = end == size || (end + 1 == size && text[end] == '\'');
    if (sample->truncated && touches_end && has_prefix(word)) { size = at; break; }
    if (end > joined) {
      size_t own = 0, known = 0;
      for (size_t i = at > joined ? at : joined; i < end; ++i) own += text[i] != '\'';
      letters += own;
      if (bsearch(word, words, num_words, LONGEST, compare)) real += own;
      while (known < distinct && strcmp(seen[known], word) != 0) ++known;
      if (known == distinct) strcpy(seen[distinct++], word);
      ++count;
    }
    at = end;
  }
  if (letters == 0) return 0.0;
  const double written = least(1.0, (double)letters / (0.5 * (double)(size - joined)));
  return (double)real / (double)letters * ((double)distinct / (double)count) * written * least(1.0, (double)count / 4.0);
}
static int score(void* state, const sluice_sample* const* samples, size_t count, double* scores, char* problem,
                 size_t problem_size) {
  for (size_t i = 0; i < count; ++i) scores[i] = score_one(samples[i]);
  return 0;
}
static void* open_words(void) {
  FILE* file = fopen("words.txt", "r");
  while (fscanf(file, "%63s", words[num_words]) == 1) ++num_words;
  fclose(file);
  return words;
}
const sluice_reward* sluice_reward_v1(void) {
  static const sluice_reward reward = {.size = sizeof(sluice_reward), .name = "words", .open = open_words, .score = score};
  return &reward;
}
)";

void finish(const Workspace& workspace, std::vector<std::string> command, const std::string& output) {
  auto process = Subprocess::start(
      {.command = std::move(command), .working_directory = workspace / "", .output = workspace / output});
  const auto status = process.wait(kLongMs);
  ASSERT_TRUE(status && status->ok()) << read_file(workspace / output);
}

// The words of the training text, and what scores by them.
void write_words(const Workspace& workspace) {
  write_plain(workspace / "words.py", kWords);
  finish(workspace, {"python3", "words.py", kShakespeare}, "words.txt");
}

struct Ended {
  std::string weights;
  std::vector<Json> rewards;  // step by step
  Json evals;
};

Ended run_with(const Workspace& workspace, const std::string& reward) {
  const auto run =
      sluice(workspace,
             {"run", SLUICE_SOURCE_DIR "/recipes/shakespeare_words.toml", "--name", "tiny",
              "monitor.redis=off", "model.hidden_size=32", "model.layers=2", "model.heads=2",
              "rollout.max_new_tokens=32", "rollout.prompts_per_step=4", "evaluation.prompts=8",
              "sft.steps=30", "sft.batch.examples_per_step=8", "grpo.steps=6", "rewards=[" + reward + "]"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  Ended end{read_json(workspace.run() / "stages" / "grpo.json").at("weights_sha256"), {}, Json::array()};
  for (const auto& line : workspace.metrics()) {
    if (line.contains("reward")) end.rewards.push_back(line.at("reward"));
  }
  for (const auto& eval : read_json(workspace.run() / "summary.json").at("evals")) {
    end.evals.push_back(eval.at("value"));
  }
  return end;
}

void expect_that_of_the_built_in(const Ended& end) {
  static const Ended built_in = run_with(Workspace(), "{ use = \"real_words\" }");
  EXPECT_EQ(end.weights, built_in.weights);
  EXPECT_EQ(end.rewards, built_in.rewards);
  EXPECT_EQ(end.evals, built_in.evals);
  EXPECT_EQ(end.rewards.size(), 6u);
  EXPECT_TRUE(std::ranges::all_of(end.rewards, [](const Json& reward) { return reward > 0.0; }));
}

TEST(OwnWords, OfAPythonFunctionAreThoseOfTheBuiltIn) {
  const Workspace workspace;
  write_words(workspace);
  write_plain(workspace / "my.py", kFunction);
  expect_that_of_the_built_in(run_with(workspace, "{ python = \"my.py:reward\" }"));
}

TEST(OwnWords, OfAProgramAreThoseOfTheBuiltIn) {
  const Workspace workspace;
  write_words(workspace);
  write_plain(workspace / "judge", kProgram);
  fs::permissions(workspace / "judge", fs::perms::owner_all);
  expect_that_of_the_built_in(run_with(workspace, "{ command = \"./judge\" }"));
}

TEST(OwnWords, OfALibraryAreThoseOfTheBuiltIn) {
  const Workspace workspace;
  write_words(workspace);
  write_plain(workspace / "r.c", kLibrary);
  finish(
      workspace,
      {"cc", "-std=c11", "-O1", "-shared", "-fPIC", "-I", SLUICE_SOURCE_DIR "/include", "r.c", "-o", "r.so"},
      "cc.log");
  expect_that_of_the_built_in(run_with(workspace, "{ library = \"r.so\" }"));
}

TEST(OwnWords, OfAServerAreThoseOfTheBuiltIn) {
  const Workspace workspace;
  write_words(workspace);
  const ReplyServer server(workspace, kServer);
  expect_that_of_the_built_in(run_with(workspace, "{ http = \"" + server.url + "/score\" }"));
}

}  // namespace
}  // namespace sluice::app
