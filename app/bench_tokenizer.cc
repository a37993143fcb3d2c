#include "app/bench_tokenizer.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>

#include "app/input_lines.h"
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

// A file as it is, or the texts of JSON lines.
std::vector<std::string> read_documents(const std::filesystem::path& file) {
  if (file.extension() == ".jsonl") return read_texts(file);
  return {read_file(file)};
}

// Megabytes a second in the best of the rounds.
double best_rate(size_t bytes, int64_t rounds, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::max();
  for (int64_t round = 0; round < rounds; ++round) {
    const auto began = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return static_cast<double>(bytes) / best / 1e6;
}

int bench_tokenizer(const Arguments& arguments) {
  const auto tokenizer = text::load_tokenizer(arguments.tokenizer);
  const auto documents = read_documents(arguments.text);
  size_t bytes = 0, tokens = 0;
  std::vector<std::vector<text::TokenId>> ids;
  for (const auto& document : documents) {
    bytes += document.size();
    tokens += ids.emplace_back(tokenizer->encode(document)).size();
  }
  require<DataError>(tokens > 0, arguments.text, ": nothing to encode in it");
  const double encode = best_rate(bytes, arguments.rounds, [&] {
    for (const auto& document : documents) tokenizer->encode(document);
  });
  const double decode = best_rate(bytes, arguments.rounds, [&] {
    for (const auto& document : ids) tokenizer->decode(document);
  });
  const Json row = {{"row", "tokenizer"},
                    {"peer", "sluice"},
                    {"tokenizer", arguments.tokenizer},
                    {"text", arguments.text},
                    {"documents", documents.size()},
                    {"bytes", bytes},
                    {"tokens", tokens},
                    {"threads", 1},
                    {"rounds", arguments.rounds},
                    {"encode_mb_s", encode},
                    {"decode_mb_s", decode}};
  std::cout << row.dump() << '\n';
  return 0;
}

}  // namespace

Command add_bench_tokenizer(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("--tokenizer", arguments->tokenizer, "Model directory, tokenizer.json or SentencePiece file")
      ->capture_default_str();
  app.add_option("--text", arguments->text, "A text, or JSON lines with a column `text`, encoded one by one")
      ->capture_default_str();
  app.add_option("--rounds", arguments->rounds, "The best of so many counts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  return [arguments] { return bench_tokenizer(*arguments); };
}

}  // namespace sluice::app
