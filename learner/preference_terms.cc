#include "learner/preference_terms.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sluice::learner {
namespace {

using enum PreferenceType;

struct NamedTerms {
  std::string_view name;
  std::vector<PreferenceTerm> terms;
};

constexpr PreferenceTerm kNll{.type = Sft};

// A type's own name comes before those of its variants and sums.
const std::vector<NamedTerms>& table() {
  static const std::vector<NamedTerms> rows = {
      {"sigmoid", {{.type = Sigmoid}}},
      {"cdpo", {{.type = Cdpo, .label_smoothing = 0.1}}},
      {"robust", {{.type = Robust, .label_smoothing = 0.1}}},
      {"hinge", {{.type = Hinge}}},
      {"ipo", {{.type = Ipo}}},
      {"ipo_sum", {{.type = IpoSum}}},
      {"sigmoid_norm", {{.type = SigmoidNorm}}},
      {"exo_pair", {{.type = ExoPair, .label_smoothing = 1e-3}}},
      {"nca_pair", {{.type = NcaPair, .beta = 0.01}}},
      {"bco_pair", {{.type = BcoPair, .beta = 0.01}}},
      {"sppo_hard", {{.type = SppoHard, .beta = 0.001}}},
      {"apo_zero", {{.type = ApoZero}}},
      {"apo_down", {{.type = ApoDown}}},
      {"discopop", {{.type = Discopop, .beta = 0.05, .tau = 0.05}}},
      {"aot", {{.type = Aot}}},
      {"aot_unpaired", {{.type = AotUnpaired}}},
      {"simpo", {{.type = Simpo, .beta = 2.0, .gamma = 0.5}}},
      {"cpo", {{.type = Cpo}, kNll}},
      {"cpo_hinge", {{.type = CpoHinge}, kNll}},
      {"cpo_ipo", {{.type = CpoIpo}, kNll}},
      {"orpo", {{.type = Orpo}, kNll}},
      {"sft", {kNll}},

      {"rso", {{.type = Hinge, .beta = 0.05}}},
      {"alphapo", {{.type = Simpo, .beta = 2.0, .gamma = 0.5, .alpha = 0.25}}},
      {"rpo", {{.type = Sigmoid}, {.type = Sft, .weight = 0.005}}},
      {"irpo", {{.type = Sigmoid}, kNll}},
      {"mpo", {{.type = Sigmoid, .weight = 0.8}, {.type = BcoPair, .weight = 0.2}, kNll}},
  };
  return rows;
}

std::string_view name_of(PreferenceType type) {
  return std::ranges::find_if(table(), [&](const auto& row) { return row.terms.front().type == type; })->name;
}

bool is_one_of(PreferenceType type, std::initializer_list<PreferenceType> types) {
  return std::ranges::find(types, type) != types.end();
}

bool any(const std::vector<PreferenceTerm>& terms, bool (*has)(PreferenceType)) {
  return std::ranges::any_of(terms, has, &PreferenceTerm::type);
}

void check_label_smoothing(const PreferenceTerm& term) {
  const double e = term.label_smoothing;
  const auto name = name_of(term.type);
  if (!is_one_of(term.type, {Cdpo, Robust, ExoPair, Aot, AotUnpaired, Simpo, Cpo})) {
    return require(e == 0.0, "preference: ", name, " takes no label_smoothing, it is ", e);
  }
  require(e >= 0.0 && e < 0.5, "preference: ", name, " has a label_smoothing of ", e,
          ", it is at least 0 and below 0.5");
  require(term.type != ExoPair || e > 0.0, "preference: exo_pair has a label_smoothing of 0, it is more");
}

void check_term(const PreferenceTerm& term) {
  const auto name = name_of(term.type);
  const auto is_finite = [](double value) { return std::isfinite(value); };
  require(std::ranges::all_of(std::initializer_list<double>{term.weight, term.beta, term.gamma, term.alpha,
                                                            term.divergence_alpha},
                              is_finite),
          "preference: ", name, " has a number that is not finite: weight ", term.weight, ", beta ",
          term.beta, ", gamma ", term.gamma, ", alpha ", term.alpha, ", divergence_alpha ",
          term.divergence_alpha);
  require(term.beta > 0.0, "preference: ", name, " has a beta of ", term.beta, ", it is more than 0");
  check_label_smoothing(term);
  require(term.tau > 0.0 && term.tau <= 1.0, "preference: ", name, " has a tau of ", term.tau,
          ", it is more than 0 and at most 1");
  require(term.type == Simpo || (term.gamma == 0.0 && term.alpha == 0.0), "preference: ", name,
          " takes neither gamma nor alpha, they are ", term.gamma, " and ", term.alpha);
  require(term.divergence == Divergence::ReverseKl ||
              is_one_of(term.type, {Sigmoid, Cdpo, Robust, Hinge, ExoPair, Discopop}),
          "preference: ", name, " is no function of the difference of log-ratios, so it has no divergence");
}

}  // namespace

const std::vector<PreferenceTerm>& preference_terms(std::string_view name) {
  const auto row = std::ranges::find(table(), name, &NamedTerms::name);
  require(row != table().end(), "preference: no loss is called \"", name, "\"");
  return row->terms;
}

std::vector<std::string> preference_names() {
  std::vector<std::string> names;
  for (const auto& row : table()) names.emplace_back(row.name);
  return names;
}

void check_terms(const std::vector<PreferenceTerm>& terms) {
  require(any(terms, [](PreferenceType type) { return type != Sft; }), "preference: none of the ",
          terms.size(), " terms compares the completions of a pair");
  for (const auto& term : terms) check_term(term);
}

bool needs_reference(const std::vector<PreferenceTerm>& terms) {
  return any(terms, [](PreferenceType type) {
    return !is_one_of(type, {Simpo, Cpo, CpoHinge, CpoIpo, Orpo, Sft});
  });
}

bool needs_whole_step(const std::vector<PreferenceTerm>& terms) {
  return any(terms, [](PreferenceType type) { return is_one_of(type, {Aot, AotUnpaired}); });
}

}  // namespace sluice::learner
