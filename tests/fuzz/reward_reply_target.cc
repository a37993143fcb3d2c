#include <cmath>

#include "rewards/plugins/protocol.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {
namespace {

constexpr size_t kSamples = 3;

void must_be_whole(const std::vector<rewards::RewardOutcome>& outcomes) {
  must_hold(outcomes.size() == kSamples, "another number of outcomes than samples");
  for (const auto& outcome : outcomes) {
    must_hold(outcome.score.has_value() == outcome.unscored_reason.empty(),
              "a score and a reason, or neither");
    must_hold(!outcome.score || std::isfinite(*outcome.score), "a score that is not finite");
    must_hold(outcome.unscored_reason.size() < 1000, "a reason without end");
    Json(outcome.unscored_reason).dump();  // throws for what is no UTF-8
    for (const auto& [name, value] : outcome.parts) {
      must_hold(std::isfinite(value), "a part that is not finite");
      Json(name).dump();
    }
  }
}

}  // namespace

// The line of a worker, as its hello and as its reply to the third request.
void read_reward_reply(std::string_view bytes) {
  refuse_or([&] { rewards::plugins::read_hello(bytes); });
  refuse_or([&] { must_be_whole(rewards::plugins::read_reply(bytes, 3, kSamples)); });
  refuse_or([&] {
    const Json reply = parse_json(bytes, "fuzzed");
    require<DataError>(reply.is_object(), "fuzzed");
    must_be_whole(rewards::plugins::outcomes_of(reply, "rewards", kSamples));
  });
}

}  // namespace sluice::fuzz
