// What travels between learner and actors: one fixed header and a payload whose length was checked first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::transport {

inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr uint64_t kFrameHeader = 40;
inline constexpr uint64_t kMaxPayload = 64u << 20;

// Who may send what: A actor, L learner. A heartbeat tells of the leases that were received and whose group
// has no Ack yet: a lease that was lost on its way would otherwise be kept alive for ever.
enum class FrameType : uint16_t {
  Hello = 1,      // A: Identity as JSON. L: empty; it does not know this actor (any more): it is to say Hello
  Welcome = 2,    // L: accepted; JSON of what the actor needs to know (heartbeat interval, history)
  Refuse = 3,     // L: reason as text; the actor gives up
  Ready = 4,      // A: u32 leases it can take on now (credit it gives), on a change and with each Heartbeat
  Lease = 5,      // L: a lease
  Group = 6,      // A: a finished group; sent again after a Welcome while there is no Ack
  Ack = 7,        // L: the sequence of a group that is durable (or was there before); 0 answers a Heartbeat
  Heartbeat = 8,  // A: from the thread that does the work; u64 tokens generated so far, u32 leases it has
  Weights = 9,    // L: JSON WeightAnnouncement of a version
  Stop = 10,      // L: no more work; the actor ends. Repeated until it has gone
};

struct Frame {
  FrameType type = FrameType::Hello;
  uint64_t run = 0;       // hash of the run id: a frame of another run is refused
  uint64_t sequence = 0;  // the sender's count; a Group and its Ack share it
  std::string payload;
};

// 40 bytes: magic "SLCF", u16 version, u16 type, u64 run, u64 sequence, u64 payload length, u32 CRC-32C of
// those 32 bytes and the payload, u32 zero; then the payload. Throws Error for a payload above kMaxPayload.
std::string encode_frame(const Frame& frame);

// Why bytes were refused, or the frame. Lengths are compared with what is there before anything is copied.
// Hello and Refuse are understood in every version, so that two builds can tell each other why they do not
// match.
struct DecodedFrame {
  std::optional<Frame> frame;
  std::string error;  // set when frame is empty
};
DecodedFrame decode_frame(std::string_view bytes);

}  // namespace sluice::transport
