// The short form of `make fuzz`: the corpus, and a few thousand mutations of it that are the same every time.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>

#include "base/files.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {
namespace {

constexpr int kMutations = 3000;
constexpr auto kMaxTime = std::chrono::seconds(1);

std::vector<std::string> read_corpus(const Target& target) {
  std::vector<std::filesystem::path> files;
  const auto folder = std::filesystem::path(SLUICE_SOURCE_DIR) / "tests/fuzz/corpus" / target.name;
  for (const auto& file : std::filesystem::directory_iterator(folder)) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const auto& file : files) seeds.push_back(read_file(file));
  return seeds;
}

// Changes a seed in a few places: bytes, numbers at the edges, parts cut, repeated, moved or taken from
// another seed.
class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& seeds) : seeds_(seeds) {}

  std::string next() {
    std::string bytes = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(bytes);
    return bytes;
  }

 private:
  size_t below(size_t count) { return count == 0 ? 0 : random_() % count; }

  std::string part_of(const std::string& bytes) {
    const size_t begin = below(bytes.size());
    return bytes.substr(begin, below(64));
  }

  void change(std::string& bytes) {
    static const std::vector<std::string> kEdges = {
        "0",  "-1",   "1e308",  "9223372036854775807",  "18446744073709551615", "null",     "{}",
        "[]", "\"\"", "\"",     std::string(8, '\xff'), std::string(4, '\0'),   "\xc0\xaf", "{%",
        "}}", "(",    "\\u0000"};
    const size_t at = below(bytes.size() + 1);
    switch (below(7)) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
        break;
      case 2:
        bytes.erase(at, below(16));
        break;
      case 3:
        bytes.insert(at, part_of(bytes));
        break;
      case 4:
        bytes.insert(at, part_of(seeds_[below(seeds_.size())]));
        break;
      case 5:
        bytes.replace(at, below(6), kEdges[below(kEdges.size())]);
        break;
      default:
        bytes.resize(at);
    }
  }

  const std::vector<std::string>& seeds_;
  std::mt19937 random_{20240607};
};

class FuzzCorpus : public testing::TestWithParam<Target> {
 protected:
  void run(const std::string& bytes) {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_NO_THROW(GetParam().run(bytes)) << testing::PrintToString(bytes);
    ASSERT_LT(std::chrono::steady_clock::now() - begin, kMaxTime) << testing::PrintToString(bytes);
  }
};

TEST_P(FuzzCorpus, SeedsAndTheirMutationsAreTakenOrRefused) {
  const auto seeds = read_corpus(GetParam());
  ASSERT_FALSE(seeds.empty());
  for (const auto& seed : seeds) run(seed);
  Mutator mutator(seeds);
  for (int i = 0; i < kMutations && !HasFatalFailure(); ++i) run(mutator.next());
}

INSTANTIATE_TEST_SUITE_P(Readers, FuzzCorpus, testing::ValuesIn(targets().begin(), targets().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sluice::fuzz
