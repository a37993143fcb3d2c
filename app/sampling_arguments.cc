#include "app/sampling_arguments.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "app/manual.h"
#include "base/error.h"

namespace sluice::app {
namespace {

// The whole of the text, or it is none.
template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

buffers::LogitBias read_bias(const std::string& who, std::string_view text) {
  const auto equals = std::min(text.find('='), text.size());
  buffers::LogitBias bias;
  require<UsageError>(equals < text.size() && read_number(text.substr(0, equals), bias.token) &&
                          read_number(text.substr(equals + 1), bias.bias),
                      who, ": --logit-bias ", text, " is not ID=VALUE, such as 42=-100");
  return bias;
}

}  // namespace

buffers::SamplingParams SamplingArguments::read(const std::string& who) const {
  auto all = params;
  if (greedy) all.temperature = 0;
  for (const auto& text : biases) {
    const auto bias = read_bias(who, text);
    require<UsageError>(
        std::ranges::none_of(all.logit_bias, [&](const auto& other) { return other.token == bias.token; }),
        who, ": --logit-bias names token ", bias.token, " twice");
    all.logit_bias.push_back(bias);
  }
  require<UsageError>(all.top_p > 0, who, ": --top-p 0 would keep no token");
  const auto fault = buffers::sampling_fault(all);
  require<UsageError>(fault.empty(), who, ": ", fault);
  return all;
}

void add_sampling_arguments(CLI::App& app, SamplingArguments& arguments) {
  auto& params = arguments.params;
  auto* greedy = app.add_flag("--greedy", arguments.greedy, "The likeliest token, always");
  const auto add = [&](const std::string& name, auto& value, const std::string& help, auto range) {
    return app.add_option(name, value, help)->check(range)->capture_default_str();
  };
  add("--temperature", params.temperature, "Log-probs are those after it", CLI::NonNegativeNumber)
      ->excludes(greedy);
  add("--top-p", params.top_p, "Sample from the likeliest tokens that have this probability",
      CLI::Range(0.0, 1.0))
      ->excludes(greedy);
  add("--top-k", params.top_k, "Sample from so many tokens; 0: all", CLI::NonNegativeNumber)
      ->excludes(greedy);
  add("--min-p", params.min_p,
      "Sample from tokens that have this share of the likeliest one's probability; 0: all",
      CLI::Range(0.0, 1.0))
      ->excludes(greedy)
      ->group(kMore);
  add("--repetition-penalty", params.repetition_penalty,
      "Divides the logit of a token of the prompt or the completion where it is positive, multiplies it "
      "elsewhere",
      CLI::Range(buffers::kMinRepetitionPenalty, buffers::kMaxRepetitionPenalty))
      ->group(kMore);
  const auto penalty = CLI::Range(-buffers::kMaxPenalty, buffers::kMaxPenalty);
  add("--frequency-penalty", params.frequency_penalty,
      "Taken from a token's logit for each time that the completion has it", penalty)
      ->group(kMore);
  add("--presence-penalty", params.presence_penalty, "Taken from a token's logit once the completion has it",
      penalty)
      ->group(kMore);
  app.add_option("--stop", params.stop_strings, "A text that ends the completion; as often as wanted")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_option("--logit-bias", arguments.biases, "Added to the logit of a token; as often as wanted")
      ->type_name("ID=VALUE")
      ->allow_extra_args(false)
      ->group(kMore);
}

}  // namespace sluice::app
