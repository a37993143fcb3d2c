#include "app/reward_examples.h"

namespace sluice::app {

extern const char* const kRewardHeader;  // include/sluice_reward.h, from the build

namespace {

// All of them say the same: 1 when the completion's last number is the row's answer.
constexpr const char* kAnswers = R"({"prompt": "5 + 13 = ", "completion": "It is 18", "answer": "18"}
{"prompt": "5 + 13 = ", "completion": "18 or 19", "answer": "18"}
{"prompt": "5 + 13 = ", "completion": "18"}
)";

constexpr const char* kPython =
    R"text("""A reward for Sluice: 1 when the completion's last number is the row's answer.

    python3 test_reward.py
    sluice reward test reward.py:reward --file answers.jsonl
    rewards = [{ python = "reward.py:reward" }]                 in a recipe

The signature is TRL's: lists of one length come in, and a list of numbers goes back. Each column of the dataset's rows is
such a list, by its name. None leaves a completion unscored, which is not zero: the row says nothing about it.

What a completion holds is the policy's: never run or eval it. What is printed goes to the log of the run.
"""

import re


def reward(completions, prompts, answer=None, **columns):
    answers = answer or [None] * len(completions)
    return [score(text_of(completion), right) for completion, right in zip(completions, answers)]


def text_of(completion):
    """Of a prompt that is a list of messages, the completion is one too."""
    return completion if isinstance(completion, str) else completion[-1]["content"]


def score(text, right):
    if right is None:
        return None
    numbers = re.findall(r"-?[0-9]+", text)
    return 1.0 if numbers and numbers[-1] == str(right) else 0.0
)text";

constexpr const char* kPythonTest = R"text(from reward import reward

completions = ["It is 18", "18 or 19", "no number", "18", [{"role": "assistant", "content": "So: 18"}]]
answers = ["18", 18, "18", None, "18"]
assert reward(completions, prompts=["5 + 13 = "] * 5, answer=answers) == [1.0, 0.0, 0.0, None, 1.0]
assert reward(completions[:1], prompts=["5 + 13 = "]) == [None]
print("reward.py: ok")
)text";

constexpr const char* kCommand = R"text(#!/usr/bin/env python3
"""A reward for Sluice in any language: a program that answers each line of JSON with one.

    python3 test_judge.py
    sluice reward test ./judge --file answers.jsonl
    rewards = [{ command = "./judge" }]                         in a recipe

It says what it speaks, once. Then a request has an id and samples, each with prompt, completion, tokens, truncated and
the row's columns; the answer has the same id, a score for each sample, or null and a reason where it has none.

What a completion holds is the policy's: never run or eval it. Whatever else is printed has to go to stderr.
"""

import json
import re
import sys


def score(sample):
    right = sample["columns"].get("answer")
    if right is None:
        return None, "the row has no answer"
    numbers = re.findall(r"-?[0-9]+", sample["completion"])
    return (1.0 if numbers and numbers[-1] == str(right) else 0.0), None


def main():
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    print(json.dumps({"sluice_reward": 1, "name": "judge"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        outcomes = [score(sample) for sample in request["samples"]]
        scores, reasons = [outcome[0] for outcome in outcomes], [outcome[1] for outcome in outcomes]
        print(json.dumps({"id": request["id"], "scores": scores, "reasons": reasons}), flush=True)


main()
)text";

constexpr const char* kCommandTest = R"text(import json
import os
import subprocess

judge = os.path.join(os.path.dirname(os.path.abspath(__file__)), "judge")
rows = [("It is 18", "18"), ("18 or 19", 18), ("18", None)]
samples = [{"prompt": "5 + 13 = ", "completion": text, "columns": {"answer": right}} for text, right in rows]
request = json.dumps({"id": 7, "group": 1, "samples": samples})
said = subprocess.run([judge], input=request + "\n", capture_output=True, text=True, check=True).stdout
hello, reply = [json.loads(line) for line in said.splitlines()]
assert hello["sluice_reward"] == 1
assert reply["id"] == 7 and reply["scores"] == [1.0, 0.0, None]
assert reply["reasons"][2] == "the row has no answer"
print("judge: ok")
)text";

constexpr const char* kLibrary =
    R"text(/* A reward for Sluice in C: 1 when the completion's last number is the row's answer.
 *
 *     make test
 *     make && sluice reward test ./reward.so --file answers.jsonl
 *     rewards = [{ library = "./reward.so" }]                  in a recipe
 *
 * sluice_reward.h says what a sample holds. A score that is left as it is stays unscored, which is not zero. Texts do
 * not end with a zero, and what a completion holds is the policy's: read no byte beyond its size.
 */
#include <sluice_reward.h>

#include <string.h>

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static sluice_text last_number(sluice_text text) {
  size_t end = text.size, begin;
  while (end > 0 && !is_digit(text.bytes[end - 1])) --end;
  begin = end;
  while (begin > 0 && is_digit(text.bytes[begin - 1])) --begin;
  if (begin < end && begin > 0 && text.bytes[begin - 1] == '-') --begin;
  sluice_text number = {text.bytes + begin, end - begin};
  return number;
}

static int same(sluice_text a, sluice_text b) { return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0; }

static int score(void* state, const sluice_sample* const* samples, size_t count, double* scores, char* problem,
                 size_t problem_size) {
  const sluice_text answer = {"answer", 6}, null = {"null", 4};
  (void)state, (void)problem, (void)problem_size;
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < samples[i]->num_columns; ++k) {
      const sluice_text right = samples[i]->column_values[k];
      if (!same(samples[i]->column_names[k], answer) || right.size == 0 || same(right, null)) continue;
      scores[i] = same(last_number(samples[i]->completion), right) ? 1.0 : 0.0;
    }
  }
  return 0;
}

const sluice_reward* sluice_reward_v1(void) {
  static const sluice_reward reward = {.size = sizeof(sluice_reward), .name = "last_number", .score = score};
  return &reward;
}
)text";

constexpr const char* kLibraryTest = R"text(#include <sluice_reward.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static double score_of(const char* completion, const char* answer) {
  const sluice_text name = {"answer", 6}, value = {answer, strlen(answer)};
  const sluice_sample sample = {.size = sizeof(sluice_sample), .completion = {completion, strlen(completion)},
                                .num_columns = 1, .column_names = &name, .column_values = &value};
  const sluice_sample* samples[] = {&sample};
  double score = NAN;
  char problem[100];
  sluice_reward_v1()->score(NULL, samples, 1, &score, problem, sizeof(problem));
  return score;
}

int main(void) {
  const int right = score_of("It is 18", "18") == 1.0 && score_of("It is -18.", "-18") == 1.0;
  const int wrong = score_of("18 or 19", "18") == 0.0 && score_of("", "18") == 0.0;
  const int unscored = isnan(score_of("18", "null"));
  if (!right || !wrong || !unscored) return puts("reward.c: wrong"), 1;
  return puts("reward.c: ok"), 0;
}
)text";

constexpr const char* kMakefile = R"text(CFLAGS = -O2 -Wall -Wextra -I .

reward.so: reward.c sluice_reward.h
	$(CC) $(CFLAGS) -shared -fPIC reward.c -o reward.so

test_reward: reward.c test_reward.c sluice_reward.h
	$(CC) $(CFLAGS) reward.c test_reward.c -o test_reward

.PHONY: test
test: test_reward
	./test_reward
)text";

constexpr const char* kHttp =
    R"text("""A reward for Sluice behind HTTP, as OpenRLHF's remote reward models are.

