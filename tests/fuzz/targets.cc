#include "tests/fuzz/targets.h"

#include <array>

namespace sluice::fuzz {
namespace {

constexpr std::array<Target, 5> kTargets{{{"safetensors", read_safetensors},
                                          {"model_config", read_model_config},
                                          {"tokenizer_json", read_tokenizer_json},
                                          {"sentencepiece_model", read_sentencepiece_model},
                                          {"chat_template", render_chat_template}}};

}  // namespace

std::span<const Target> targets() { return kTargets; }

}  // namespace sluice::fuzz
