#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::model {
namespace {

std::string length_bytes(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string file_bytes(const std::string& header, size_t data_bytes) {
  return length_bytes(header.size()) + header + std::string(data_bytes, '\0');
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

std::string repeat(const std::string& part, size_t count) {
  std::string whole;
  for (size_t i = 0; i < count; ++i) whole += part;
  return whole;
}

// A file, and what its refusal must say beside the file's name.
struct Malformed {
  std::string bytes;
  std::string part;
};

void expect_refusals(const std::vector<Malformed>& cases) {
  const TempFolder directory;
  const auto file = directory / "hostile.safetensors";
  for (const auto& [bytes, part] : cases) {
    write_file_atomically(file, bytes);
    const auto begin = std::chrono::steady_clock::now();
    try {
      read_safetensors(file);
      ADD_FAILURE() << "taken, but should say: " << part;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("hostile.safetensors"));
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
      EXPECT_LT(std::strlen(error.what()), 1000u);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << part;
  }
}

// One entry "a" that claims four bytes of a file that has them.
std::vector<Malformed> with_four_bytes(const std::vector<Malformed>& entries) {
  std::vector<Malformed> files;
  for (const auto& [text, part] : entries) files.push_back({file_bytes("{" + text + "}", 4), part});
  return files;
}

std::vector<Malformed> without_bytes(const std::vector<Malformed>& headers) {
  std::vector<Malformed> files;
  for (const auto& [header, part] : headers) files.push_back({file_bytes(header, 0), part});
  return files;
}

TEST(Safetensors, EveryTypeComesBackBitForBit) {
  const TempFolder directory;
  const auto values = at::tensor({0.0f, 1.5f, -3.25f, 65504.0f, 1e-7f, -0.0f}).view({2, 3});
  std::vector<NamedTensor> tensors;
  for (const auto type :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
    tensors.push_back({std::string("t") + c10::toString(type), values.to(type)});
  }
  for (const auto type : {at::kLong, at::kInt, at::kShort, at::kChar, at::kByte, at::kBool, at::kUInt16,
                          at::kUInt32, at::kUInt64}) {
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
    EXPECT_EQ(read[i].tensor.sizes(), tensors[i].tensor.sizes());
    const auto whole = tensors[i].tensor.contiguous();
    if (whole.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(read[i].tensor.const_data_ptr(), whole.const_data_ptr(), whole.nbytes()), 0)
        << read[i].name;
  }
  const auto bytes = read_file(directory / "all.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_THAT(bytes, testing::HasSubstr(R"("__metadata__":{"step":"3","format":"pt"})"));
}

TEST(Safetensors, ReadsWhatIsLegalThoughUnusual) {
  const TempFolder directory;
  const auto file = directory / "odd.safetensors";
  const std::vector<std::pair<std::string, size_t>> cases = {
      {"{}", 0},
      {"{}      ", 0},
      {"{\"__metadata__\":{}}", 0},
      {"{" + entry("a", "F32", "[1]", "[4,8]") + "," + entry("b", "F32", "[1]", "[0,4]") + "}", 8},
      {"{" + entry("", "U8", "[]", "[0,1]") + "}", 1},
      {"{ \"\\u00e9\" : {\"data_offsets\":[0,0],\n\t\"shape\":[3,0,2] ,\"dtype\":\"F64\"} }", 0},
      {"{" + entry("a", "F32", "[0]", "[0,0]") + "," + entry("b", "F32", "[1]", "[0,4]") + "," +
           entry("c", "F32", "[0]", "[4,4]") + "}",
       4},
  };
  for (const auto& [header, data_bytes] : cases) {
    write_file_atomically(file, file_bytes(header, data_bytes));
    EXPECT_NO_THROW(read_safetensors(file)) << header;
  }
}

TEST(Safetensors, GivesItsTensorsOneByOne) {
  const TempFolder directory;
  write_safetensors(directory / "two.safetensors", {{"x", at::arange(3)}, {"y", at::full({2, 2}, 0.5)}});

  const SafetensorsFile file(directory / "two.safetensors");
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.entries()[1].name, "y");
  EXPECT_THAT(file.entries()[1].shape, testing::ElementsAre(2, 2));
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(at::equal(file.read(file.entries()[1]), at::full({2, 2}, 0.5)));
    EXPECT_TRUE(at::equal(file.read(file.entries()[0]), at::arange(3)));
  }
}

TEST(Safetensors, AFileCutAfterItWasOpenedIsAnErrorNotASignal) {
  const TempFolder directory;
  const auto path = directory / "cut.safetensors";
  write_safetensors(path, {{"x", at::zeros({100'000})}});
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, 1000);
  try {
    file.read(file.entries()[0]);
    FAIL() << "read from a file that is gone";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("cut.safetensors: was cut from"));
  }
}

TEST(Safetensors, WritingLeavesNothingBesideTheFile) {
  const TempFolder directory;
  write_safetensors(directory / "a.safetensors", {{"x", at::ones({2})}});
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", {{"x", at::ones({2})}, {"x", at::ones({2})}}),
               Error);
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", {{"x", at::ones({2}, at::kComplexFloat)}}),
               Error);
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", {{"\xff", at::ones({2})}}), Error);
  const TensorSource other{"x", at::kFloat, {2}, [] { return at::ones({3}); }};
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", std::vector{other}), Error);
  const TensorSource throws{"x", at::kFloat, {2}, []() -> at::Tensor { fail("no memory"); }};
  EXPECT_THROW(write_safetensors(directory / "b.safetensors", std::vector{throws}), Error);
  EXPECT_THROW(write_safetensors(directory / "none" / "b.safetensors", {{"x", at::ones({2})}}),
               EnvironmentError);
  const auto entries = std::filesystem::directory_iterator(directory.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(Safetensors, ConvertsOneTensorAtATimeWhileItWrites) {
  const TempFolder directory;
  const std::vector<NamedTensor> tensors{{"x", at::tensor({1.00390625f, 3.0f})}, {"n", at::arange(2)}};
  write_safetensors(directory / "half.safetensors", sources_of(tensors, at::kBFloat16));

  const auto read = read_safetensors(directory / "half.safetensors");
  EXPECT_TRUE(at::equal(read[0].tensor, at::tensor({1.0f, 3.0f}).to(at::kBFloat16)));  // 1 + 2^-8 is a tie
  EXPECT_EQ(read[1].tensor.scalar_type(), at::kLong);
}

TEST(Safetensors, RefusesWhatIsNoFile) {
  const TempFolder directory;
  EXPECT_THROW(SafetensorsFile(directory / "absent.safetensors"), DataError);
  EXPECT_THROW(SafetensorsFile(directory.path()), DataError);
  ASSERT_EQ(::mkfifo((directory / "pipe.safetensors").c_str(), 0600), 0);
  EXPECT_THROW(SafetensorsFile(directory / "pipe.safetensors"), DataError);
}

TEST(Safetensors, RefusesTornFiles) {
  const auto whole = file_bytes("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 8);
  std::vector<Malformed> cases = {
      {"", "0 bytes"},
      {std::string("\5\0\0\0\0\0\0", 7), "7 bytes"},
      {length_bytes(0), "does not start with {"},
      {length_bytes(1), "in a file of 8"},
      {whole + "x", "end at byte 8 of 9"},
      {whole + whole, "end at byte 8 of"},
      {file_bytes("{}", 1), "end at byte 0 of 1"},
      {length_bytes(3) + "{}", "in a file of 10"},
  };
  // Cut anywhere, a file is refused.
  for (size_t size = 1; size < whole.size(); size += 5) {
    const auto part = size < 8                  ? "bytes are no safetensors"
                      : size < whole.size() - 8 ? "in a file of"
                                                : "the file is shorter";
    cases.push_back({whole.substr(0, size), part});
  }
  expect_refusals(cases);
}

TEST(Safetensors, RefusesAHugeHeaderBeforeReadingIt) {
  std::vector<Malformed> cases;
  for (const uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 31, uint64_t{1} << 32,
                                uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7, ~uint64_t{0} - 8}) {
    cases.push_back({length_bytes(length) + "{}", "at most 100000000"});
  }
  cases.push_back({length_bytes(100'000'000) + "{}", "in a file of 10"});
  expect_refusals(cases);
}

TEST(Safetensors, RefusesALongHeaderOfNonsenseAtItsFirstWord) {
  const size_t size = 20'000'000;
  expect_refusals(without_bytes(
      {{"{\"a\":" + std::string(size, '['), "without a quotation mark in the header, at byte 12"},
       {"{\"a\":" + repeat("{\"a\":", size / 5), "unknown key \"a\""},
       {"{" + repeat("\"a\":0,", size / 6), "the number 0"},
       {"{\"" + std::string(size, 'n') + "\":1}", "nnn..."},
       {"{\"" + std::string(60'000, 'n') + "\":1}", "the number 1"},
       {"{\"a\":" + std::string(60'000, '['), "an array"},
       {"{\"a\":{\"shape\":[" + repeat("1,", size / 2) + "1]}}", "at byte 21"},
       {"{\"a\":{\"shape\":[" + repeat("1,", 100) + "1]}}", "64 dimensions"}}));
  std::string metadata = "{\"__metadata__\":{\"k\":\"\"";
  for (int i = 0; i < 70'000; ++i) metadata += ",\"" + std::to_string(i) + "\":\"\"";
  expect_refusals(without_bytes({{metadata + "}}", "more than 65536 entries"}}));
}

TEST(Safetensors, RefusesHolesAndOverlaps) {
  const auto two = [](const char* first, const char* second, size_t data_bytes) {
    return file_bytes("{" + entry("a", "F32", "[2]", first) + "," + entry("b", "F32", "[2]", second) + "}",
                      data_bytes);
  };
  expect_refusals({{two("[0,8]", "[12,20]", 20), "\"b\" begins at byte 12, which leaves a hole"},
                   {two("[4,12]", "[12,20]", 20), "\"a\" begins at byte 4, which leaves a hole"},
                   {two("[12,20]", "[0,8]", 20), "\"a\" begins at byte 12, which leaves a hole"},
                   {two("[0,8]", "[4,12]", 12), "\"b\" begins at byte 4, which overlaps"},
                   {two("[0,8]", "[0,8]", 8), "overlaps"},
                   {two("[0,8]", "[0,8]", 16), "overlaps"},
                   {two("[8,16]", "[0,8]", 17), "end at byte 16 of 17"},
                   {two("[0,8]", "[8,16]", 15), "tensor \"b\": bytes 8 .. 16 of 15"},
                   {file_bytes("{" + entry("a", "F32", "[0]", "[4,4]") + "}", 4), "hole"}});
}

TEST(Safetensors, RefusesDuplicateNames) {
  const auto twice = [](const std::string& name, const std::string& again) {
    return "{" + entry(name, "F32", "[1]", "[0,4]") + "," + entry(again, "F32", "[1]", "[4,8]") + "}";
  };
  expect_refusals({{file_bytes(twice("a", "a"), 8), "tensor \"a\" stands twice"},
                   {file_bytes(twice("a", "\\u0061"), 8), "tensor \"a\" stands twice"},
                   {file_bytes(twice("", ""), 8), "tensor \"\" stands twice"}});
  expect_refusals(without_bytes(
      {{"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__ stands twice"},
       {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "the key \"k\" stands twice"},
       {R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "\"dtype\" stands twice"},
       {R"({"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}})", "\"shape\" stands twice"},
       {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}})", "stands twice"}}));
}

TEST(Safetensors, RefusesShapesThatOverflow) {
  const auto one = [](const char* type, const char* shape, const char* offsets = "[0,0]") {
    return "{" + entry("a", type, shape, offsets) + "}";
  };
  expect_refusals(
      without_bytes({{one("F32", "[4294967296,4294967296]"), "overflows"},
                     {one("F32", "[4611686018427387904]"), "overflows"},
                     {one("F64", "[1152921504606846976]"), "overflows"},
                     {one("U8", "[18446744073709551615]"), "overflows"},
                     {one("U8", "[18446744073709551616]"), "the number 1844674407"},
                     {one("U8", "[9223372036854775808]"), "overflows"},
                     {one("U8", "[0,9223372036854775807,4]"), "overflows"},
                     {one("U8", "[65536,65536,65536,65536]"), "overflows"},
                     {one("U8", "[3,6148914691236517206]"), "overflows"},
                     {one("U8", "[9223372036854775807]"), "0 bytes, its shape"},
                     {one("U8", "[1]", "[0,18446744073709551615]"), "bytes 0 .. 18446744073709551615"},
                     {one("U8", "[1]", "[18446744073709551615,0]"), "18446744073709551615 .. 0"},
                     {one("U8", "[1]", "[18446744073709551615,18446744073709551615]"), "of 0"},
                     {one("U8", "[1]", "[0,18446744073709551616]"), "data_offsets holds"},
                     {one("U8", "[1]", "[0,1]"), "the file is shorter than its header says"}}));
}

TEST(Safetensors, RefusesEntriesThatAreNotOne) {
  expect_refusals(with_four_bytes(
      {{entry("a", "F4", "[4]", "[0,4]"), "\"F4\" is not supported; those that are: BOOL, U8, I8"},
       {entry("a", "f32", "[1]", "[0,4]"), "\"f32\" is not supported"},
       {entry("a", "", "[1]", "[0,4]"), "\"\" is not supported"},
       {entry("a", "F32 ", "[1]", "[0,4]"), "is not supported"},
       {entry("a", "F8_E8M0", "[4]", "[0,4]"), "is not supported"},
       {entry("a", std::string(5000, 'F'), "[4]", "[0,4]"), "is not supported"},
       {entry("a", "F32", "[2]", "[0,4]"), "4 bytes, its shape [2] and type F32 need 8"},
       {entry("a", "F16", "[1]", "[0,4]"), "need 2"},
       {entry("a", "F32", "[]", "[0,0]"), "need 4"},
       {entry("a", "F32", "[-1]", "[0,4]"), "shape holds the number -1"},
       {entry("a", "F32", "[1.0]", "[0,4]"), "shape holds the number 1.0"},
       {entry("a", "F32", "[1e0]", "[0,4]"), "shape holds the number 1e0"},
       {entry("a", "F32", "[\"1\"]", "[0,4]"), "shape holds the string"},
       {entry("a", "F32", "[[1]]", "[0,4]"), "shape holds an array"},
       {entry("a", "F32", "[{}]", "[0,4]"), "shape holds an object"},
       {entry("a", "F32", "[null]", "[0,4]"), "shape holds null"},
       {entry("a", "F32", "[true]", "[0,4]"), "shape holds a boolean"},
       {entry("a", "F32", "1", "[0,4]"), "shape is the number 1"},
       {entry("a", "F32", "\"[1]\"", "[0,4]"), "shape"},
       {entry("a", "F32", "null", "[0,4]"), "shape is null"},
       {entry("a", "F32", "{}", "[0,4]"), "shape is an object"},
       {entry("a", "F32", "[1]", "[4,0]"), "4 .. 0"},
       {entry("a", "F32", "[1]", "[0,4,4]"), "more than 2 numbers"},
       {entry("a", "F32", "[1]", "[0]"), "1 numbers"},
       {entry("a", "F32", "[1]", "[]"), "0 numbers"},
       {entry("a", "F32", "[1]", "[-4,4]"), "data_offsets holds the number -4"},
       {entry("a", "F32", "[1]", "[0,4.0]"), "data_offsets holds the number 4.0"},
       {entry("a", "F32", "[1]", "[0,[4]]"), "data_offsets holds an array"},
       {entry("a", "F32", "[1]", "4"), "data_offsets is the number 4"},
       {entry("a", "F32", "[1]", "[0,5]"), "bytes 0 .. 5 of 4"},
       {R"("a":{"dtype":"F32","shape":[1]})", "not an object of"},
       {R"("a":{"dtype":"F32","data_offsets":[0,4]})", "not an object of"},
       {R"("a":{"shape":[1],"data_offsets":[0,4]})", "not an object of"},
       {R"("a":{})", "not an object of"},
       {R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", "unknown key \"x\""},
       {R"("a":{"dtype":7,"shape":[1],"data_offsets":[0,4]})", "dtype is the number 7"},
       {R"("a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]})", "dtype is an array"},
       {R"("a":7)", "the number 7 and not an object of"},
       {R"("a":[])", "an array and not an object of"},
       {R"("a":null)", "null and not an object of"},
       {R"("a":"F32")", "and not an object of"}}));
}

TEST(Safetensors, RefusesMetadataThatIsNotText) {
  const auto metadata = [](const std::string& value) { return "{\"__metadata__\":" + value + "}"; };
  expect_refusals(without_bytes({{metadata("{\"n\":1}"), "__metadata__ \"n\" is the number 1"},
                                 {metadata("{\"n\":null}"), "__metadata__ \"n\" is null"},
                                 {metadata("{\"n\":{}}"), "__metadata__ \"n\" is an object"},
                                 {metadata("{\"n\":[\"x\"]}"), "__metadata__ \"n\" is an array"},
                                 {metadata("[]"), "__metadata__ is an array"},
                                 {metadata("\"pt\""), "__metadata__ is the string"},
                                 {metadata("null"), "__metadata__ is null"}}));
}

TEST(Safetensors, RefusesAHeaderThatIsNotOneJsonObject) {
  using std::string_literals::operator""s;
  expect_refusals(without_bytes({{"[1]", "start with {"},
                                 {" {}", "start with {"},
                                 {"\xef\xbb\xbf{}", "start with {"},
                                 {"\"{}\"", "start with {"},
                                 {"{", "at byte 9"},
                                 {"{\"a\"", "not JSON at byte"},
                                 {"{\"a\":}", "not JSON at byte 13"},
                                 {"{}x", "not JSON at byte 10"},
                                 {"{}{}", "not JSON at byte 10"},
                                 {"{},", "not JSON at byte"},
                                 {"{\"a\":NaN}", "not JSON at byte"},
                                 {"{'a':1}", "not JSON at byte"},
                                 {"{/**/}", "not JSON at byte"},
                                 {"{\"__metadata__\":{\"a\":\"b\",}}", "not JSON at byte"},
                                 {"{}\0"s, "a zero byte in the header, at byte 10"},
                                 {"{}\0junk"s, "a zero byte"},
                                 {"{\"a\0b\":1}"s, "a zero byte"},
                                 {"{\"__metadata__\":{\"a\":\"\n\"}}", "not JSON at byte"},
                                 {"{\"\xff\":1}", "not JSON at byte"},
                                 {"{\"\xc0\xaf\":1}", "not JSON at byte"},
                                 {"{\"\xed\xa0\x80\":1}", "not JSON at byte"},
                                 {"{\"\xf4\x90\x80\x80\":1}", "not JSON at byte"},
                                 {"{\"\xe2\x82\":1}", "not JSON at byte"},
                                 {"{\"\\ud800\":1}", "not JSON at byte"},
                                 {"{\"\\x41\":1}", "not JSON at byte"}}));
}

TEST(Safetensors, RefusesABoolThatIsNeitherTrueNorFalse) {
  auto bytes = file_bytes("{" + entry("a", "BOOL", "[2]", "[0,2]") + "}", 2);
  bytes.back() = '\2';
  expect_refusals({{bytes, "tensor \"a\" has a BOOL that is neither 0 nor 1, at byte"}});
}

TEST(Safetensors, AHostileNameIsPrintedHarmlessly) {
  expect_refusals(with_four_bytes({{entry("\\u001b[2J", "F4", "[4]", "[0,4]"), "tensor \"\\u001b[2J\""}}));
}

}  // namespace
}  // namespace sluice::model
