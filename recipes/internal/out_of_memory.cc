#include "recipes/internal/out_of_memory.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <new>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/pulse.h"
#include "base/resident_memory.h"
#include "base/terminal.h"

namespace sluice::recipes::internal {
namespace {

// LibTorch has a type for a device's memory, and for the host's none but these words.
constexpr std::string_view kHostWords = "can't allocate memory";

// "you tried to allocate 1.2 GB" of a message of the host's allocator, in words of ours.
std::string wanted_by(std::string_view message) {
  constexpr std::string_view kBefore = "tried to allocate ";
  const auto at = message.find(kBefore);
  const uint64_t bytes =
      at == std::string_view::npos ? 0 : std::strtoull(message.data() + at + kBefore.size(), nullptr, 10);
  return bytes == 0 ? "" : ", " + format_bytes(bytes) + " more were asked for";
}

// Empty where it is about something else.
std::optional<std::string> out_of_memory(const c10::Error& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return ", " + error.msg();
  if (error.msg().find(kHostWords) == std::string::npos) return std::nullopt;
  return wanted_by(error.msg());
}

[[noreturn]] void say(const std::string& details, int64_t resident, const std::string& advice) {
  fail<EnvironmentError>(doing(), ": out of memory", details, "; this process had ",
                         format_bytes(static_cast<uint64_t>(resident)), "; ", advice,
                         "; `sluice check` says what each part of a stage takes");
}

}  // namespace

int with_memory_advice(const std::string& advice, const std::function<int()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    say("", resident_bytes(), advice);
  } catch (const c10::Error& error) {
    const auto details = out_of_memory(error);
    if (!details) throw;
    say(*details, resident_bytes(), advice);
  }
}

std::string stage_memory_advice(const StageSpec& stage, bool has_adapters) {
  if (!stage.trains()) {
    return "smaller is rollout.max_new_tokens, now " + std::to_string(stage.rollout.sampling.max_new_tokens);
  }
  std::string advice =
      "smaller is batch.micro_batch_tokens, now " + std::to_string(stage.batch.micro_batch_tokens);
  if (!stage.batch.gradient_checkpointing) advice += ", or set batch.gradient_checkpointing = true";
  if (stage.needs_reference() && !stage.moves_reference() && !stage.offloads_reference && !has_adapters) {
    advice += ", or set learner.offload_reference = true";
  }
  return advice;
}

std::string actor_memory_advice(const StageSpec& stage) {
  return "smaller are rollout.actors, now " + std::to_string(stage.rollout.actors) +
         ", and rollout.max_new_tokens, now " + std::to_string(stage.rollout.sampling.max_new_tokens);
}

}  // namespace sluice::recipes::internal
