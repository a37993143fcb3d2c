#include "transport/frame.h"

#include <gtest/gtest.h>

#include <string>

#include "base/crc32c.h"
#include "base/error.h"

namespace sluice::transport {
namespace {

Frame example() { return {.type = FrameType::Group, .run = 7, .sequence = 9, .payload = "payload"}; }

// `bytes` with the field at `offset` overwritten, and the checksum made right again.
std::string patched(std::string bytes, size_t offset, const std::string& field) {
  bytes.replace(offset, field.size(), field);
  const uint32_t crc = crc32c(bytes.substr(40), crc32c(bytes.substr(0, 32)));
  for (size_t i = 0; i < 4; ++i) bytes[32 + i] = static_cast<char>(crc >> (8 * i));
  return bytes;
}

TEST(Frame, ComesBackAsItWas) {
  const auto decoded = decode_frame(encode_frame(example()));

  ASSERT_TRUE(decoded.frame) << decoded.error;
  EXPECT_EQ(decoded.frame->type, FrameType::Group);
  EXPECT_EQ(decoded.frame->run, 7u);
  EXPECT_EQ(decoded.frame->sequence, 9u);
  EXPECT_EQ(decoded.frame->payload, "payload");
}

TEST(Frame, HasAHeaderOf40BytesThatStartsWithItsName) {
  const auto bytes = encode_frame(example());

  EXPECT_EQ(bytes.size(), 47u);
  EXPECT_EQ(bytes.substr(0, 8), std::string("SLCF\x01\x00\x06\x00", 8));
}

TEST(Frame, RefusesEveryFlippedBit) {
  const auto bytes = encode_frame(example());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto broken = bytes;
    broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(decode_frame(broken).frame) << "bit " << bit;
  }
}

TEST(Frame, RefusesEveryCutAndWhatIsLeftOver) {
  const auto bytes = encode_frame(example());
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_frame(bytes.substr(0, n)).frame) << n << " bytes";
  EXPECT_FALSE(decode_frame(bytes + "x").frame);
}

TEST(Frame, RefusesALengthThatIsNotThereBeforeItAllocates) {
  const auto huge = patched(encode_frame(example()), 24, std::string("\0\0\0\0\0\0\0\x10", 8));  // 2^60

  const auto decoded = decode_frame(huge);

  EXPECT_FALSE(decoded.frame);
  EXPECT_EQ(decoded.error, "a payload of 1152921504606846976 bytes, at most 67108864 are accepted");
}

TEST(Frame, RefusesAnotherProtocolUnlessTheFrameIsAboutThat) {
  const auto group = patched(encode_frame(example()), 4, std::string("\x02\x00", 2));
  EXPECT_EQ(decode_frame(group).error, "a frame of protocol 2, this build speaks 1");

  const auto hello = patched(group, 6, std::string("\x01\x00", 2));
  EXPECT_TRUE(decode_frame(hello).frame);
}

TEST(Frame, RefusesATypeItDoesNotKnow) {
  EXPECT_EQ(decode_frame(patched(encode_frame(example()), 6, std::string("\x0b\x00", 2))).error,
            "a frame of unknown type 11");
  EXPECT_FALSE(decode_frame(patched(encode_frame(example()), 6, std::string("\x00\x00", 2))).frame);
}

TEST(Frame, SendsNoPayloadThatNobodyAccepts) {
  EXPECT_THROW(encode_frame({.payload = std::string(kMaxPayload + 1, 'x')}), Error);
}

}  // namespace
}  // namespace sluice::transport
