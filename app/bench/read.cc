#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "app/bench/load.h"
#include "app/bench/rows.h"
#include "base/error.h"
#include "base/philox.h"
#include "base/resident_memory.h"
#include "base/temporary_folder.h"
#include "model/pack_bins.h"
#include "sft/example_stream.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kExamplesPerStep = 64, kPackTokens = 4096;
constexpr const char* kLetters = "abcdefghijklmnopqrstuvwxyz ";
constexpr int64_t kDifferentLines = 4096;  // of a file, which has each of them many times

std::string random_text(uint64_t line, int64_t length) {
  std::string text;
  for (int64_t i = 0; i < length; ++i) {
    const auto place = static_cast<uint64_t>(i);
    text += kLetters[random_bits(1, RandomUse::Data, line, place) % 27];
  }
  return text;
}

// Examples of 40 to 800 letters.
std::string random_line(uint64_t line) {
  const auto length = static_cast<int64_t>(40 + random_bits(2, RandomUse::Data, line, 0) % 760);
  const auto text = random_text(line, length);
  const auto half = text.size() / 2;
  return Json{{"prompt", text.substr(0, half)}, {"completion", text.substr(half)}}.dump() + '\n';
}

void write_examples(const fs::path& file, int64_t bytes) {
  std::vector<std::string> lines;
  for (uint64_t i = 0; i < kDifferentLines; ++i) lines.push_back(random_line(i));
  std::ofstream out(file, std::ios::binary);
  int64_t written = 0;
  for (size_t i = 0; written < bytes; ++i) {
    const auto& line = lines[i % lines.size()];
    out << line;
    written += std::ssize(line);
  }
  out.close();
  require<EnvironmentError>(out.good(), "bench read: cannot write ", bytes, " bytes to ", file.string());
}

struct Taken {
  int64_t tokens = 0;
  int64_t packs = 0;
};

Taken take_steps(sft::ExampleStream& stream, int64_t first, int64_t steps) {
  Taken taken;
  for (int64_t step = first; step < first + steps; ++step) {
    std::vector<int64_t> lengths;
    for (const auto& example : stream.take(step * kExamplesPerStep, kExamplesPerStep)) {
      lengths.push_back(std::ssize(example.tokens));
      taken.tokens += lengths.back();
    }
    taken.packs += std::ssize(model::pack_best_fit(lengths, kPackTokens));
  }
  return taken;
}

struct FileSize {
  int64_t megabytes = 0;
  double open_s = 0;
  double ns_per_token = 0;
  int64_t rss_growth_bytes = 0;
  Taken taken;
};

// The median of the repetitions, each of which goes on behind the last one in a shuffle of the whole file.
FileSize measure(int64_t megabytes, const Bench& bench) {
  const TemporaryFolder folder("bench-read");
  const auto file = folder.path() / "examples.jsonl";
  write_examples(file, megabytes * 1'000'000);
  const auto tokenizer = text::train_character_tokenizer(kLetters);

  FileSize size{.megabytes = megabytes};
  const int64_t before = resident_bytes();
  std::vector<text::WeightedRows> datasets;
  size.open_s = seconds_of([&] { datasets = text::open_mixture({.path = file}); });
  sft::ExampleStream stream(std::move(datasets), *tokenizer, /*chat=*/nullptr, {}, /*seed=*/1);
  take_steps(stream, 0, 1);
  std::vector<double> ns;
  for (int64_t rep = 0; rep < bench.options.reps; ++rep) {
    const double seconds = seconds_of(
        [&] { size.taken = take_steps(stream, 1 + rep * bench.options.steps, bench.options.steps); });
    ns.push_back(1e9 * seconds / static_cast<double>(size.taken.tokens));
  }
  size.ns_per_token = summarise(ns).median;
  size.rss_growth_bytes = resident_bytes() - before;
  return size;
}

}  // namespace

void bench_read(const Bench& bench) {
  for (const int64_t megabytes : bench.options.megabytes) {
    const LoadWatch watch;
    const auto size = measure(megabytes, bench);
    const Json line = {{"row", "read"},
                       {"megabytes", megabytes},
                       {"ns_per_token", size.ns_per_token},
                       {"open_s", size.open_s},
                       {"rss_growth_bytes", size.rss_growth_bytes},
                       {"tokens", size.taken.tokens},
                       {"packs", size.taken.packs},
                       {"others", watch.others()}};
    std::ostringstream text;
    text << "read         " << megabytes
         << " MB of examples, shuffled, tokenised, packed: " << size.ns_per_token << " ns a token; opened in "
         << size.open_s << " s; memory grew by " << size.rss_growth_bytes / 1'000'000 << " MB";
    bench.report.add(line, text.str());
  }
}

}  // namespace sluice::app
