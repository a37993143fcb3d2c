#include "monitor/tensorboard_sink.h"

#include <gmock/gmock.h>

#include <bit>
#include <cstring>
#include <limits>

#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The events of a file, whose lengths and checksums have to be right.
std::vector<std::string> events_of(const std::filesystem::path& file) {
  const std::string bytes = read_file(file);
  std::vector<std::string> events;
  for (std::string_view rest = bytes; !rest.empty();) {
    EXPECT_GE(rest.size(), 16);
    const auto size = little_endian(rest.substr(0, 8));
    EXPECT_EQ(little_endian(rest.substr(8, 4)), masked_crc32c(rest.substr(0, 8)));
    const auto event = rest.substr(12, size);
    EXPECT_EQ(little_endian(rest.substr(12 + size, 4)), masked_crc32c(event));
    events.emplace_back(event);
    rest.remove_prefix(16 + size);
  }
  return events;
}

// The fields of a protocol buffer: number -> what stands there, numbers as their 8 or 4 bytes.
std::multimap<int, std::string> fields_of(std::string_view bytes) {
  std::multimap<int, std::string> fields;
  const auto varint = [&bytes] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes.front());
      bytes.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (!bytes.empty()) {
    const auto key = varint();
    const auto kind = key & 7;
    uint64_t size = kind == 1 ? 8 : 4;
    if (kind == 0) {
      fields.emplace(key >> 3, std::to_string(varint()));
      continue;
    }
    if (kind == 2) size = varint();
    fields.emplace(key >> 3, bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return fields;
}

double float64(const std::string& bytes) { return std::bit_cast<double>(little_endian(bytes)); }
float float32(const std::string& bytes) {
  return std::bit_cast<float>(static_cast<uint32_t>(little_endian(bytes)));
}
std::string one(const std::multimap<int, std::string>& fields, int number) {
  EXPECT_EQ(fields.count(number), 1) << "field " << number;
  const auto found = fields.find(number);
  return found == fields.end() ? "" : found->second;
}
// The values of an event's summary: tag -> its fields.
std::map<std::string, std::multimap<int, std::string>> values_of(const std::string& event) {
  std::map<std::string, std::multimap<int, std::string>> values;
  const auto summary = fields_of(one(fields_of(event), 5));
  for (const auto& [number, bytes] : summary) {
    const auto value = fields_of(bytes);
    values[one(value, 1)] = value;
  }
  return values;
}

// Of RFC 3720, B.4: the CRC-32C of 32 zero bytes is 0x8A9136AA; rotated right by 15 and 0xA282EAD8 added.
TEST(Tensorboard, TheChecksumIsMasked) {
  const uint32_t crc = 0x8A9136AA;
  EXPECT_EQ(masked_crc32c(std::string(32, '\0')),
            static_cast<uint32_t>((crc >> 15 | crc << 17) + 0xA282EAD8U));
}

TEST(Tensorboard, AFileBeginsWithItsVersion) {
  const TempFolder folder;
  const TensorboardSink sink(folder.path(), 0);
  EXPECT_THAT(sink.file().filename().string(), StartsWith("events.out.tfevents."));
  const auto events = events_of(sink.file());
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(one(fields_of(events[0]), 3), "brain.Event:2");
}

TEST(Tensorboard, AStepIsAScalarOfEachMetric) {
  const TempFolder folder;
  TensorboardSink sink(folder.path(), 0);
  sink.write({.stage = "grpo",
              .step = 300,
              .wall_time = 12.5,
              .metrics = {{"reward", 0.25}, {"kl", std::numeric_limits<double>::quiet_NaN()}}});
  const auto events = events_of(sink.file());
  ASSERT_THAT(events, SizeIs(2));
  const auto fields = fields_of(events[1]);
  EXPECT_EQ(float64(one(fields, 1)), 12.5);
  EXPECT_EQ(one(fields, 2), "300");
  const auto values = values_of(events[1]);
  ASSERT_THAT(values, SizeIs(1));
  EXPECT_EQ(float32(one(values.at("reward"), 2)), 0.25F);
}

TEST(Tensorboard, AHistogramCountsEveryValueOnce) {
  const TempFolder folder;
  TensorboardSink sink(folder.path(), 0);
  sink.write({.step = 1}, {.distributions = {{"rewards", {0, 0, 0.5, 1}}, {"lengths", {7, 7}}}});
  const auto values = values_of(events_of(sink.file()).back());
  const auto rewards = fields_of(one(values.at("rewards"), 5));
  EXPECT_EQ(float64(one(rewards, 1)), 0);
  EXPECT_EQ(float64(one(rewards, 2)), 1);
  EXPECT_EQ(float64(one(rewards, 3)), 4);
  EXPECT_EQ(float64(one(rewards, 4)), 1.5);
  EXPECT_EQ(float64(one(rewards, 5)), 1.25);
  const auto limits = one(rewards, 6), counts = one(rewards, 7);
  ASSERT_EQ(limits.size(), 30 * 8);
  ASSERT_EQ(counts.size(), 30 * 8);
  EXPECT_EQ(float64(limits.substr(29 * 8)), 1);
  EXPECT_EQ(float64(counts.substr(0, 8)), 2);
  EXPECT_EQ(float64(counts.substr(15 * 8, 8)), 1);
  EXPECT_EQ(float64(counts.substr(29 * 8)), 1);
  // All alike: one bucket.
  EXPECT_EQ(float64(one(fields_of(one(values.at("lengths"), 5)), 7)), 2);
}

TEST(Tensorboard, ATextIsCodeToMarkdownWhateverItSays) {
  const TempFolder folder;
  TensorboardSink sink(folder.path(), 0);
  sink.write({.step = 1}, {.texts = {{"completion", "# one\r<b>two \xff"}}});
  const auto value = values_of(events_of(sink.file()).back()).at("completion");
  EXPECT_EQ(one(fields_of(one(fields_of(one(value, 9)), 1)), 1), "text");
  const auto tensor = fields_of(one(value, 8));
  EXPECT_EQ(one(tensor, 1), "7");
  EXPECT_EQ(one(tensor, 8), "    # one\n    <b>two \xEF\xBF\xBD");
}

// TensorBoard drops what came before of steps from there on.
TEST(Tensorboard, AResumedRunSaysFromWhichStepItGoesOn) {
  const TempFolder folder;
  const TensorboardSink sink(folder.path(), 40);
  const auto events = events_of(sink.file());
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(one(fields_of(events[1]), 2), "41");
  EXPECT_EQ(one(fields_of(one(fields_of(events[1]), 7)), 1), "1");
}

}  // namespace
}  // namespace sluice::monitor
