// The id of a group: the slot it is for, and how many prompts were tried for that slot before its own.
//
// Slots are the places of all batches of a stage, numbered in the order of training; a slot's first group has
// the slot's number as id. A group that takes the place of one from which nothing could be learned is a
// refill (DAPO 2025), counted above the slot's bits, so that no two groups share an id whoever arrives when.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::buffers {

inline constexpr int kSlotBits = 40;
inline constexpr int64_t kMaxRefills = 1000;  // of a slot: ids stay below 2^53, which JSON holds exactly

constexpr uint64_t group_id(uint64_t slot, int64_t refill) {
  return slot | static_cast<uint64_t>(refill) << kSlotBits;
}
constexpr uint64_t slot_of(uint64_t group) { return group & ((uint64_t{1} << kSlotBits) - 1); }
constexpr int64_t refill_of(uint64_t group) { return static_cast<int64_t>(group >> kSlotBits); }

// For a person: "7", "7 (refill 2)".
inline std::string group_name(uint64_t group) {
  const auto slot = std::to_string(slot_of(group));
  return refill_of(group) == 0 ? slot : slot + " (refill " + std::to_string(refill_of(group)) + ")";
}

}  // namespace sluice::buffers
