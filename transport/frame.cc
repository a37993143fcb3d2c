#include "transport/frame.h"

#include "base/byte_codec.h"
#include "base/crc32c.h"
#include "base/error.h"

namespace sluice::transport {
namespace {

constexpr uint32_t kMagic = 0x46434C53;  // "SLCF" as the bytes stand
constexpr size_t kChecked = 32;          // bytes of the header under the checksum

uint32_t checksum(std::string_view header, std::string_view payload) {
  return crc32c(payload, crc32c(header.substr(0, kChecked)));
}

bool known(uint16_t type) {
  return type >= static_cast<uint16_t>(FrameType::Hello) && type <= static_cast<uint16_t>(FrameType::Stop);
}

template <class... Parts>
DecodedFrame refused(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return {std::nullopt, out.str()};
}

}  // namespace

std::string encode_frame(const Frame& frame) {
  require(frame.payload.size() <= kMaxPayload, "encode_frame: a payload of ", frame.payload.size(),
          " bytes, at most ", kMaxPayload, " are sent");
  ByteWriter header;
  header.u32(kMagic);
  header.u32(uint32_t{kProtocolVersion} | static_cast<uint32_t>(frame.type) << 16);
  header.u64(frame.run);
  header.u64(frame.sequence);
  header.u64(frame.payload.size());
  header.u32(checksum(header.str(), frame.payload));
  header.u32(0);
  return header.take() + frame.payload;
}

DecodedFrame decode_frame(std::string_view bytes) {
  if (bytes.size() < kFrameHeader)
    return refused("a frame of ", bytes.size(), " bytes, the header has ", kFrameHeader);
  const auto payload = bytes.substr(kFrameHeader);
  ByteReader header(bytes.substr(0, kFrameHeader), "frame");
  if (header.u32() != kMagic) return refused("a frame that does not start with SLCF");
  const uint32_t version_and_type = header.u32();
  const auto version = static_cast<uint16_t>(version_and_type & 0xFFFF);
  const auto type = static_cast<uint16_t>(version_and_type >> 16);
  Frame frame;
  frame.run = header.u64();
  frame.sequence = header.u64();
  const uint64_t length = header.u64();
  if (length > kMaxPayload)
    return refused("a payload of ", length, " bytes, at most ", kMaxPayload, " are accepted");
  if (length != payload.size())
    return refused("a payload of ", length, " bytes is announced, ", payload.size(), " came");
  if (header.u32() != checksum(bytes, payload)) return refused("a frame whose checksum does not match");
  if (header.u32() != 0) return refused("a frame whose last header field is not zero");
  if (!known(type)) return refused("a frame of unknown type ", type);
  frame.type = static_cast<FrameType>(type);
  const bool in_every_version = frame.type == FrameType::Hello || frame.type == FrameType::Refuse;
  if (version != kProtocolVersion && !in_every_version) {
    return refused("a frame of protocol ", version, ", this build speaks ", kProtocolVersion);
  }
  frame.payload = payload;
  return {std::move(frame), ""};
}

}  // namespace sluice::transport
