// Who is at the other end, and whether the two may work together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::transport {

struct Identity {
  int64_t protocol = 3;
  std::string run;  // run id: unique to a run directory
  std::string tokenizer_hash;
  std::string model_hash;     // of the architecture (config.json), not of the weights
  std::string template_hash;  // of the chat template; "" without one
  std::string rewards_hash;   // of the stage's rewards as the recipe has them
  std::string role;           // "actor"
  std::string name;           // "actor-0"
  uint64_t incarnation = 0;   // differs each time the process starts
  int64_t pid = 0;
};

std::string encode_identity(const Identity& identity);
// Of another protocol than this build's only that and the name are read: what else it says is its own affair.
Identity decode_identity(std::string_view json);

// "" when `theirs` may join `ours`, else a sentence with both values and what to do.
std::string refusal(const Identity& ours, const Identity& theirs);

}  // namespace sluice::transport
