// The preference losses that a recipe names, with the defaults of each (spec sections 9.1 to 9.3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::learner {

enum class PreferenceType {
  // Against a reference.
  Sigmoid,  // DPO
  Cdpo,     // Sigmoid of labels that may be wrong
  Robust,
  Hinge,
  Ipo,  // of log-ratios per token
  IpoSum,
  SigmoidNorm,  // Sigmoid of log-ratios per token
  ExoPair,
  NcaPair,
  BcoPair,
  SppoHard,
  ApoZero,
  ApoDown,
  Discopop,
  Aot,
  AotUnpaired,
  // Without one.
  Simpo,  // and AlphaPO
  Cpo,
  CpoHinge,
  CpoIpo,
  Orpo,  // the odds ratio alone
  // Added to the others: the negative log-likelihood of the chosen completions, a mean over their tokens.
  Sft,
};

// The score of a log-ratio x that stands in for x (f-DPO 2023).
enum class Divergence { ReverseKl, ForwardKl, Js, Alpha };

struct PreferenceTerm {
  PreferenceType type = PreferenceType::Sigmoid;
  double weight = 1.0;
  double beta = 0.1;             // lambda, for Orpo
  double label_smoothing = 0.0;  // how often a label is wrong: Cdpo, Robust, ExoPair, Aot*, Simpo, Cpo
  double tau = 0.05;             // Discopop: the temperature that blends its two losses, at most 1
  double gamma = 0.0;            // Simpo: the margin itself, not divided by beta
  double alpha = 0.0;            // Simpo: shape of AlphaPO's reward, 0 being the log-prob's own
  // Of what is a function of the difference of log-ratios: Sigmoid, Cdpo, Robust, Hinge, ExoPair, Discopop.
  Divergence divergence = Divergence::ReverseKl;
  double divergence_alpha = 0.5;  // Divergence::Alpha; 1 is ReverseKl, 0 is ForwardKl
};

// What a name stands for, with its defaults: one term, or several that are added. Throws Error for a name
// that is not one of preference_names().
const std::vector<PreferenceTerm>& preference_terms(std::string_view name);
std::vector<std::string> preference_names();

// Throws Error for a number that a type does not take, and for terms that compare no pairs.
void check_terms(const std::vector<PreferenceTerm>& terms);

bool needs_reference(const std::vector<PreferenceTerm>& terms);
// Whether they sort the pairs, so that a step cut into micro-batches is another loss.
bool needs_whole_step(const std::vector<PreferenceTerm>& terms);

}  // namespace sluice::learner
