#include "actors/internal/learner_link.h"

#include <algorithm>
#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/json.h"

namespace sluice::actors {
namespace {

using transport::Frame;
using transport::FrameType;

constexpr Millis kHelloMs = 1'000;
constexpr Millis kAgainMs = 5'000;  // without an Ack a group is sent again

}  // namespace

LearnerLink::LearnerLink(const RolloutActorOptions& options)
    : options_(options),
      socket_(options.address, transport::run_hash(options.identity.run)),
      heartbeat_ms_(options.heartbeat_ms) {
  hello_due_ = last_look_ = clock_.now_ms();
}

std::optional<Frame> LearnerLink::next(const ActorLoad& load, Millis wait_ms) {
  const Millis deadline = clock_.now_ms() + wait_ms;
  while (true) {
    send_due(load);
    auto frame = socket_.receive(std::max<Millis>(0, deadline - clock_.now_ms()));
    watch_silence(/*heard=*/frame.has_value());
    if (!frame) return std::nullopt;
    if (concerns_work(*frame)) return frame;
  }
}

// The learner's interval, or this actor's own where that is shorter.
Millis LearnerLink::heartbeat_of(const std::string& welcome) const {
  if (welcome.empty()) return options_.heartbeat_ms;
  constexpr auto where = "welcome of the learner";
  const auto json = parse_json(welcome, where, {.max_bytes = 4096, .max_depth = 4});
  const auto wanted = json_member_or<int64_t>(json, "heartbeat_ms", options_.heartbeat_ms, where);
  require<DataError>(wanted > 0, where, ": heartbeat_ms is ", wanted);
  return std::min(wanted, options_.heartbeat_ms);
}

// Handles what does not.
bool LearnerLink::concerns_work(const Frame& frame) {
  switch (frame.type) {
    case FrameType::Welcome: {
      if (std::exchange(welcome_, true)) return false;  // the answer to a Hello that was sent twice
      was_welcome_ = true;
      learner_credit_ = 0;
      heartbeat_due_ = clock_.now_ms();
      heartbeat_ms_ = heartbeat_of(frame.payload);
      for (auto& [sequence, group] : unacknowledged_) send_unacknowledged(sequence, group);
      return true;
    }
    case FrameType::Refuse:
      fail(options_.identity.name, ": the learner at ", options_.address,
           " refused this actor: ", frame.payload);
    case FrameType::Hello:
      if (std::exchange(welcome_, false)) hello_due_ = clock_.now_ms();
      return false;
    case FrameType::Ack:
      unacknowledged_.erase(frame.sequence);  // 0 answers a heartbeat
      return false;
    case FrameType::Lease:
      --learner_credit_;
      return true;
    case FrameType::Weights:
    case FrameType::Stop:
      return true;
    default:
      return false;  // what only actors send
  }
}

void LearnerLink::send_due(const ActorLoad& load) {
  const Millis now = clock_.now_ms();
  if (!welcome_) {
    if (now < hello_due_) return;
    // Nobody may be listening yet: then it is tried again soon.
    const bool sent = try_send(FrameType::Hello, transport::encode_identity(options_.identity));
    hello_due_ = now + (sent ? kHelloMs : std::min<Millis>(kHelloMs, 20));
    return;
  }
  const bool heartbeat = now >= heartbeat_due_;
  if (heartbeat || load.credit != learner_credit_) send_load(load, heartbeat);
  if (heartbeat) heartbeat_due_ = now + heartbeat_ms_;
  for (auto& [sequence, group] : unacknowledged_) {
    if (now - group.sent_at >= kAgainMs) send_unacknowledged(sequence, group);
  }
}

void LearnerLink::send_load(const ActorLoad& load, bool with_heartbeat) {
  if (with_heartbeat) {
    ByteWriter heartbeat;
    heartbeat.u64(load.tokens);
    heartbeat.u32(static_cast<uint32_t>(load.leases + std::ssize(unacknowledged_)));
    try_send(FrameType::Heartbeat, heartbeat.take());
  }
  ByteWriter ready;
  ready.u32(static_cast<uint32_t>(load.credit));
  if (try_send(FrameType::Ready, ready.take())) learner_credit_ = load.credit;
}

void LearnerLink::send_group(buffers::RolloutGroup group) {
  group.actor = options_.identity.name;
  group.incarnation = options_.identity.incarnation;
  group.sequence = ++last_sequence_;
  auto& kept = unacknowledged_[last_sequence_];
  kept = {.group = group.group, .bytes = buffers::encode_group(group)};
  // Where the learner does not know this actor it waits for the next Welcome.
  if (welcome_) send_unacknowledged(last_sequence_, kept);
}

void LearnerLink::send_unacknowledged(uint64_t sequence, Unacknowledged& group) {
  try_send(FrameType::Group, group.bytes, sequence);
  group.sent_at = clock_.now_ms();
}

bool LearnerLink::has_unacknowledged(uint64_t group) const {
  return std::any_of(unacknowledged_.begin(), unacknowledged_.end(),
                     [group](const auto& entry) { return entry.second.group == group; });
}

// Only time in which this thread listened counts, so that an actor that was stopped for a while does not
// blame the learner for it.
void LearnerLink::watch_silence(bool heard) {
  const Millis now = clock_.now_ms();
  silent_ms_ = heard ? 0 : silent_ms_ + std::min(now - last_look_, heartbeat_ms_);
  last_look_ = now;
  const Millis most = was_welcome_ ? options_.silence_ms : options_.connect_timeout_ms;
  require(silent_ms_ < most, options_.identity.name, ": ",
          was_welcome_ ? "the learner at " : "waited for a welcome of the learner at ", options_.address,
          was_welcome_ ? " was not heard of for " : " for ", most, " ms");
}

bool LearnerLink::try_send(FrameType type, std::string payload, uint64_t sequence) {
  return socket_.send({.type = type, .sequence = sequence, .payload = std::move(payload)}, /*timeout_ms=*/0);
}

}  // namespace sluice::actors
