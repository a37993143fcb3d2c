#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "tests/model/temporary_directory.h"

namespace sluice::model {
namespace {

std::string file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

void expect_refusal(const std::string& bytes, const std::string& part) {
  const TemporaryDirectory directory;
  const auto file = directory / "hostile.safetensors";
  write_file_atomically(file, bytes);
  try {
    read_safetensors(file);
    FAIL() << "taken, but should say: " << part;
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("hostile.safetensors"));
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

TEST(Safetensors, EveryTypeComesBackBitForBit) {
  const TemporaryDirectory directory;
  const auto values = at::tensor({0.0f, 1.5f, -3.25f, 65504.0f, 1e-7f, -0.0f}).view({2, 3});
  std::vector<NamedTensor> tensors;
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    tensors.push_back({std::string("t") + c10::toString(type), values.to(type)});
  }
  for (const auto type : {at::kLong, at::kInt, at::kByte, at::kBool}) {
    tensors.push_back({std::string("t") + c10::toString(type), at::tensor({1, 0, 7}).to(type)});
  }
  tensors.push_back({"scalar", at::scalar_tensor(4.0f, at::kFloat)});
  tensors.push_back({"empty", at::zeros({0, 5})});
  tensors.push_back({"transposed", values.t()});
  write_safetensors(directory / "all.safetensors", tensors, {{"step", "3"}});

  const auto read = read_safetensors(directory / "all.safetensors");
  ASSERT_EQ(read.size(), tensors.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].name, tensors[i].name);
    EXPECT_EQ(read[i].tensor.scalar_type(), tensors[i].tensor.scalar_type());
    EXPECT_TRUE(at::equal(read[i].tensor, tensors[i].tensor)) << read[i].name;
  }
  const auto bytes = read_file(directory / "all.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_THAT(bytes, testing::HasSubstr(R"("__metadata__":{"step":"3","format":"pt"})"));
}

TEST(Safetensors, WritingLeavesNothingBesideTheFile) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "a.safetensors", {{"x", at::ones({2})}});
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", {{"x", at::ones({2})}, {"x", at::ones({2})}}),
               Error);
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", {{"x", at::ones({2}, at::kComplexFloat)}}),
               Error);
  const auto entries = std::filesystem::directory_iterator(directory.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(Safetensors, RefusesTornFiles) {
  expect_refusal("", "0 bytes");
  expect_refusal(std::string("\5\0\0\0\0\0\0", 7), "7 bytes");
  const auto whole = file_bytes("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 8);
  expect_refusal(whole.substr(0, whole.size() - 1), "bytes 0 .. 8 of 7");
  expect_refusal(whole.substr(0, 30), "in a file of 30");
  expect_refusal(whole + "x", "end at byte 8 of 9");
}

TEST(Safetensors, RefusesAHugeHeaderBeforeReadingIt) {
  expect_refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "at most 100000000");
  expect_refusal(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10), "at most 100000000");
}

TEST(Safetensors, RefusesHolesAndOverlaps) {
  const auto two = [](const char* first, const char* second) {
    return "{" + entry("a", "F32", "[2]", first) + "," + entry("b", "F32", "[2]", second) + "}";
  };
  expect_refusal(file_bytes(two("[0,8]", "[12,20]"), 20), "hole");
  expect_refusal(file_bytes(two("[4,12]", "[12,20]"), 20), "hole");
  expect_refusal(file_bytes(two("[0,8]", "[4,12]"), 12), "overlaps");
  expect_refusal(file_bytes(two("[0,8]", "[0,8]"), 8), "overlaps");
}

TEST(Safetensors, RefusesDuplicateNames) {
  expect_refusal(
      file_bytes("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", 8),
      "a");
}

TEST(Safetensors, RefusesShapesThatOverflow) {
  expect_refusal(file_bytes("{" + entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0),
                 "overflows");
  expect_refusal(file_bytes("{" + entry("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0), "overflows");
  expect_refusal(file_bytes("{" + entry("a", "U8", "[18446744073709551615]", "[0,0]") + "}", 0), "overflows");
  expect_refusal(file_bytes("{" + entry("a", "U8", "[0,9223372036854775807,4]", "[0,0]") + "}", 0),
                 "overflows");
  expect_refusal(file_bytes("{" + entry("a", "F32", "[2]", "[0,18446744073709551615]") + "}", 8), "of 8");
}

TEST(Safetensors, RefusesEntriesThatAreNotOne) {
  const auto one = [](const std::string& text) { return file_bytes("{" + text + "}", 4); };
  expect_refusal(one(entry("a", "F8_E4M3", "[4]", "[0,4]")), "F8_E4M3");
  expect_refusal(one(entry("a", "F32", "[2]", "[0,4]")), "need 8");
  expect_refusal(one(entry("a", "F32", "[-1]", "[0,4]")), "shape");
  expect_refusal(one(entry("a", "F32", "[1.0]", "[0,4]")), "shape");
  expect_refusal(one(entry("a", "F32", "[1]", "[4,0]")), "4 .. 0");
  expect_refusal(one(entry("a", "F32", "[1]", "[0,4,4]")), "3 numbers");
  expect_refusal(one(entry("a", "F32", "1", "[0,4]")), "shape");
  expect_refusal(one(R"("a":{"dtype":"F32","shape":[1]})"), "not an object of");
  expect_refusal(one(R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})"), "not an object of");
  expect_refusal(one(R"("a":7)"), "not an object of");
  expect_refusal(one(R"("__metadata__":{"n":1},)" + entry("a", "F32", "[1]", "[0,4]")), "__metadata__");
  expect_refusal(file_bytes("[1]", 0), "start with {");
  expect_refusal(file_bytes(" {}", 0), "start with {");
  expect_refusal(file_bytes("{\"a\"", 0), "");
}

TEST(Safetensors, RefusesABoolThatIsNeitherTrueNorFalse) {
  auto bytes = file_bytes("{" + entry("a", "BOOL", "[2]", "[0,2]") + "}", 2);
  bytes.back() = '\2';
  expect_refusal(bytes, "neither 0 nor 1");
}

}  // namespace
}  // namespace sluice::model
