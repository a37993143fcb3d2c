// What Sluice and the worker of a reward say to each other: a line of JSON each way
// (docs/rewards_protocol.md).
//
//   worker  {"sluice_reward": 1, "name": "judge"}                                once, when it is ready
//   Sluice  {"id": 1, "group": 7, "samples": [{"prompt": ..., "completion": ..., "columns": {...}}, ...]}
//   worker  {"id": 1, "scores": [0.5, null], "reasons": [null, "no answer"]}     or {"id": 1, "error": "..."}
//
// A worker is a program that may be broken, so its lines are as hostile as the policy's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/reward.h"

namespace sluice::rewards::plugins {

inline constexpr int64_t kProtocol = 1;
inline constexpr size_t kMaxHelloBytes = 64u << 10;

// The longest line a worker may answer with.
size_t max_reply_bytes(size_t num_samples);

// The worker's first line; returns the name it gives itself. Throws DataError for anything else, with the
// worker's own words where it says why it cannot score.
std::string read_hello(std::string_view line);

// Without the end of the line.
std::string request_line(uint64_t id, std::span<const RewardRequest> samples);

// One outcome for each sample; what is wrong with a score or with their number makes them unscored. Throws
// DataError for a line that is no reply to request `id`: then nothing that the worker writes can be trusted.
std::vector<RewardOutcome> read_reply(std::string_view line, uint64_t id, size_t num_samples);

// The outcomes of a JSON object that has a list of scores under `key`, and may have "reasons" and "parts"
// beside it.
std::vector<RewardOutcome> outcomes_of(const Json& reply, const char* key, size_t num_samples);

// The columns' text as scorers outside see it: text as it is, anything else as JSON, bad UTF-8 replaced.
std::string json_text(const Json& value);

}  // namespace sluice::rewards::plugins
