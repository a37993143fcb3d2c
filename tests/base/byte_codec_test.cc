#include "base/byte_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

TEST(ByteCodec, WritesLittleEndianFields) {
  ByteWriter writer;
  writer.u8(0xAB);
  writer.u32(0x01020304);
  writer.bytes("hi");
  writer.i32s({-2});

  EXPECT_EQ(writer.str(), std::string("\xAB\x04\x03\x02\x01\x02\0\0\0hi\x01\0\0\0\xFE\xFF\xFF\xFF", 19));
}

TEST(ByteCodec, ReadsBackEveryKindOfField) {
  ByteWriter writer;
  writer.u8(255);
  writer.u32(4'000'000'000);
  writer.u64(std::numeric_limits<uint64_t>::max());
  writer.i64(std::numeric_limits<int64_t>::min());
  writer.f32(-0.1f);
  writer.f64(std::numeric_limits<double>::infinity());
  writer.bytes(std::string("a\0b", 3));
  writer.i64s({1, -1});
  writer.i32s({});
  writer.f32s({0.5f, -0.5f});
  writer.u8s({0, 1, 255});

  ByteReader reader(writer.str(), "test");
  EXPECT_EQ(reader.u8(), 255);
  EXPECT_EQ(reader.u32(), 4'000'000'000);
  EXPECT_EQ(reader.u64(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(reader.i64(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(reader.f32(), -0.1f);
  EXPECT_EQ(reader.f64(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(reader.bytes(), std::string("a\0b", 3));
  EXPECT_EQ(reader.i64s(), (std::vector<int64_t>{1, -1}));
  EXPECT_EQ(reader.i32s(), std::vector<int32_t>{});
  EXPECT_EQ(reader.f32s(), (std::vector<float>{0.5f, -0.5f}));
  EXPECT_EQ(reader.u8s(), (std::vector<uint8_t>{0, 1, 255}));
  reader.finish();
}

TEST(ByteCodec, KeepsTheBitsOfANan) {
  ByteWriter writer;
  writer.f32s({std::numeric_limits<float>::quiet_NaN()});
  EXPECT_TRUE(std::isnan(ByteReader(writer.str(), "test").f32s()[0]));
}

// A count of 2^32 - 1 would be 32 GiB of int64_t: it must be refused before anything of that size is made.
TEST(ByteCodec, RefusesAHugeLengthBeforeAllocating) {
  const std::string bytes = "\xFF\xFF\xFF\xFF and a few more bytes";

  EXPECT_THROW(ByteReader(bytes, "frame").bytes(), DataError);
  EXPECT_THROW(ByteReader(bytes, "frame").i32s(), DataError);
  EXPECT_THROW(ByteReader(bytes, "frame").f32s(), DataError);
  EXPECT_THROW(ByteReader(bytes, "frame").u8s(), DataError);
  EXPECT_EQ(message_of<DataError>([&] { ByteReader(bytes, "frame").i64s(); }),
            "frame: 34359738360 bytes are wanted at offset 4, 21 are left");
}

TEST(ByteCodec, RefusesEveryTruncation) {
  ByteWriter writer;
  writer.i64s({1, 2});
  writer.f64(1.5);
  for (size_t size = 0; size < writer.str().size(); ++size) {
    ByteReader reader(std::string_view(writer.str()).substr(0, size), "cut");
    EXPECT_THROW(
        {
          reader.i64s();
          reader.f64();
        },
        DataError)
        << size;
  }
}

TEST(ByteCodec, NoticesWhatIsLeftOver) {
  ByteReader reader("abc", "frame");
  reader.u8();
  EXPECT_EQ(reader.remaining(), 2u);
  EXPECT_EQ(message_of<DataError>([&] { reader.finish(); }), "frame: 2 bytes are left over at offset 1");
}

}  // namespace
}  // namespace sluice
