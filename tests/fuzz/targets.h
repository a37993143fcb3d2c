// The readers of files that come from outside, and of what a policy writes, each as a function of hostile
// bytes.
//
// A target returns for bytes that the reader takes or refuses with an Error. Anything else is a finding: a
// crash, another exception, or std::logic_error for bytes that were taken although what was made of them does
// not hold together. libfuzzer_entry.cc gives them to libFuzzer (`make fuzz`), fuzz_corpus_test.cc runs them
// over tests/fuzz/corpus/NAME and mutations of it in every `make test`.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::fuzz {

struct Target {
  std::string_view name;  // of its source NAME_target.cc, its folder corpus/NAME and dictionaries/NAME.dict
  void (*run)(std::string_view bytes);
};

// All of them.
std::span<const Target> targets();

void read_safetensors(std::string_view bytes);
void read_model_config(std::string_view bytes);
void read_tokenizer_json(std::string_view bytes);
void read_sentencepiece_model(std::string_view bytes);
void render_chat_template(std::string_view bytes);
// The first line against all behind it: the right answer and a completion, a schema and a value.
void compare_math_answers(std::string_view bytes);
void check_json_schema(std::string_view bytes);
void read_reward_reply(std::string_view bytes);

// Calls `read`, in which an Error is an answer like any other.
template <class Read>
void refuse_or(const Read& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

inline void must_hold(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

}  // namespace sluice::fuzz
