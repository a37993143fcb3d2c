#include "app/bench_tokenizer.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace sluice::app {
namespace {

struct Arguments {
  std::string tokenizer = "data/tokenizers/minimind";
  std::string text = "data/text/tinyshakespeare.txt";
  int64_t rounds = 5;
};

// Megabytes of text a second in the best of the rounds.
double best_rate(const std::string& text, int64_t rounds, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::max();
  for (int64_t round = 0; round < rounds; ++round) {
    const auto began = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return static_cast<double>(text.size()) / best / 1e6;
}

int bench_tokenizer(const Arguments& arguments) {
  const auto tokenizer = text::load_tokenizer(arguments.tokenizer);
  const std::string text = read_file(arguments.text);
  const auto ids = tokenizer->encode(text);
  require<DataError>(!ids.empty(), arguments.text, ": nothing to encode in it");
  const double encode = best_rate(text, arguments.rounds, [&] { tokenizer->encode(text); });
  const double decode = best_rate(text, arguments.rounds, [&] { tokenizer->decode(ids); });
  const Json row = {
      {"row", "tokenizer"},     {"peer", "sluice"},           {"tokenizer", arguments.tokenizer},
      {"text", arguments.text}, {"bytes", text.size()},       {"tokens", ids.size()},
      {"threads", 1},           {"rounds", arguments.rounds}, {"encode_mb_s", encode},
      {"decode_mb_s", decode}};
  std::cout << row.dump() << '\n';
  return 0;
}

}  // namespace

Command add_bench_tokenizer(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("--tokenizer", arguments->tokenizer, "Model directory, tokenizer.json or SentencePiece file")
      ->capture_default_str();
  app.add_option("--text", arguments->text, "What is encoded and decoded")->capture_default_str();
  app.add_option("--rounds", arguments->rounds, "The best of so many counts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  return [arguments] { return bench_tokenizer(*arguments); };
}

}  // namespace sluice::app
