#include "model/weight_files.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/base/temp_folder.h"

namespace sluice::model {
namespace {

std::vector<NamedTensor> four_tensors(float value = 1.0f) {
  std::vector<NamedTensor> tensors;
  for (const char* name : {"a", "b", "c", "d"}) tensors.push_back({name, at::full({100}, value)});
  return tensors;
}

std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(directory))
    names.insert(file.path().filename());
  return names;
}

void expect_value(const std::filesystem::path& directory, float value) {
  const WeightFiles files(directory);
  ASSERT_EQ(files.entries().size(), 4u);
  for (const auto& entry : files.entries()) {
    EXPECT_TRUE(at::equal(files.read(entry.name), at::full({100}, value))) << entry.name;
  }
}

TEST(WeightFiles, OneFileOrShardsReadTheSame) {
  const TempFolder whole, shards;
  write_sharded(whole.path(), sources_of(four_tensors()));
  write_sharded(shards.path(), sources_of(four_tensors()), {{"step", "7"}}, 900);  // two of 400 bytes each

  EXPECT_THAT(names_in(whole.path()), testing::ElementsAre("model.safetensors"));
  EXPECT_THAT(names_in(shards.path()),
              testing::ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                   "model.safetensors.index.json"));
  const Json index = read_json(shards / "model.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_size"), 1600);
  EXPECT_EQ(index.at("weight_map").at("c"), "model-00002-of-00002.safetensors");
  expect_value(whole.path(), 1.0f);
  expect_value(shards.path(), 1.0f);

  const WeightFiles files(shards.path());
  EXPECT_TRUE(files.contains("d"));
  EXPECT_FALSE(files.contains("e"));
  EXPECT_THROW(files.read("e"), DataError);
  EXPECT_EQ(files.where("d"), (shards / "model-00002-of-00002.safetensors").string() + ": tensor \"d\"");
  EXPECT_EQ(files.entries()[0].type, at::kFloat);
  EXPECT_THAT(files.entries()[0].shape, testing::ElementsAre(100));
}

TEST(WeightFiles, ASaveReplacesTheOneBeforeWhateverItsShape) {
  const TempFolder directory;
  float value = 0;
  for (const uint64_t max_shard : {400u, 5000u, 800u, 900u, 5000u, 5000u, 100u}) {
    write_sharded(directory.path(), sources_of(four_tensors(++value)), {}, max_shard);
    expect_value(directory.path(), value);
    const size_t files = max_shard <= 400 ? 5 : max_shard <= 900 ? 3 : 1;
    EXPECT_EQ(names_in(directory.path()).size(), files) << max_shard;
  }
}

TEST(WeightFiles, ASaveThatFailsLeavesTheOneBefore) {
  const TempFolder directory;
  for (const uint64_t max_shard : {5000u, 800u}) {
    write_sharded(directory.path(), sources_of(four_tensors(5)), {}, max_shard);
    const auto before = names_in(directory.path());
    auto sources = sources_of(four_tensors(6));
    sources.back().produce = []() -> at::Tensor { fail("the device is gone"); };
    EXPECT_THROW(write_sharded(directory.path(), sources, {}, 800), Error);
    EXPECT_THROW(write_sharded(directory.path(), sources, {}, 5000), Error);
    EXPECT_EQ(names_in(directory.path()), before);
    expect_value(directory.path(), 5);
  }
  auto twice = sources_of(four_tensors());
  twice[3].name = "a";
  EXPECT_THROW(write_sharded(directory.path(), twice, {}, 400), Error);
}

TEST(WeightFiles, FollowsTheLinksOfADownloadCache) {
  const TempFolder blobs, snapshot;
  write_sharded(blobs.path(), sources_of(four_tensors()));
  std::filesystem::create_symlink(blobs / "model.safetensors", snapshot / "model.safetensors");
  expect_value(snapshot.path(), 1.0f);
}