    python3 test_server.py
    python3 server.py 9000                                      and in another terminal
    sluice reward test http://127.0.0.1:9000/score --file answers.jsonl
    rewards = [{ http = "http://127.0.0.1:9000/score" }]        in a recipe

A POST has lists of one length, an entry for each completion: query (prompt and completion), prompts, labels (the row's
answer), and in verl's words solution_str, ground_truth, data_source, extra_info (the row's columns). The answer has a number
for each under rewards, or null where there is none.

What a completion holds is the policy's: never run or eval it.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def score(text, right):
    if right is None:
        return None
    numbers = re.findall(r"-?[0-9]+", text)
    return 1.0 if numbers and numbers[-1] == str(right) else 0.0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rewards = [score(text, right) for text, right in zip(asked["solution_str"], asked["labels"])]
        reply = json.dumps({"rewards": rewards}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def make_server(port):
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    make_server(int(sys.argv[1])).serve_forever()
)text";

constexpr const char* kHttpTest = R"text(import json
import threading
import urllib.request

from server import make_server

server = make_server(0)
threading.Thread(target=server.serve_forever, daemon=True).start()
asked = {"solution_str": ["It is 18", "18 or 19", "18"], "labels": ["18", 18, None]}
url = f"http://127.0.0.1:{server.server_address[1]}/score"
with urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode())) as reply:
    assert json.load(reply) == {"rewards": [1.0, 0.0, None]}
print("server.py: ok")
)text";

}  // namespace

const std::vector<RewardExample>& reward_examples() {
  static const std::vector<RewardExample> examples = {
      {.kind = "python",
       .what = "A function of a Python file",
       .files = {{"reward.py", kPython}, {"test_reward.py", kPythonTest}, {"answers.jsonl", kAnswers}},
       .next = {"python3 test_reward.py", "sluice reward test reward.py:reward --file answers.jsonl"}},
      {.kind = "command",
       .what = "A program that speaks JSON lines",
       .files = {{"judge", kCommand, true}, {"test_judge.py", kCommandTest}, {"answers.jsonl", kAnswers}},
       .next = {"python3 test_judge.py", "sluice reward test ./judge --file answers.jsonl"}},
      {.kind = "library",
       .what = "A shared library in C",
       .files = {{"reward.c", kLibrary},
                 {"sluice_reward.h", kRewardHeader},
                 {"test_reward.c", kLibraryTest},
                 {"Makefile", kMakefile},
                 {"answers.jsonl", kAnswers}},
       .next = {"make test", "make && sluice reward test ./reward.so --file answers.jsonl"}},
      {.kind = "http",
       .what = "A server",
       .files = {{"server.py", kHttp}, {"test_server.py", kHttpTest}, {"answers.jsonl", kAnswers}},
       .next =
           {"python3 test_server.py",
            "python3 server.py 9000 & sluice reward test http://127.0.0.1:9000/score --file answers.jsonl"}},
  };
  return examples;
}

}  // namespace sluice::app
