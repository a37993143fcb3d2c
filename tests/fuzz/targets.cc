#include "tests/fuzz/targets.h"

#include <array>

namespace sluice::fuzz {
namespace {

constexpr std::array<Target, 8> kTargets{{{"safetensors", read_safetensors},
                                          {"model_config", read_model_config},
                                          {"tokenizer_json", read_tokenizer_json},
                                          {"sentencepiece_model", read_sentencepiece_model},
                                          {"chat_template", render_chat_template},
                                          {"math_answer", compare_math_answers},
                                          {"json_schema", check_json_schema},
                                          {"reward_reply", read_reward_reply}}};

}  // namespace

std::span<const Target> targets() { return kTargets; }

}  // namespace sluice::fuzz
