#include "actors/sampler.h"

#include "base/error.h"
#include "base/philox.h"

namespace sluice::actors {
namespace {

constexpr int32_t kDone = -1;  // instead of the count of a token whose penalty is in its logit

bool has_penalties(const buffers::SamplingParams& params) {
  return params.repetition_penalty != 1 || params.frequency_penalty != 0 || params.presence_penalty != 0;
}

size_t checked(int32_t token, std::span<const float> logits) {
  require(token >= 0 && token < std::ssize(logits), "sample_token: token ", token, " of a vocabulary of ",
          logits.size());
  return static_cast<size_t>(token);
}

void add_biases(std::span<float> logits, std::span<const buffers::LogitBias> biases) {
  for (const auto& [token, bias] : biases) logits[checked(token, logits)] += static_cast<float>(bias);
}

// Once for every token that was seen, however often it was.
void add_penalties(std::span<float> logits, const buffers::SamplingParams& params, const SeenTokens& seen,
                   std::vector<int32_t>& counts) {
  for (const auto tokens : {seen.prompt, seen.output}) {
    for (const int32_t token : tokens) checked(token, logits);
  }
  counts.resize(logits.size());
  for (const int32_t token : seen.output) ++counts[static_cast<size_t>(token)];
  const auto repetition = static_cast<float>(params.repetition_penalty);
  const auto frequency = static_cast<float>(params.frequency_penalty);
  const auto presence = static_cast<float>(params.presence_penalty);
  for (const auto tokens : {seen.output, seen.prompt}) {
    for (const int32_t token : tokens) {
      int32_t& count = counts[static_cast<size_t>(token)];
      if (count == kDone) continue;
      float& z = logits[static_cast<size_t>(token)];
      z = z > 0 ? z / repetition : z * repetition;
      if (count > 0) z = (z - frequency * static_cast<float>(count)) - presence;
      count = kDone;
    }
  }
  for (const auto tokens : {seen.prompt, seen.output}) {
    for (const int32_t token : tokens) counts[static_cast<size_t>(token)] = 0;
  }
}

double uniform_of(const DrawKey& key) {
  return random_uniform(key.seed, RandomUse::Sampling, key.group, static_cast<uint64_t>(key.sample),
                        static_cast<uint64_t>(key.position));
}

}  // namespace

SampledToken sample_token(std::span<float> logits, const DrawKey& key, const buffers::SamplingParams& params,
                          const SeenTokens& seen, SamplerScratch& scratch) {
  const auto fault = buffers::sampling_fault(params);
  require(fault.empty(), "sample_token: ", fault);
  add_biases(logits, params.logit_bias);
  if (has_penalties(params)) add_penalties(logits, params, seen, scratch.counts);
  const auto draw = model::draw_token(logits, uniform_of(key),
                                      {.temperature = params.temperature,
                                       .min_p = params.min_p,
                                       .top_k = params.top_k,
                                       .top_p = params.top_p},
                                      scratch.draw);
  require(draw.has_value(), "sample_token: the logits of group ", key.group, ", sample ", key.sample,
          ", token ", key.position, " are not finite");
  return *draw;
}

}  // namespace sluice::actors
