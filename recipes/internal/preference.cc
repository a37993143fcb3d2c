#include "recipes/internal/preference.h"

#include <algorithm>
#include <optional>
#include <sstream>

#include "base/error.h"

namespace sluice::recipes::internal {
namespace {

using learner::Divergence;
using learner::PreferenceTerm;
using learner::PreferenceType;

bool is_sft(const PreferenceTerm& term) { return term.type == PreferenceType::Sft; }

std::optional<double> number_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<double>();
}

Divergence divergence_of(const std::string& name) {
  if (name == "forward-kl") return Divergence::ForwardKl;
  if (name == "js") return Divergence::Js;
  if (name == "alpha") return Divergence::Alpha;
  return Divergence::ReverseKl;
}

std::vector<PreferenceTerm> read_terms(const Json& json) {
  auto terms = learner::preference_terms(json.at("loss").get<std::string>());
  const auto beta = number_of(json, "beta"), smoothing = number_of(json, "label_smoothing");
  const auto gamma = number_of(json, "gamma"), alpha = number_of(json, "alpha"), tau = number_of(json, "tau");
  for (auto& term : terms) {
    if (is_sft(term)) continue;
    term.beta = beta.value_or(term.beta);
    term.label_smoothing = smoothing.value_or(term.label_smoothing);
    term.gamma = gamma.value_or(term.gamma);
    term.alpha = alpha.value_or(term.alpha);
    term.tau = tau.value_or(term.tau);
    term.divergence = divergence_of(json.at("divergence"));
    term.divergence_alpha = json.at("divergence_alpha");
  }
  if (const auto weight = number_of(json, "sft_weight")) {
    std::erase_if(terms, is_sft);
    if (*weight > 0.0) terms.push_back({.type = PreferenceType::Sft, .weight = *weight});
  }
  return terms;
}

}  // namespace

std::vector<std::string> preference_losses() {
  auto names = learner::preference_names();
  std::erase(names, "sft");  // it compares nothing; sft_weight adds it
  names.insert(names.end(), {"kto", "apo_zero_unpaired"});
  return names;
}

PreferenceSpec read_preference(const Json& json) {
  PreferenceSpec spec{.truncation = json.at("truncation") == "keep-end" ? learner::Truncation::KeepEnd
                                                                        : learner::Truncation::KeepStart,
                      .mix = {.every = json.at("mix_every"), .alpha = json.at("mix_alpha")}};
  spec.held_out = json.at("held_out");
  const std::string loss = json.at("loss");
  if (loss == "kto" || loss == "apo_zero_unpaired") {
    spec.columns = text::PreferenceColumns::Judged;
    spec.kto.has_z0 = loss == "kto";
    spec.kto.loss = {.beta = number_of(json, "beta").value_or(spec.kto.loss.beta),
                     .desirable_weight = json.at("desirable_weight"),
                     .undesirable_weight = json.at("undesirable_weight")};
    return spec;
  }
  spec.pairs.terms = read_terms(json);
  spec.pairs.ld_alpha = json.at("ld_alpha");
  spec.pairs.wpo = json.at("wpo");
  spec.pairs.nll_over_prompt = json.at("nll_over_prompt");
  return spec;
}

void check_preference(const PreferenceSpec& spec, const std::string& stage, bool has_adapters,
                      int64_t examples_per_step) {
  try {
    if (!spec.judged()) learner::check_terms(spec.pairs.terms);
  } catch (const Error& error) {
    fail<UsageError>("stage ", stage, ": ", error.what());
  }
  require<UsageError>(!spec.judged() || !spec.kto.has_z0 || examples_per_step >= 2, "stage ", stage,
                      ": preference.loss = \"kto\" takes batch.examples_per_step of at least 2, it is ",
                      examples_per_step);
  require<UsageError>(!spec.judged() || spec.held_out == 0, "stage ", stage,
                      ": preference.held_out is of pairs, and preference.loss judges completions one by one");
  require<UsageError>(!spec.pairs.wpo || !learner::needs_whole_step(spec.pairs.terms), "stage ", stage,
                      ": preference.wpo weighs pairs, which a loss that sorts takes apart");
  require<UsageError>(!spec.pairs.nll_over_prompt || std::ranges::any_of(spec.pairs.terms, is_sft), "stage ",
                      stage,
                      ": preference.nll_over_prompt, and there is no NLL; preference.sft_weight adds it");
  require<UsageError>(spec.mix.every == 0 || spec.needs_reference(), "stage ", stage,
                      ": preference.mix_every is ", spec.mix.every,
                      ", and this loss has no reference to mix into");
  require<UsageError>(spec.mix.every == 0 || !has_adapters, "stage ", stage, ": preference.mix_every is ",
                      spec.mix.every, ", and the reference of adapters is the model without them");
}

std::string describe(const MixSpec& mix) {
  std::ostringstream out;
  out << mix.alpha << " of the policy mixed into the reference every " << mix.every << " steps";
  return out.str();
}

std::string describe(const PreferenceSpec& spec) {
  std::ostringstream out;
  if (spec.judged()) {
    out << "judged completions" << (spec.kto.has_z0 ? "" : ", without z0") << ", beta " << spec.kto.loss.beta;
  } else {
    const auto compares = std::ranges::find_if_not(spec.pairs.terms, is_sft);
    out << "pairs, beta " << compares->beta;
    for (const auto& term : spec.pairs.terms) {
      if (!is_sft(term)) continue;
      out << ", " << term.weight << " times the NLL of what was chosen";
      if (spec.pairs.nll_over_prompt) out << " and of its prompt";
    }
    if (spec.pairs.ld_alpha != 1.0) out << ", ld_alpha " << spec.pairs.ld_alpha;
    if (spec.pairs.wpo) out << ", weighed by what the policy would say";
  }
  if (!spec.needs_reference()) {
    out << ", no reference";
  } else if (spec.mix.every > 0) {
    out << ", " << describe(spec.mix);
  } else {
    out << ", against what the stage began with";
  }
  if (spec.held_out > 0) out << "; " << spec.held_out << " held out";
  return out.str();
}

}  // namespace sluice::recipes::internal
