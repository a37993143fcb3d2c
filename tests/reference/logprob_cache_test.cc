#include "reference/logprob_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::reference {
namespace {

using Numbers = std::vector<double>;

const LogprobKey kKey{.weights = "w", .tokenizer = "t", .data = "d", .how = "ld_alpha 1"};

struct Fixture {
  std::optional<Numbers> load(const LogprobKey& key = kKey, int64_t count = 3) {
    return load_logprobs(file, key, count, damage);
  }

  TempFolder folder;
  std::filesystem::path file = folder / "reference/dpo.logprobs";
  std::string damage;
};

TEST(LogprobCache, GivesBackTheBitsItKeeps) {
  Fixture cache;
  const Numbers numbers = {-1.25, -1e-300, -12345.678901234567};
  save_logprobs(cache.file, kKey, numbers);
  EXPECT_EQ(cache.load(), numbers);
  EXPECT_EQ(cache.damage, "");
}

TEST(LogprobCache, HasNothingForAnotherKeyOrWithoutAFile) {
  Fixture cache;
  EXPECT_EQ(cache.load(), std::nullopt);
  save_logprobs(cache.file, kKey, {1, 2, 3});
  for (const auto part :
       {&LogprobKey::weights, &LogprobKey::tokenizer, &LogprobKey::data, &LogprobKey::how}) {
    auto other = kKey;
    other.*part = "x";
    EXPECT_EQ(cache.load(other, 5), std::nullopt);
    EXPECT_EQ(cache.damage, "");  // it is another's, and nothing is wrong with it
  }
  LogprobKey shifted = kKey;
  std::swap(shifted.weights, shifted.tokenizer);
  EXPECT_NE(shifted.hash(), kKey.hash());
}

TEST(LogprobCache, SaysThatAFileIsDamagedAndHasNothing) {
  Fixture cache;
  save_logprobs(cache.file, kKey, {1, 2, 3});
  const std::string whole = read_file(cache.file);
  const auto expect_damage = [&](const std::string& bytes, const char* part, int64_t count = 3) {
    write_plain(cache.file, bytes);
    EXPECT_EQ(cache.load(kKey, count), std::nullopt);
    EXPECT_THAT(cache.damage, testing::HasSubstr(part));
  };
  expect_damage("", "is no file of log-probs");
  expect_damage("{\"not\": \"this\"}" + std::string(200, 'x'), "is no file of log-probs");
  expect_damage(whole.substr(0, 50), "is no file of log-probs");
  expect_damage(whole.substr(0, whole.size() - 1), "its 3 log-probs take");
  expect_damage(whole + "x", "its 3 log-probs take");
  expect_damage(whole, "its 1000000000000 log-probs take", 1'000'000'000'000);  // and allocates nothing
  for (const size_t place : {whole.size() - 1, whole.size() - 10}) {
    auto flipped = whole;
    flipped[place] = static_cast<char>(flipped[place] ^ 4);
    expect_damage(flipped, "does not have its checksum");
  }
  write_plain(cache.file, whole);
  EXPECT_EQ(cache.load(), (Numbers{1, 2, 3}));
  EXPECT_EQ(cache.damage, "");
}

TEST(LogprobCache, ReplacesAFileInOneStep) {
  Fixture cache;
  save_logprobs(cache.file, kKey, {1, 2, 3});
  save_logprobs(cache.file, kKey, {4, 5, 6});
  EXPECT_EQ(cache.load(), (Numbers{4, 5, 6}));
  const std::filesystem::directory_iterator files(cache.file.parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);  // nothing temporary is left
}

}  // namespace
}  // namespace sluice::reference
