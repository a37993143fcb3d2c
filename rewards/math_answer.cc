// math_answer: 1 when the completion's answer is mathematically the one in the row's column, LaTeX or plain
// text.
//
// The answer is what the completion marks as such (final_answer.h), else all of it; so is the column's, which
// may be a whole solution that ends in \boxed{...}. Nothing is evaluated but arithmetic (rewards/math/), in
// bounded steps.
//
//   right                                    against                 because
//   1/2, 0.5, \frac{1}{2}, \dfrac12, .5      \frac12                 fractions are exact
//   1 4/5, 9/5, 1.8                          1\frac{4}{5}            a mixed number is a sum
//   1000, 1{,}000, 1\,000                    1,000                   separators of thousands
//   1/3, 0.\overline{3}                      \frac{1}{3}             repeating digits; 0.3333 is wrong
//   15, 0.15, 15\%                           15\%                    percent, with its sign or without
//   5.4, 5.4 cents, 0.054 dollars            5.4 \text{ cents}       a unit may be left out or converted
//   90, 90°, 90 degrees                      90^\circ                likewise; \pi/2 is wrong
//   -2, 1                                    1, -2                   a list or a set has no order
//   (2, 4)                                   (2,4)                   a tuple has one; (4, 2) is wrong
//   (-inf, 3], x \le 3                       (-\infty, 3]            intervals and inequalities
//   x<2 or x>3                               (-\infty,2)\cup(3,\infty)   unions
//   1+\sqrt{19}, 1-\sqrt{19}                 1 \pm \sqrt{19}         both signs
//   \begin{bmatrix} 1 \\ 2 \end{bmatrix}     \begin{pmatrix}...      elements in their places
//   5, x = 5, x = 10/2                       x=5                     a name may be left out; y = 5 is wrong
//   -2x + y - 3 = 0                          y = 2x + 3              equations with the same solutions
//   ab+2a+5b+10, (b+2)(a+5)                  (a+5)(b+2)              simple algebra; x > 0 is assumed
//   \frac{\sqrt{2}}{2}, 2^{-1/2}             \frac{1}{\sqrt{2}}      to the last bits; 1.4142 is wrong
//   52_8                                     52_{8}                  digits and base; 42 and 52 are wrong
//   C, (C), \textbf{(C)}                     \text{(C)}              words, in any case
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"
#include "rewards/math/answer.h"

namespace sluice::rewards::internal {
namespace {

class MathAnswer final : public CompletionReward {
 public:
  explicit MathAnswer(const RewardSpec& spec)
      : CompletionReward(spec), column_(option<std::string>(spec, "column", "answer")) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto gold = column_text(request, column_);
    if (!gold.problem.empty()) return RewardOutcome::unscored(gold.problem);
    const auto verdict = math::compare(final_answer(request.completion).text, final_answer(gold.text).text);
    return RewardOutcome::scored(verdict.same ? 1.0 : 0.0, {{"readable", verdict.readable ? 1.0 : 0.0}});
  }

  const std::string column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_math_answer(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<MathAnswer>(spec);
}

}  // namespace sluice::rewards::internal