// Shards x.safetensors (a, b) and y.safetensors (c), and an index of the test's choosing.
class HostileIndex : public testing::Test {
 protected:
  HostileIndex() {
    const auto tensors = four_tensors();
    write_safetensors(directory_ / "x.safetensors", {tensors[0], tensors[1]});
    write_safetensors(directory_ / "y.safetensors", {tensors[2]});
  }

  void expect_refusal(const std::string& index, const std::string& part) {
    write_file_atomically(directory_ / "model.safetensors.index.json", index);
    try {
      const WeightFiles files(directory_.path());
      ADD_FAILURE() << "taken, but should say: " << part;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(directory_.path().string()));
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }

  TempFolder directory_;
};

TEST_F(HostileIndex, AShardIsAFileOfThisDirectory) {
  for (const std::string shard :
       {"../x.safetensors", "/etc/passwd", "/tmp/x.safetensors", "sub/x.safetensors", "..\\\\x.safetensors",
        "x.bin", "x.safetensors.bin", "", ".", "..", "x\\u0000.safetensors", "x.safetensors\\u0000",
        "x\\n.safetensors", "./x.safetensors", "x.SAFETENSORS"}) {
    expect_refusal(R"({"weight_map":{"a":")" + shard + "\"}}",
                   "must be a .safetensors file of this directory");
  }
}

TEST_F(HostileIndex, IsAnObjectOfNames) {
  expect_refusal("", "not JSON");
  expect_refusal("[]", "no object \"weight_map\"");
  expect_refusal("{}", "no object \"weight_map\"");
  expect_refusal(R"({"weight_map":[]})", "no object \"weight_map\"");
  expect_refusal(R"({"weight_map":null})", "no object \"weight_map\"");
  expect_refusal(R"({"weight_map":{}})", "is empty");
  expect_refusal(R"({"weight_map":{"a":7}})", "tensor \"a\" is not a string, it is number");
  expect_refusal(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})", "\"a\" stands twice");
  expect_refusal(std::string(100'000, '['), "nested deeper");
}

TEST_F(HostileIndex, AgreesWithTheShards) {
  expect_refusal(R"({"weight_map":{"a":"x.safetensors"}})", "tensor \"b\" of x.safetensors is not listed");
  expect_refusal(R"({"weight_map":{"a":"x.safetensors","b":"x.safetensors","z":"x.safetensors"}})",
                 "tensor \"z\" is not in x.safetensors");
  expect_refusal(R"({"weight_map":{"a":"x.safetensors","b":"y.safetensors","c":"y.safetensors"}})",
                 "tensor \"b\" of x.safetensors is not listed");
  expect_refusal(R"({"weight_map":{"a":"absent.safetensors"}})", "absent.safetensors");
  write_safetensors(directory_ / "y.safetensors", {{"c", at::ones(1)}, {"a", at::ones(1)}});
  expect_refusal(R"({"weight_map":{"a":"x.safetensors","b":"x.safetensors","c":"y.safetensors"}})",
                 "tensor \"a\" is in two shards, x.safetensors and y.safetensors");
}

TEST_F(HostileIndex, AFolderOrAPickleIsNoShard) {
  std::filesystem::create_directory(directory_ / "folder.safetensors");
  expect_refusal(R"({"weight_map":{"a":"folder.safetensors"}})", "not a regular file");
  write_file_atomically(directory_ / "torn.safetensors", "PK\3\4");
  expect_refusal(R"({"weight_map":{"a":"torn.safetensors"}})", "torn.safetensors: 4 bytes");
}

TEST(WeightFiles, SaysWhatIsMissing) {
  const TempFolder directory;
  const auto message = [&] {
    try {
      const WeightFiles files(directory.path());
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(), testing::HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
  write_file_atomically(directory / "pytorch_model.bin", "PK");
  EXPECT_THAT(message(), testing::HasSubstr("pytorch_model.bin is a pickle"));
}

}  // namespace
}  // namespace sluice::model
