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
constexpr Millis kAgainMs = 5'000;      // without an Ack a group is sent again
constexpr Millis kSafeMs = 2;           // between looks whether a group is safe
constexpr Millis kReconnectMs = 5'000;  // of silence, though each heartbeat is answered

uint64_t group_of(const std::string& bytes, const std::string& spool) {
  try {
    return buffers::decode_group(bytes).group;
  } catch (const DataError& error) {
    fail<DataError>("spool ", spool, ": ", error.what(), "; with the file away its groups are sampled again");
  }
}

}  // namespace

LearnerLink::LearnerLink(const RolloutActorOptions& options, std::unique_ptr<transport::Dealer> dealer,
                         std::unique_ptr<GroupKeeper> keeper, const Clock& clock)
    : options_(options),
      clock_(clock),
      dealer_(std::move(dealer)),
      heartbeat_ms_(options.heartbeat_ms),
      keeper_(std::move(keeper)) {
  hello_due_ = last_look_ = clock_.now_ms();
  if (keeper_ != nullptr) take_over(keeper_->take_left());
}

// They are safe where they are, and go by new sequences.
void LearnerLink::take_over(buffers::Spool::Left left) {
  history_ = left.history;
  for (auto& bytes : left.groups) {
    const auto group = group_of(bytes, options_.spool.string());
    unacknowledged_[++last_sequence_] = {.group = group, .bytes = std::move(bytes)};
  }
  safe_ = last_sequence_;
}

std::optional<Frame> LearnerLink::next(const ActorLoad& load, Millis wait_ms) {
  const Millis deadline = clock_.now_ms() + wait_ms;
  while (true) {
    send_due(load);
    const Millis left = std::max<Millis>(0, deadline - clock_.now_ms());
    auto frame = dealer_->receive(is_safe(last_sequence_) ? left : std::min(left, kSafeMs));
    watch_silence(/*heard=*/frame.has_value());
    if (frame && concerns_work(*frame)) return frame;
    if (!frame && clock_.now_ms() >= deadline) return std::nullopt;
  }
}

// Its interval of heartbeats, or this actor's own where that is shorter; and the history of the run.
void LearnerLink::read_welcome(const std::string& welcome) {
  constexpr auto where = "welcome of the learner";
  const auto json = parse_json(welcome, where, {.max_bytes = 4096, .max_depth = 4});
  const auto wanted = json_member<int64_t>(json, "heartbeat_ms", where);
  require<DataError>(wanted > 0, where, ": heartbeat_ms is ", wanted);
  heartbeat_ms_ = std::min(wanted, options_.heartbeat_ms);
  begin_history(json_member<int64_t>(json, "history", where));
}

// Groups of another one are of weights that never were.
void LearnerLink::begin_history(int64_t history) {
  if (history == history_) return;
  history_ = history;
  unacknowledged_.clear();
  if (keeper_ != nullptr) keeper_->forget_all(history_);
}

void LearnerLink::acknowledged(uint64_t sequence) {
  if (unacknowledged_.erase(sequence) == 0) return;  // 0 answers a heartbeat
  if (unacknowledged_.empty() && keeper_ != nullptr) keeper_->forget_all(history_);
}

// Handles what does not.
bool LearnerLink::concerns_work(const Frame& frame) {
  switch (frame.type) {
    case FrameType::Welcome: {
      if (std::exchange(welcome_, true)) return false;  // the answer to a Hello that was sent twice
      was_welcome_ = true;
      learner_credit_ = 0;
      heartbeat_due_ = clock_.now_ms();
      read_welcome(frame.payload);
      for (auto& [sequence, group] : unacknowledged_) group.sent_at.reset();
      send_groups();
      return true;
    }
    case FrameType::Refuse:
      fail(options_.identity.name, ": the learner at ", options_.address,
           " refused this actor: ", frame.payload);
    case FrameType::Hello:
      if (std::exchange(welcome_, false)) hello_due_ = clock_.now_ms();
      return false;
    case FrameType::Ack:
      acknowledged(frame.sequence);
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
  if (keeper_ != nullptr) safe_ = std::max(safe_, keeper_->kept());
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
  send_groups();
}

// Those that are safe and were not sent, or long ago.
void LearnerLink::send_groups() {
  const Millis now = clock_.now_ms();
  for (auto& [sequence, group] : unacknowledged_) {
    if (!is_safe(sequence)) break;
    if (group.sent_at && now - *group.sent_at < kAgainMs) continue;
    try_send(FrameType::Group, group.bytes, sequence);
    group.sent_at = now;
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

void LearnerLink::miss_weights() {
  const Millis now = clock_.now_ms();
  if (!welcome_ || now < hello_due_) return;
  try_send(FrameType::Hello, transport::encode_identity(options_.identity));
  hello_due_ = now + kHelloMs;
}

void LearnerLink::send_group(buffers::RolloutGroup group) {
  group.actor = options_.identity.name;
  group.incarnation = options_.identity.incarnation;
  group.sequence = ++last_sequence_;
  auto& kept = unacknowledged_[last_sequence_];
  kept = {.group = group.group, .bytes = buffers::encode_group(group)};
  if (keeper_ != nullptr) keeper_->keep(last_sequence_, kept.bytes);
  // Where the learner does not know this actor it waits for the next Welcome.
  if (welcome_) send_groups();
}

bool LearnerLink::has_unacknowledged(uint64_t group) const {
  return std::any_of(unacknowledged_.begin(), unacknowledged_.end(),
                     [group](const auto& entry) { return entry.second.group == group; });
}

void LearnerLink::send_again(uint64_t group) {
  for (auto& [sequence, kept] : unacknowledged_) {
    if (kept.group == group) kept.sent_at.reset();
  }
}

// Only time in which this thread listened counts, so that an actor that was stopped for a while does not
// blame the learner for it.
void LearnerLink::watch_silence(bool heard) {
  const Millis now = clock_.now_ms();
  silent_ms_ = heard ? 0 : silent_ms_ + std::min(now - last_look_, heartbeat_ms_);
  last_look_ = now;
  if (silent_ms_ == 0) reconnect_ms_ = kReconnectMs;
  if (silent_ms_ >= reconnect_ms_) {
    dealer_->reconnect();
    reconnect_ms_ += kReconnectMs;
  }
  const Millis most = was_welcome_ ? options_.silence_ms : options_.connect_timeout_ms;
  require(silent_ms_ < most, options_.identity.name, ": ",
          was_welcome_ ? "the learner at " : "waited for a welcome of the learner at ", options_.address,
          was_welcome_ ? " was not heard of for " : " for ", most, " ms");
}

bool LearnerLink::try_send(FrameType type, std::string payload, uint64_t sequence) {
  return dealer_->send({.type = type, .sequence = sequence, .payload = std::move(payload)}, /*timeout_ms=*/0);
}

}  // namespace sluice::actors
